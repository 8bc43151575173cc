/* region_fault.c: see region_fault.h. */
#define _GNU_SOURCE
#include "region_fault.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "atomics.h"
#include "layout.h"

#define WATCHED_MAX 4096u
#define STACK_BYTES (64u * 1024u)
#define HOOK_SECONDS 2 /* a hook that cannot write (standard error is a full pipe) does not keep the process */

typedef struct watched {
    uint64_t base; /* 0: free; stored with release after the rest */
    uint64_t bytes;
    uint32_t lost;
    int fd;
    char name[BYTEOR_FAULT_NAME_BYTES];
} watched;

typedef struct alternate {
    stack_t before;
    uint8_t *memory;
} alternate;

static watched table[WATCHED_MAX];
static uint32_t table_end; /* entries from here on were never used */
static struct sigaction previous;
static uint32_t installed, exiting;
static int exit_code;
static byteor_fault_hook exit_hook;

static watched *find(uint64_t address) {
    for (uint32_t i = 0; i < byteor_load_acquire32(&table_end); i++) {
        uint64_t base = byteor_load_acquire64(&table[i].base); /* partner: byteor_fault_watch */
        if (base && address - base < table[i].bytes) return &table[i];
    }
    return NULL;
}

/* Not ours: as if we were not there. */
static void pass_on(int number, siginfo_t *info, void *context) {
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(number, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(number);
    } else {
        signal(number, SIG_DFL); /* the access that faulted is tried again, and ends the process */
    }
}

/* The first thread that faults says what is gone; another that faults meanwhile leaves it the time to. The first one
 * may itself touch a page that is gone: then there is nothing more to say. */
static void end_process(const watched *at, uint64_t offset) {
    byteor_fault fault = {.base = (const uint8_t *)(uintptr_t)at->base, .bytes = at->bytes, .offset = offset,
                          .name = at->name, .fd = at->fd};
    const uint32_t self = (uint32_t)syscall(SYS_gettid);
    if (exit_hook && byteor_compare_exchange32(&exiting, 0, self)) {
        exit_hook(&fault);
    } else if (byteor_load_acquire32(&exiting) != self) {
        const struct timespec patience = {.tv_sec = HOOK_SECONDS};
        nanosleep(&patience, NULL); /* the process ends under it */
    }
    _exit(exit_code);
}

static void on_fault(int number, siginfo_t *info, void *context) {
    int error = errno;
    watched *at = info->si_code > 0 ? find((uint64_t)(uintptr_t)info->si_addr) : NULL;
    if (at == NULL) {
        pass_on(number, info, context);
        errno = error;
        return;
    }
    uint64_t offset = ((uint64_t)(uintptr_t)info->si_addr - at->base) & ~(uint64_t)(BYTEOR_PAGE - 1);
    if (exit_code) end_process(at, offset);
    byteor_store_release32(&at->lost, 1);
    void *page = (void *)(uintptr_t)(at->base + offset);
    if (mmap(page, BYTEOR_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        pass_on(number, info, context);
    errno = error;
}

static void install(void) {
    struct sigaction action;
    if (installed) return;
    installed = 1;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER; /* a hook may meet a second missing page */
    sigaction(SIGBUS, &action, &previous);
}

uint32_t byteor_fault_watch(const uint8_t *base, uint64_t bytes, int fd) {
    char path[32];
    install();
    for (uint32_t i = 0; i < WATCHED_MAX; i++) {
        watched *at = &table[i];
        if (at->base) continue;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, at->name, sizeof at->name - 1);
        at->name[length > 0 ? length : 0] = 0;
        at->bytes = bytes;
        at->fd = fd;
        at->lost = 0;
        byteor_store_release64(&at->base, (uint64_t)(uintptr_t)base); /* partner: find */
        if (i >= table_end) byteor_store_release32(&table_end, i + 1);
        return i + 1;
    }
    return 0;
}

void byteor_fault_forget(uint32_t watch) {
    if (watch) byteor_store_release64(&table[watch - 1].base, 0);
}

int byteor_fault_lost(uint32_t watch) { return watch && byteor_load_acquire32(&table[watch - 1].lost) != 0; }

void byteor_fault_exit(int code, byteor_fault_hook hook) {
    exit_hook = hook;
    exit_code = code;
}

void *byteor_fault_enter(void) {
    alternate *stack = calloc(1, sizeof *stack);
    if (stack == NULL) return NULL;
    stack->memory = malloc(STACK_BYTES);
    const stack_t ours = {.ss_sp = stack->memory, .ss_size = STACK_BYTES};
    if (stack->memory == NULL || sigaltstack(&ours, &stack->before) != 0) {
        free(stack->memory);
        free(stack);
        return NULL;
    }
    return stack;
}

void byteor_fault_leave(void *stack) {
    alternate *mine = stack;
    if (mine == NULL) return;
    sigaltstack(&mine->before, NULL);
    free(mine->memory);
    free(mine);
}
