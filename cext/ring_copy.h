/* ring_copy.h: a message copied out of a ring by someone whom its producer does not know, and whether the copy holds. */
#ifndef BYTEOR_RING_COPY_H
#define BYTEOR_RING_COPY_H

#include <string.h>

#include "ring.h"

enum { BYTEOR_COPY_HOLDS = 1, BYTEOR_COPY_NOT_YET = 0, BYTEOR_COPY_OVERWRITTEN = -1 };

/* Copy the slot of `sequence` to `to` (slot_bytes). It holds if the sequence was published before and its slot cannot have
 * been claimed again since: the stamp alone does not tell, since it is stored after the payload. */
static inline int byteor_ring_copy(const byteor_ring *ring, uint64_t sequence, uint8_t *to) {
    /* acquire, partner: the cursor's release store in byteor_ring_publish */
    if ((int64_t)(byteor_load_acquire64(&ring->producer->cursor) - sequence) <= 0) return BYTEOR_COPY_NOT_YET;
    memcpy(to, byteor_ring_slot(ring, sequence), ring->slot_bytes);
    byteor_fence_acquire(); /* partner: the release fence in byteor_ring_claim */
    uint64_t claimed = byteor_load_relaxed64(&ring->producer->claimed);
    return (int64_t)(claimed - sequence) <= (int64_t)ring->capacity ? BYTEOR_COPY_HOLDS : BYTEOR_COPY_OVERWRITTEN;
}

#endif
