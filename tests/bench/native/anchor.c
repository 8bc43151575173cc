/* anchor.c: the two anchors that every figure is divided by.
 *
 * anchor.ping: two cache lines, one per direction, each a counter and nothing else. Half its round trip is A_lat.
 * anchor.stream: 64-byte lines over a 64 KiB ring, a cursor every 64 lines; lines per second are A_str.
 * Neither is a queue anyone could use: they are what the machine allows at this moment.
 */
#include <stdatomic.h>
#include <string.h>

#include "pair.h"

#define LINES 1024u
#define LINES_PER_CURSOR 64u

typedef struct line_counter {
    _Alignas(64) _Atomic uint64_t value;
} line_counter;

typedef struct ping_arena {
    _Alignas(128) line_counter there;
    _Alignas(128) line_counter back;
} ping_arena;

typedef struct stream_arena {
    _Alignas(128) line_counter produced;
    _Alignas(128) line_counter consumed;
    _Alignas(128) uint64_t lines[LINES][8];
} stream_arena;

static void ping_prepare(void *arena) { memset(arena, 0, sizeof(ping_arena)); }

static void ping_left(void *arena, uint64_t ticks, outcome *result) {
    ping_arena *a = arena;
    uint64_t last = now_ticks(), now = last, end = last + ticks;
    result->begin_ticks = last;
    for (uint64_t turn = 1; now < end; turn++) {
        atomic_store_explicit(&a->there.value, turn, memory_order_release);
        while (atomic_load_explicit(&a->back.value, memory_order_acquire) != turn) _mm_pause();
        now = now_ticks();
        record_round_trip(&result->round_trips, now - last);
        last = now;
    }
    atomic_store_explicit(&a->there.value, END_MARK, memory_order_release);
}

static void ping_right(void *arena, outcome *result) {
    ping_arena *a = arena;
    uint64_t seen = 0, value;
    for (;;) {
        while ((value = atomic_load_explicit(&a->there.value, memory_order_acquire)) == seen) _mm_pause();
        if (value == END_MARK) break;
        atomic_store_explicit(&a->back.value, value, memory_order_release);
        seen = value;
    }
    result->messages = seen;
}

static void stream_prepare(void *arena) { memset(arena, 0, sizeof(stream_arena)); }

static void stream_left(void *arena, uint64_t ticks, outcome *result) {
    stream_arena *a = arena;
    uint64_t sequence = 0, room = LINES;
    uint64_t end = (result->begin_ticks = now_ticks()) + ticks;
    do {
        while (sequence + LINES_PER_CURSOR > room) {
            room = atomic_load_explicit(&a->consumed.value, memory_order_acquire) + LINES;
            if (sequence + LINES_PER_CURSOR > room) _mm_pause();
        }
        for (uint32_t i = 0; i < LINES_PER_CURSOR; i++, sequence++) {
            uint64_t *line = a->lines[sequence % LINES];
            for (int word = 0; word < 8; word++) line[word] = sequence;
        }
        atomic_store_explicit(&a->produced.value, sequence, memory_order_release);
    } while (sequence % CHUNK != 0 || now_ticks() < end);
    atomic_store_explicit(&a->produced.value, sequence | (UINT64_C(1) << 63), memory_order_release);
}

static void stream_right(void *arena, outcome *result) {
    stream_arena *a = arena;
    uint64_t sequence = 0, errors = 0, produced, available;
    for (;;) {
        produced = atomic_load_explicit(&a->produced.value, memory_order_acquire);
        available = produced & ~(UINT64_C(1) << 63);
        if (available == sequence) {
            if (produced != available) break;
            _mm_pause();
            continue;
        }
        while (sequence != available) {
            for (uint32_t i = 0; i < LINES_PER_CURSOR; i++, sequence++) {
                const uint64_t *line = a->lines[sequence % LINES];
                uint64_t differ = 0;
                for (int word = 0; word < 8; word++) differ |= line[word] ^ sequence;
                errors += differ != 0;
            }
            atomic_store_explicit(&a->consumed.value, sequence, memory_order_release);
        }
    }
    result->end_ticks = now_ticks();
    result->messages = sequence;
    result->errors = errors;
}

const candidate anchor_candidates[] = {
    {"anchor.ping", ping_prepare, ping_left, ping_right},
    {"anchor.stream", stream_prepare, stream_left, stream_right},
    {NULL, NULL, NULL, NULL},
};
