/* pair.h: what every native candidate of the bench shares.
 *
 * Two pinned sides, left and right, over one shared arena. A candidate is a pair of functions that run at the same time,
 * one on each side, for about `ticks` of the time-stamp counter; the left one begins and ends the sample. Every candidate
 * carries the same payload (48 bytes, six words), built by fill() and looked at by check(), so that they differ only in
 * how it travels. Owns no policy: rounds, classes and ratios are the Python side's.
 */
#ifndef BYTEOR_BENCH_PAIR_H
#define BYTEOR_BENCH_PAIR_H

#include <stddef.h>
#include <stdint.h>
#include <x86intrin.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PAYLOAD_WORDS 6
#define CHUNK 1024u
#define END_MARK UINT64_MAX
#define ARENA_BYTES (64u << 20)
#define HISTOGRAM_TICKS 16384u

/* Round trips by length, one bin per tick of the counter, so that percentiles are exact up to 6 us. */
typedef struct histogram {
    uint64_t count;
    uint32_t bins[HISTOGRAM_TICKS + 1];
} histogram;

/* Written by one side each, read after both have finished. */
typedef struct outcome {
    uint64_t begin_ticks;    /* left: before the first message */
    uint64_t end_ticks;      /* right: after the last; a ping-pong leaves it 0 */
    uint64_t messages;       /* right: taken, the end mark not counted */
    uint64_t errors;         /* right: messages that were not the next one, or torn */
    histogram round_trips;   /* left: a ping-pong; right: twice the ages it found */
} outcome;

typedef struct payload {
    uint64_t word[PAYLOAD_WORDS];
} payload;

typedef struct candidate {
    const char *name;
    void (*prepare)(void *arena);
    void (*left)(void *arena, uint64_t ticks, outcome *result);
    void (*right)(void *arena, outcome *result);
} candidate;

static inline void fill(uint64_t *word, uint64_t sequence) {
    for (int i = 0; i < PAYLOAD_WORDS - 1; i++) word[i] = sequence;
    word[PAYLOAD_WORDS - 1] = ~sequence;
}

/* Takes a message into account; 0 when it is the end mark. */
static inline int check(const uint64_t *word, uint64_t *expected, outcome *result) {
    if (word[0] == END_MARK) return 0;
    result->errors += (word[0] != *expected) | (word[PAYLOAD_WORDS - 1] != ~word[0]);
    *expected += 1;
    return 1;
}

static inline void record_round_trip(histogram *h, uint64_t ticks) {
    h->bins[ticks < HISTOGRAM_TICKS ? ticks : HISTOGRAM_TICKS]++;
    h->count++;
}

static inline uint64_t now_ticks(void) { return __rdtsc(); }

extern const candidate anchor_candidates[];
extern const candidate boost_candidates[];
extern const candidate byteor_candidates[];
extern const candidate unit_candidates[];

#ifdef __cplusplus
}
#endif
#endif
