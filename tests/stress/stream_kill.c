/* stream_kill.c: an ingress that is killed at a store of its stream of small batches, and its successor.
 *
 *   stream_kill POINT PASSES AT_ONCE
 * The ingress of a child process kills itself at kill point POINT after PASSES passes of it; a second child takes the unit
 * over and makes the rest. The parent follows the ring all the while: every message once, whole, in order, with growing
 * times; then the records say what came. "killed" or "lived" tells whether the point was met. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "unit_duty.h"

#define CAPACITY 64u
#define MESSAGES 1500u
#define SLOT 64u

uint32_t byteor_kill_at;
uint64_t byteor_kill_after;

typedef struct memory {
    _Alignas(4096) byteor_ring_producer producer;
    byteor_cell cell;
    _Alignas(4096) uint8_t slots[CAPACITY * SLOT];
    byteor_run_block run;
    _Alignas(64) byteor_clock clock;
    _Alignas(64) byteor_unit unit;
    _Alignas(64) byteor_role role;
} memory;

typedef struct counting {
    byteor_source source;
    uint32_t at_once;
} counting;

#define CHECK(what, ...)                                                                                               \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static int poll_counting(byteor_source *base, byteor_batch *batch) {
    counting *self = (counting *)(void *)base;
    uint64_t next = base->common.position[0], left = MESSAGES - next;
    uint32_t count = self->at_once < left ? self->at_once : (uint32_t)left;
    if (count > batch->count) count = batch->count;
    base->common.status = left ? BYTEOR_ADAPTER_READY : BYTEOR_ADAPTER_ENDED;
    for (uint32_t i = 0; i < count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        uint64_t words[4] = {next + i, ~(next + i), next + i, ~(next + i)};
        byteor_slot_begin(slot, sizeof words);
        memcpy(byteor_payload(slot), words, sizeof words);
    }
    base->common.position[0] += count;
    base->common.bytes_total += (uint64_t)count * 32;
    return (int)count;
}

static byteor_ring view_of(memory *m) {
    byteor_ring ring = {.base = (uint8_t *)m, .slots = m->slots, .producer = &m->producer, .cells = &m->cell, .capacity = CAPACITY,
                        .mask = CAPACITY - 1, .bytes = sizeof *m, .slot_bytes = SLOT, .cell_count = 1, .payload_max = SLOT - 16};
    return ring;
}

static void run_ingress(memory *m, uint32_t at_once) {
    static byteor_unit_runtime u;
    byteor_ring ring = view_of(m);
    counting source = {.source = {.poll = poll_counting, .common = {.wait_fd = -1}}, .at_once = at_once};
    u.unit = &m->unit;
    u.run = &m->run;
    u.control = (uint8_t *)m;
    u.clock = &m->clock;
    u.rings = &ring;
    u.ring_count = 1;
    u.kind = BYTEOR_UNIT_RING;
    u.max_batch = 256;
    u.source = &source.source;
    u.member_count = u.first_stage = u.stage_end = 1;
    u.member[0] = (byteor_member){.role = &m->role, .kind = BYTEOR_ROLE_INGRESS, .cell = -1, .source = u.source};
    const byteor_record *record = &m->unit.record[m->unit.selector & 1u];
    memcpy(source.source.common.position, record->source.position, sizeof record->source.position);
    source.source.common.bytes_total = record->source.bytes_total;
    byteor_recover(&u);
    for (int duty = BYTEOR_DUTY_WORKED; duty != BYTEOR_DUTY_ENDED;) {
        duty = byteor_ring_duty(&u, BYTEOR_COMMAND_RUN);
        CHECK(duty != BYTEOR_DUTY_FAILED, "the ingress failed: %s", u.failure_text);
        if (duty != BYTEOR_DUTY_WORKED) sched_yield();
    }
}

/* Follow the ring until nothing comes and `child` is gone, or the end has come. Returns the next sequence. */
static uint64_t follow(memory *m, pid_t child, uint64_t next, int *status) {
    static uint64_t last_time;
    byteor_ring ring = view_of(m);
    for (int gone = 0;;) {
        while (byteor_ring_published(&ring, next)) {
            const byteor_slot *slot = byteor_ring_slot(&ring, next);
            uint64_t words[4];
            memcpy(words, byteor_payload(byteor_ring_slot(&ring, next)), sizeof words);
            CHECK(slot->time_ns > last_time, "message %lu is not later than the one before", next);
            last_time = slot->time_ns;
            if (next == MESSAGES) CHECK(slot->flags & BYTEOR_SLOT_END, "more than was sent");
            else CHECK(slot->length == 32 && words[0] == next && words[1] == ~next && words[3] == ~next, "message %lu is torn or another", next);
            byteor_cell_release(&ring, 0, ++next);
        }
        if (gone) return next;
        gone = waitpid(child, status, WNOHANG) == child;
        sched_yield();
    }
}

static pid_t begin(memory *m, uint32_t at_once, uint32_t point, uint64_t passes) {
    pid_t child = fork();
    if (child) return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    byteor_kill_at = point;
    byteor_kill_after = passes;
    run_ingress(m, at_once);
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    alarm(50);
    memory *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t at_once = (uint32_t)atoi(argv[3]);
    int status = 0, killed;
    if (m == MAP_FAILED) return 2;
    m->producer.end_sequence = BYTEOR_NO_SEQUENCE;
    m->unit.command = BYTEOR_COMMAND_RUN;
    byteor_clock_anchor(&m->clock, 1u << 20); /* a slow clock: turns are long, and a stream is not cut by time */
    uint64_t next = follow(m, begin(m, at_once, (uint32_t)atoi(argv[1]), strtoull(argv[2], NULL, 0)), 0, &status);
    killed = WIFSIGNALED(status);
    if (killed) next = follow(m, begin(m, at_once, 0, 0), next, &status);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the ingress ended with status %d", status);
    CHECK(next == MESSAGES + 1, "%lu messages came", next);
    const byteor_record *record = &m->unit.record[m->unit.selector & 1u];
    CHECK(record->member[0].received == MESSAGES && m->role.received == MESSAGES, "the record says %lu", record->member[0].received);
    CHECK(record->source.position[0] == MESSAGES && record->source.bytes_total == MESSAGES * 32, "the source is at %lu", record->source.position[0]);
    CHECK(m->producer.cursor == MESSAGES + 1 && record->position == MESSAGES + 1, "the cursor is at %lu", m->producer.cursor);
    printf(killed ? "killed\n" : "lived\n");
    return 0;
}
