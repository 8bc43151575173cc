/* script.h: choices that a role made once, to be made again in a replay, in their order, and what it lost then. */
#ifndef BYTEOR_SCRIPT_H
#define BYTEOR_SCRIPT_H

#include "capture.h"

typedef struct byteor_script {
    const byteor_choice *list; /* of the kinds that one place of the code makes */
    uint64_t count;
    uint64_t at;
    uint64_t used; /* of list[at].count */
} byteor_script;

/* The choice that is next, or NULL: what was recorded is over, and the role is free again. */
static inline const byteor_choice *byteor_script_now(const byteor_script *s) { return s->at < s->count ? &s->list[s->at] : NULL; }

/* How many messages it still speaks of; there is one. */
static inline uint64_t byteor_script_left(const byteor_script *s) { return s->list[s->at].count - s->used; }

static inline void byteor_script_advance(byteor_script *s, uint64_t messages) {
    while (messages && s->at < s->count) {
        uint64_t left = byteor_script_left(s), part = messages < left ? messages : left;
        s->used += part;
        messages -= part;
        if (s->used < s->list[s->at].count) return;
        s->at++;
        s->used = 0;
    }
}

/* Messages that an input lost once: `count` from this sequence of its ring on. */
typedef struct byteor_lost {
    uint64_t first;
    uint64_t count;
} byteor_lost;

typedef struct byteor_losses {
    const byteor_lost *list; /* ascending */
    uint64_t count;
    uint64_t at; /* nothing before list[at] matters any more */
} byteor_losses;

/* How many messages come from `position` on before some were lost; 0: those at hand were. No more than `limit`. */
static inline uint64_t byteor_losses_ahead(byteor_losses *l, uint64_t position, uint64_t limit) {
    while (l->at && position < l->list[l->at - 1].first + l->list[l->at - 1].count) l->at--; /* a batch was taken back */
    while (l->at < l->count && position >= l->list[l->at].first + l->list[l->at].count) l->at++;
    if (l->at == l->count) return limit;
    uint64_t first = l->list[l->at].first, ahead = position < first ? first - position : 0;
    return ahead < limit ? ahead : limit;
}

/* How many were lost from `position` on, where byteor_losses_ahead says 0. */
static inline uint64_t byteor_losses_here(const byteor_losses *l, uint64_t position) {
    return l->list[l->at].first + l->list[l->at].count - position;
}

#endif
