/* jitter.h: gaps of a worker's loop: time between two turns that it did not spend on purpose.
 *
 * The loop reads the clock when a batch begins and ends anyway; while it spins it reads it every BYTEOR_GAP_TURNS turns. What
 * lies between two neighbouring readings and is longer than turns can take was taken by somebody else: an interrupt, another
 * process, the hypervisor. A turn that asks the outside (a system call) may take longer, so there only longer gaps count.
 * Before a wait on purpose (yield, sleep, park) the trail is dropped. One writer. */
#ifndef BYTEOR_JITTER_H
#define BYTEOR_JITTER_H

#include "clock.h"
#include "histogram.h"

#define BYTEOR_GAP_NS_MIN 2000u /* shorter ones are no news: so many idle turns take less */
#define BYTEOR_GAP_ASKED_NS_MIN 20000u /* of a turn that asked an adapter in vain */
#define BYTEOR_GAP_TURNS 8u     /* a power of two; a turn may look several times */

#define BYTEOR_NO_TRAIL ((uint64_t)1 << 62)

typedef struct byteor_gap_watch {
    byteor_histogram *gaps;
    uint64_t last_ns; /* BYTEOR_NO_TRAIL, or when the loop was last seen */
} byteor_gap_watch;

enum byteor_idle { BYTEOR_IDLE_SLEEPS = 0, BYTEOR_IDLE_SPINS = 1, BYTEOR_IDLE_ASKS = 2 };

/* The loop is at a turn at `now`; `least`: shortest gap that counts. */
static inline void byteor_gap_seen(byteor_gap_watch *watch, uint64_t now, uint64_t least) {
    int64_t gap = (int64_t)(now - watch->last_ns); /* negative without a trail */
    if (__builtin_expect(gap >= (int64_t)least, 0)) byteor_histogram_add(watch->gaps, (uint64_t)gap, 1);
    watch->last_ns = now;
}

/* A batch was worked on from `began` to `ended`. */
static inline void byteor_gap_worked(byteor_gap_watch *watch, uint64_t began, uint64_t ended) {
    byteor_gap_seen(watch, began, BYTEOR_GAP_NS_MIN);
    watch->last_ns = ended > began ? ended : began;
}

/* An idle turn: what it did is enum byteor_idle. */
static inline void byteor_gap_idle(byteor_gap_watch *watch, uint32_t idle_turns, int did, const byteor_clock *clock) {
    if (did == BYTEOR_IDLE_SLEEPS)
        watch->last_ns = BYTEOR_NO_TRAIL;
    else if (did == BYTEOR_IDLE_ASKS)
        byteor_gap_seen(watch, byteor_now_ns(clock), BYTEOR_GAP_ASKED_NS_MIN);
    else if ((idle_turns & (BYTEOR_GAP_TURNS - 1)) == BYTEOR_GAP_TURNS / 2)
        byteor_gap_seen(watch, byteor_now_ns(clock), BYTEOR_GAP_NS_MIN);
}

#endif
