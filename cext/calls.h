/* calls.h: the calls that a stage of a user's own code got once, to be made again in a replay: how many messages each, what its
 * clock showed, and which messages it failed on and was passed over. */
#ifndef BYTEOR_CALLS_H
#define BYTEOR_CALLS_H

#include "capture.h"

/* How the calls of a stage differed from then. Sequences are those that its errors are told by. */
typedef struct byteor_calls_found {
    uint64_t strayed;       /* calls that were not as they were then */
    uint64_t unfailed;      /* messages that it failed on then, and now did not */
    uint64_t unfailed_at;   /* the first of them */
    uint64_t unforeseen;    /* messages that it failed on now, and did not then */
    uint64_t unforeseen_at; /* the first of them */
} byteor_calls_found;

typedef struct byteor_calls {
    const byteor_choice *list; /* of kind BATCH and FAIL alone; NULL: the stage is free */
    uint64_t count;
    uint64_t at;
    uint64_t used; /* messages of list[at] that were given before, by themselves */
    byteor_calls_found *found;
    uint32_t exact; /* a call waits for all of its messages; else only where it ends and its clock are as then */
} byteor_calls;

/* Whether the next message is one that it failed on: it gets that by itself. */
static inline int byteor_calls_fails(const byteor_calls *c) { return c->at < c->count && c->list[c->at].kind == BYTEOR_CHOICE_FAIL; }

/* How many messages the next call takes; 0: what was recorded is over, and the stage is free. */
static inline uint64_t byteor_calls_left(const byteor_calls *c) {
    if (c->at >= c->count) return 0;
    return byteor_calls_fails(c) ? 1 : c->list[c->at].source - c->used;
}

/* What the clock of the next call shows. */
static inline uint64_t byteor_calls_ns(const byteor_calls *c, uint64_t now) { return c->at < c->count ? c->list[c->at].count : now; }

/* The stage has had messages of the recorded calls, whatever became of them. */
static inline void byteor_calls_use(byteor_calls *c, uint64_t messages) {
    while (messages && byteor_calls_left(c) && !byteor_calls_fails(c)) {
        uint64_t left = byteor_calls_left(c), part = messages < left ? messages : left;
        c->used += part;
        messages -= part;
        if (c->used < c->list[c->at].source) return;
        c->at++;
        c->used = 0;
    }
}

/* A message that it failed on then, and now did not. */
static inline void byteor_calls_unfailed(byteor_calls *c, uint64_t sequence) {
    if (c->found->unfailed++ == 0) c->found->unfailed_at = sequence;
    c->at++;
}

/* A call was made, of `messages` from `sequence` on, and what it did stands. */
static inline void byteor_calls_made(byteor_calls *c, uint64_t messages, int is_end, uint64_t sequence) {
    if (c->at >= c->count) return;
    if (byteor_calls_fails(c) && !is_end) {
        byteor_calls_unfailed(c, sequence);
        return;
    }
    const int was_end = c->list[c->at].source == 0;
    if (is_end != was_end || (!is_end && (c->used || messages != c->list[c->at].source))) c->found->strayed++;
    if (is_end) c->at += (uint64_t)was_end;
    else byteor_calls_use(c, messages);
}

/* The stage failed on a message, which was passed over. */
static inline void byteor_calls_failed(byteor_calls *c, uint64_t sequence) {
    if (c->list == NULL) return;
    if (byteor_calls_fails(c)) {
        c->at++;
        return;
    }
    if (c->found->unforeseen++ == 0) c->found->unforeseen_at = sequence;
    byteor_calls_use(c, 1);
}

#endif
