/* unit_linger.h: staying away from the front of a stream.
 *
 * A follower that is faster than its producer and looks at once for the next message takes the very line that the producer
 * is about to write, time and again: both then move at the pace of one trip between the CPUs for each message. A pause after
 * a busy spell lets the producer get ahead, and whole runs of lines then travel together. It pays only in a stream: whether
 * there is one is tried once in many lulls, and left off as soon as a pause finds few messages. A lone message, and a peer
 * that waits for an answer, find a follower that looks. */
#ifndef BYTEOR_UNIT_LINGER_H
#define BYTEOR_UNIT_LINGER_H

#include "unit.h"

#define BYTEOR_LINGER_LULLS 256u /* lulls between two tries */
#define BYTEOR_LINGER_MIN 32u    /* pauses of a try, about 800 ns */
#define BYTEOR_LINGER_MAX 256u
#define BYTEOR_LINGER_FEW 8u     /* fewer messages than that after a pause: no stream */

/* How long to linger after a pause of `spent` that found `there` messages of a ring; 0: not at all. */
static inline uint32_t byteor_linger_next(uint32_t spent, uint64_t there, uint64_t capacity) {
    uint64_t few = capacity / 8 < BYTEOR_LINGER_FEW ? capacity / 8 : BYTEOR_LINGER_FEW;
    if (there < few || there > capacity) return 0;
    if (there > capacity / 2) return spent / 2;
    return spent * 2 < BYTEOR_LINGER_MAX ? spent * 2 : BYTEOR_LINGER_MAX;
}

/* The first look after a busy spell found nothing. */
static inline void byteor_linger(byteor_unit_runtime *u) {
    const byteor_ring *ring = &u->rings[0];
    uint32_t pauses = u->linger;
    if (pauses == 0) {
        if (++u->lulls < BYTEOR_LINGER_LULLS) return;
        u->lulls = 0;
        pauses = BYTEOR_LINGER_MIN;
    }
    for (uint32_t i = 0; i < pauses; i++) byteor_pause();
    u->lingered = 1;
    u->linger = byteor_linger_next(pauses, byteor_load_relaxed64(&ring->producer->cursor) - u->work.position, ring->capacity);
}

#endif
