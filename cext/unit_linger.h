/* unit_linger.h: staying away from the front of a stream.
 *
 * A follower that is faster than its producer and looks at once for the next message takes the very line that the producer
 * is about to write, time and again: both then move at the pace of one trip between the CPUs for each few messages, and the
 * follower pays its turn for as few. A pause after a turn lets the producer get ahead, and whole runs of lines then travel
 * together. It pays only in a stream: turns that find messages waiting, time after time, but not many. Where each turn finds
 * one or two, whether there is more to be had is tried once in many turns. A pause that finds few messages is the last one,
 * so a lone message, a short burst, and a peer that waits for an answer find a follower that looks. */
#ifndef BYTEOR_UNIT_LINGER_H
#define BYTEOR_UNIT_LINGER_H

#include "unit.h"

#define BYTEOR_LINGER_TURNS 256u /* turns with few messages between two tries */
#define BYTEOR_LINGER_TRY 32u    /* pauses of a try, some hundred nanoseconds */
#define BYTEOR_LINGER_MIN 8u
#define BYTEOR_LINGER_MAX 256u
#define BYTEOR_LINGER_FEW 4u     /* fewer messages than that in a turn: no stream */
#define BYTEOR_LINGER_MANY 16u    /* as many as that: no need for a longer pause */

/* How long to pause after a turn that took `took` messages and followed a pause of u->linger. */
static inline uint32_t byteor_linger_next(byteor_unit_runtime *u, uint64_t took) {
    uint64_t capacity = u->rings[0].capacity, many = byteor_least(capacity / 4, BYTEOR_LINGER_MANY);
    if (took >= capacity / 2) return u->linger / 2;
    if (took >= many) return u->linger;
    if (took >= BYTEOR_LINGER_FEW) {
        if (u->linger) return (uint32_t)byteor_least(u->linger * 2, BYTEOR_LINGER_MAX);
        return ++u->streak > 1 ? BYTEOR_LINGER_MIN : 0;
    }
    u->streak = 0;
    if (u->linger || ++u->few_turns < BYTEOR_LINGER_TURNS) return 0;
    u->few_turns = 0;
    return BYTEOR_LINGER_TRY;
}

/* A turn that took `took` messages is over. */
static inline void byteor_linger(byteor_unit_runtime *u, uint64_t took) {
    u->linger = byteor_linger_next(u, took);
    u->lingered = u->linger != 0;
    for (uint32_t i = 0; i < u->linger; i++) byteor_pause();
}

/* There was nothing at the first look: no stream. */
static inline void byteor_linger_not(byteor_unit_runtime *u) { u->linger = u->streak = 0; }

#endif
