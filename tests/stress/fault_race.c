/* fault_race.c: two threads meet lost pages at once. The one that came first is still saying so when the other one faults:
 * what it says must come out whole before the process ends. Prints "said" from the hook. */
#define _GNU_SOURCE
#include "region_fault.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "atomics.h"
#include "layout.h"

#define EXIT_LOST 4

static uint8_t *base;
static uint32_t first_is_in_hook;

static void say(const byteor_fault *fault) {
    const struct timespec moment = {.tv_nsec = 100000000};
    (void)fault;
    byteor_store_release32(&first_is_in_hook, 1); /* partner: second */
    nanosleep(&moment, NULL);                     /* the other thread faults meanwhile */
    if (write(STDOUT_FILENO, "said\n", 5) != 5) _exit(1);
}

static void *second(void *unused) {
    (void)unused;
    void *stack = byteor_fault_enter();
    while (!byteor_load_acquire32(&first_is_in_hook)) {} /* partner: say */
    base[BYTEOR_PAGE] = 1;
    byteor_fault_leave(stack);
    return NULL;
}

int main(void) {
    pthread_t thread;
    int fd = memfd_create("lost", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 2 * BYTEOR_PAGE) != 0) return 1;
    base = mmap(NULL, 2 * BYTEOR_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED || byteor_fault_watch(base, 2 * BYTEOR_PAGE, fd) == 0) return 1;
    byteor_fault_exit(EXIT_LOST, say);
    if (pthread_create(&thread, NULL, second, NULL) != 0 || ftruncate(fd, 0) != 0) return 1;
    base[0] = 1;
    return 1; /* not reached */
}
