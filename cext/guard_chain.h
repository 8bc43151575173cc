/* guard_chain.h: what may be seen of messages of a run with data protection: its stages' rules, one
 * after the other, and nothing of a message that none of them knows.
 *
 * It works on copies, when a view is asked for; no role of a run uses it. */
#ifndef BYTEOR_GUARD_CHAIN_H
#define BYTEOR_GUARD_CHAIN_H

#include "guard_config.h"

#define GUARD_CHAIN_MAX 32u

typedef struct guard_chain {
    uint32_t count;
    guard_stage *stage[GUARD_CHAIN_MAX];
    uint64_t messages;
    uint64_t changed;
    uint64_t withheld;
} guard_chain;

void guard_chain_free(guard_chain *self);

/* 1: `left` is what may be seen of it, valid until the next call; 0: nothing may, it is empty. */
int guard_chain_pass(guard_chain *self, guard_slice payload, guard_slice *left);

/* The frames of a journal's segment from `offset` on, as they may be seen, sealed for the segment
 * `sealed`: so many as there are before `end` and fit into `room`. A message that may not be seen
 * keeps its frame, empty. `*reached`: offset behind the last one read. Returns the bytes written. */
uint64_t guard_chain_frames(guard_chain *self, const uint8_t *data, uint64_t *reached, uint64_t end,
                            uint64_t sealed, uint8_t *out, uint64_t room);

#endif
