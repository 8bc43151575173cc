/* script.h: choices that a role made once, to be made again in a replay, in their order. */
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

#endif
