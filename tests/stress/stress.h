/* stress.h: what the stress programs share: threads over one ring, waiting with lost wake-ups detected, failing loudly.
 *
 * A parked role normally looks again after 10 ms, which would hide a wake-up that got lost. Here it sleeps for
 * PARK_NS; a sleep that long while its work had been there is a lost wake-up and fails the run. So does a role that has
 * nothing to do for STUCK_NS.
 */
#ifndef BYTEOR_STRESS_H
#define BYTEOR_STRESS_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "crc32c.h"
#include "ring.h"
#include "wait.h"

#define PARK_NS 3000000000ull
#define STUCK_NS 5000000000u
#define STAGES_MAX 4u
#define CAPACITY_MAX 1024u
#define SLOT_BYTES_MAX 256u

#define CHECK(condition, ...)                                                        \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "%s:%d: not %s: ", __FILE__, __LINE__, #condition);      \
            fprintf(stderr, __VA_ARGS__);                                            \
            fprintf(stderr, "\n");                                                   \
            _exit(1);                                                                \
        }                                                                            \
    } while (0)

typedef struct doorbell {
    _Alignas(64) uint32_t parked;
} doorbell;

/* The ring's memory; a slot is checked by the CRC of its first words, which hold its sequence. */
typedef struct stress_ring {
    _Alignas(64) byteor_ring_producer producer;
    byteor_cell cells[STAGES_MAX];
    _Alignas(64) uint8_t slots[CAPACITY_MAX * SLOT_BYTES_MAX];
} stress_ring;

/* Who follows whom: stage 0 the producer, and in a diamond 1 and 2 follow 0, 3 follows both. */
static const uint32_t depends_of[STAGES_MAX][2] = {{9, 9}, {0, 9}, {0, 9}, {1, 2}};
static const uint32_t depends_count_of[STAGES_MAX] = {0, 1, 1, 2};

static inline uint64_t mix(uint64_t value) {
    value = (value ^ (value >> 31)) * UINT64_C(0x9e3779b97f4a7c15);
    return value ^ (value >> 29);
}

static inline uint32_t word_of(const char *text, const char *const *names) {
    for (uint32_t i = 0; names[i]; i++)
        if (strcmp(text, names[i]) == 0) return i;
    fprintf(stderr, "unknown word %s\n", text);
    exit(2);
}

/* A ring whose first sequence is `start`: stamps of the lap before, so that a stale one cannot look published. */
static inline byteor_ring stress_view(stress_ring *memory, uint64_t start, uint64_t capacity, uint32_t slot_bytes, uint32_t cells) {
    byteor_ring ring = {.base = (uint8_t *)memory, .slots = memory->slots, .producer = &memory->producer,
                        .cells = memory->cells, .capacity = capacity, .mask = capacity - 1, .bytes = sizeof *memory,
                        .slot_bytes = slot_bytes, .cell_count = cells,
                        .payload_max = slot_bytes - BYTEOR_SLOT_HEADER_BYTES, .header = NULL};
    memory->producer.cursor = memory->producer.claimed = start;
    memory->producer.end_sequence = BYTEOR_NO_SEQUENCE;
    for (uint32_t cell = 0; cell < cells; cell++) memory->cells[cell].sequence = start;
    for (uint64_t i = 0; i < capacity; i++) byteor_ring_slot(&ring, start + i)->stamp = (uint32_t)(start + i + 1 - capacity);
    return ring;
}

static inline void start_waiting(byteor_wait *wait, uint32_t kind, int membarrier, doorbell *bell) {
    memset(wait, 0, sizeof *wait);
    wait->kind = kind;
    wait->sleep_ns_max = 50000;
    wait->membarrier = (uint32_t)membarrier;
    wait->doorbell = &bell->parked;
    byteor_wait_reset(wait);
}

/* One idle turn; 1 when the caller should park. */
static inline int idle_turn(byteor_wait *wait, uint64_t *idle_since, const char *who) {
    int park = byteor_wait_turn(wait, -1, 0);
    if (wait->idle_turns <= BYTEOR_WAIT_SPINS) {
        *idle_since = 0;
    } else if (wait->idle_turns % 64 == 0) {
        uint64_t now = byteor_monotonic_ns();
        if (*idle_since == 0) *idle_since = now;
        CHECK(now - *idle_since < STUCK_NS, "%s is stuck", who);
    }
    return park;
}

/* Sleep for long: who is not woken in time has lost a wake-up, for every stress program always has work coming. */
static inline void park_for_long(byteor_wait *wait, const char *who) {
    uint64_t before = byteor_monotonic_ns();
    byteor_park(wait, PARK_NS);
    CHECK(byteor_monotonic_ns() - before < PARK_NS * 9 / 10, "%s slept through its wake-up", who);
    byteor_wait_reset(wait);
}

static inline pthread_t run_thread(void *(*main_)(void *), void *argument) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, main_, argument) == 0, "pthread_create");
    return thread;
}

#endif
