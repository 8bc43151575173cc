/* worker_fault.c: see worker_fault.h. */
#define _GNU_SOURCE
#include "worker_fault.h"

#include <sys/stat.h>
#include <unistd.h>

#include "region_fault.h"
#include "unit_stages.h"

#define TEXT_BYTES 480u

typedef struct unit_list {
    byteor_unit_runtime **units;
    uint32_t count;
} unit_list;

typedef struct text {
    char bytes[TEXT_BYTES];
    size_t used;
} text;

static unit_list hosted;
static _Thread_local unit_list running;

static void add(text *to, const char *from) {
    while (*from && to->used < TEXT_BYTES) to->bytes[to->used++] = *from++;
}

static void add_number(text *to, uint64_t value) {
    char digits[24];
    size_t at = sizeof digits;
    digits[--at] = 0;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    add(to, digits + at);
}

static void describe(text *to, const byteor_fault *fault) {
    struct stat info;
    int known = fstat(fault->fd, &info) == 0;
    add(to, "region ");
    add(to, fault->name);
    add(to, ": the page at byte ");
    add_number(to, fault->offset);
    add(to, " of ");
    add_number(to, fault->bytes);
    add(to, " is gone: ");
    if (known && (uint64_t)info.st_size <= fault->offset) {
        add(to, "the file was cut to ");
        add_number(to, (uint64_t)info.st_size);
        add(to, " bytes from outside; what it held is lost. Start the run again, and find out who writes to its files");
    } else {
        add(to, "it was taken out of the file, and its filesystem has no room for another; what it held is lost. "
                "Make room there (df), then start the run again");
    }
}

/* The unit that a thread had in hand: the one inside a stage, else the first that uses the region and is not done. */
static byteor_unit_runtime *at_work(const unit_list *list, const byteor_fault *fault) {
    byteor_unit_runtime *found = NULL;
    for (uint32_t i = 0; i < list->count; i++) {
        byteor_unit_runtime *u = list->units[i];
        if (u == NULL || u->done) continue;
        for (uint32_t m = 0; m < u->member_count; m++)
            if (byteor_load_relaxed64(&u->member[m].role->busy_since_ns)) return u;
        int uses = u->control == fault->base;
        for (uint32_t r = 0; r < u->ring_count; r++) uses |= u->rings[r].base == fault->base;
        if (uses && found == NULL) found = u;
    }
    return found ? found : (list->count ? list->units[0] : NULL);
}

static const byteor_member *member_at_work(const byteor_unit_runtime *u) {
    for (uint32_t m = 0; m < u->member_count; m++)
        if (byteor_load_relaxed64(&u->member[m].role->busy_since_ns)) return &u->member[m];
    return &u->member[0];
}

static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

static void record(const byteor_unit_runtime *u, const text *said) {
    const byteor_member *member = member_at_work(u);
    int egress = member->kind == BYTEOR_ROLE_EGRESS && u->kind == BYTEOR_UNIT_RING;
    uint64_t asked = member->kind == BYTEOR_ROLE_INGRESS ? u->in.first_sequence : 0; /* a stream notes its end only */
    uint64_t sequence = egress ? u->work.egress_position : most(u->work.position, asked);
    byteor_note_error(member->role, BYTEOR_FAILURE_REGION, sequence, said->bytes, said->used);
    byteor_store_release32(&member->role->state, BYTEOR_STATE_FAILED);
    if (!byteor_compare_exchange32(&u->run->failed_role, 0, member->index + 1)) return;
    u->run->failed_sequence = sequence;
    byteor_store_release32(&u->run->failure, BYTEOR_FAILURE_REGION);
}

static void on_lost(const byteor_fault *fault) {
    text said = {.used = 0};
    describe(&said, fault);
    ssize_t written = write(STDERR_FILENO, said.bytes, said.used);
    written += write(STDERR_FILENO, "\n", 1);
    (void)written; /* there is nobody to tell */
    const byteor_unit_runtime *u = at_work(&running, fault);
    if (u == NULL) u = at_work(&hosted, fault);
    if (u) record(u, &said);
}

void byteor_worker_fault_watch(byteor_unit_runtime **units, uint32_t count, int code) {
    hosted = (unit_list){.units = units, .count = count};
    byteor_fault_exit(code, on_lost);
}

void byteor_worker_fault_thread(byteor_unit_runtime **units, uint32_t count) {
    running = (unit_list){.units = units, .count = count};
}
