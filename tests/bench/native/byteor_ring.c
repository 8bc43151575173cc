/* byteor_ring.c: byteor's ring as it is, without roles: claim, build in place, publish; follow the stamp, release.
 *
 * What a client of a lane does from C. No telemetry and no commit record: byteor_unit.c has those.
 */
#include <string.h>

#include "byteor_rings.h"
#include "pair.h"

#define RELEASE_EVERY 64u

typedef struct ring_arena {
    bench_ring_memory there, back;
} ring_arena;

static void prepare(void *arena) {
    ring_arena *a = arena;
    bench_ring_clear(&a->there);
    bench_ring_clear(&a->back);
}

/* Room for `wanted` slots from `sequence` on; looks at the cells only when the last look says full. */
static inline void await_room(const byteor_ring *ring, uint64_t sequence, uint64_t wanted, uint64_t *gate) {
    while (sequence + wanted - *gate > ring->capacity) {
        *gate = byteor_ring_minimum(ring, sequence);
        if (sequence + wanted - *gate > ring->capacity) byteor_pause();
    }
}

static inline void put(const byteor_ring *ring, uint64_t sequence, uint64_t message) {
    byteor_slot *slot = byteor_ring_slot(ring, sequence);
    slot->length = PAYLOAD_WORDS * 8;
    slot->type = 0;
    slot->flags = 0;
    slot->time_ns = sequence;
    fill((uint64_t *)(void *)byteor_payload(slot), message);
}

static inline __attribute__((always_inline)) void stream_left(void *arena, uint64_t ticks, outcome *result, uint64_t capacity, uint32_t batch) {
    ring_arena *a = arena;
    byteor_ring view = bench_ring_view(&a->there, capacity, 1);
    const byteor_ring *ring = &view;
    uint64_t sequence = 0, gate = 0;
    uint64_t end = (result->begin_ticks = now_ticks()) + ticks;
    do {
        for (uint32_t sent = 0; sent < CHUNK; sent += batch) {
            await_room(ring, sequence, batch, &gate);
            byteor_ring_claim(ring, sequence + batch);
            for (uint32_t i = 0; i < batch; i++) put(ring, sequence + i, sequence + i);
            byteor_ring_publish(ring, sequence, sequence + batch);
            sequence += batch;
        }
    } while (now_ticks() < end);
    await_room(ring, sequence, 1, &gate);
    byteor_ring_claim(ring, sequence + 1);
    put(ring, sequence, END_MARK);
    byteor_ring_publish(ring, sequence, sequence + 1);
}

static inline __attribute__((always_inline)) void stream_right(void *arena, outcome *result, uint64_t capacity) {
    ring_arena *a = arena;
    byteor_ring view = bench_ring_view(&a->there, capacity, 1);
    const byteor_ring *ring = &view;
    uint64_t sequence = 0, expected = 0;
    int more = 1;
    while (more) {
        uint64_t first = sequence;
        while (more && sequence - first < RELEASE_EVERY && byteor_ring_published(ring, sequence))
            more = check((const uint64_t *)(const void *)byteor_payload(byteor_ring_slot(ring, sequence++)), &expected, result);
        if (sequence == first)
            byteor_pause();
        else
            byteor_cell_release(ring, 0, sequence);
    }
    result->end_ticks = now_ticks();
    result->messages = expected;
}

static void ping_left(void *arena, uint64_t ticks, outcome *result) {
    ring_arena *a = arena;
    byteor_ring there = bench_ring_view(&a->there, 4096, 1), back = bench_ring_view(&a->back, 4096, 1);
    uint64_t sequence = 0, gate = 0, expected = 0, last = now_ticks(), now = last, end = last + ticks;
    result->begin_ticks = last;
    for (;; sequence++) {
        await_room(&there, sequence, 1, &gate);
        byteor_ring_claim(&there, sequence + 1);
        put(&there, sequence, now < end ? sequence : END_MARK);
        byteor_ring_publish(&there, sequence, sequence + 1);
        if (now >= end) break;
        while (!byteor_ring_published(&back, sequence)) byteor_pause();
        check((const uint64_t *)(const void *)byteor_payload(byteor_ring_slot(&back, sequence)), &expected, result);
        byteor_cell_release(&back, 0, sequence + 1);
        now = now_ticks();
        record_round_trip(&result->round_trips, now - last);
        last = now;
    }
}

static void ping_right(void *arena, outcome *result) {
    ring_arena *a = arena;
    byteor_ring there = bench_ring_view(&a->there, 4096, 1), back = bench_ring_view(&a->back, 4096, 1);
    uint64_t gate = 0, expected = 0;
    for (uint64_t sequence = 0;; sequence++) {
        while (!byteor_ring_published(&there, sequence)) byteor_pause();
        const uint64_t *word = (const uint64_t *)(const void *)byteor_payload(byteor_ring_slot(&there, sequence));
        if (!check(word, &expected, result)) break;
        await_room(&back, sequence, 1, &gate);
        byteor_ring_claim(&back, sequence + 1);
        put(&back, sequence, word[0]);
        byteor_ring_publish(&back, sequence, sequence + 1);
        byteor_cell_release(&there, 0, sequence + 1);
    }
    result->messages = expected;
}

#define STREAM(name, capacity, batch)                                                                                  \
    static void name##_left(void *arena, uint64_t ticks, outcome *result) { stream_left(arena, ticks, result, capacity, batch); } \
    static void name##_right(void *arena, outcome *result) { stream_right(arena, result, capacity); }

STREAM(single_256k, 4096, 1)
STREAM(single_4m, 65536, 1)
STREAM(batch16_256k, 4096, 16)
STREAM(batch64_4m, 65536, 64)

const candidate byteor_candidates[] = {
    {"byteor.ping", prepare, ping_left, ping_right},
    {"byteor.single.256k", prepare, single_256k_left, single_256k_right},
    {"byteor.single.4m", prepare, single_4m_left, single_4m_right},
    {"byteor.batch16.256k", prepare, batch16_256k_left, batch16_256k_right},
    {"byteor.batch64.4m", prepare, batch64_4m_left, batch64_4m_right},
    {NULL, NULL, NULL, NULL},
};
