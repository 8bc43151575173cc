/* calls.h: the calls that a stage of a user's own code got once, to be made again in a replay: how many messages each, and
 * what its clock showed. */
#ifndef BYTEOR_CALLS_H
#define BYTEOR_CALLS_H

#include "capture.h"

typedef struct byteor_calls {
    const byteor_choice *list; /* of kind BATCH alone; NULL: the stage is free */
    uint64_t count;
    uint64_t at;
    uint64_t used;     /* messages of list[at] that were given before, by themselves */
    uint64_t *strayed; /* calls that were not as they were then */
    uint32_t exact;    /* a call waits for all of its messages; else only where it ends and its clock are as then */
} byteor_calls;

/* How many messages the next call takes; 0: what was recorded is over, and the stage is free. */
static inline uint64_t byteor_calls_left(const byteor_calls *c) { return c->at < c->count ? c->list[c->at].source - c->used : 0; }

/* What the clock of the next call shows. */
static inline uint64_t byteor_calls_ns(const byteor_calls *c, uint64_t now) { return c->at < c->count ? c->list[c->at].count : now; }

/* A call was made, of `messages`, and what it did stands. */
static inline void byteor_calls_made(byteor_calls *c, uint64_t messages, int is_end) {
    if (c->at >= c->count) return;
    const int was_end = c->list[c->at].source == 0;
    if (is_end != was_end || (!is_end && (c->used || messages != c->list[c->at].source))) (*c->strayed)++;
    if (is_end) {
        c->at += (uint64_t)was_end;
        return;
    }
    while (messages && byteor_calls_left(c)) {
        uint64_t left = byteor_calls_left(c), part = messages < left ? messages : left;
        c->used += part;
        messages -= part;
        if (c->used < c->list[c->at].source) return;
        c->at++;
        c->used = 0;
    }
}

#endif
