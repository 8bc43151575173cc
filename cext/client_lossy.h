/* client_lossy.h: a process of the user's own that reads a fan-out and never holds it up: what was written over before it
 * could be read is missed, and counted. What it has read stands in the words of its unit, for its successor and for all
 * who look; nobody else writes them. */
#ifndef BYTEOR_CLIENT_LOSSY_H
#define BYTEOR_CLIENT_LOSSY_H

#include "client_ring.h"
#include "ring_copy.h"

typedef struct byteor_lossy {
    byteor_ring ring;
    byteor_role *role;
    uint64_t *word; /* position, missed, nonsense: as the words of a port */
    uint64_t position, missed, nonsense;
    uint32_t ended;
    byteor_wait wait;
} byteor_lossy;

enum { BYTEOR_LOSSY_NOTHING = 0, BYTEOR_LOSSY_MESSAGE = 1, BYTEOR_LOSSY_END = 2 };

static inline void byteor_lossy_open(byteor_lossy *l) {
    l->position = byteor_load_acquire64(&l->word[0]);
    l->missed = byteor_load_acquire64(&l->word[1]);
    l->nonsense = byteor_load_acquire64(&l->word[2]);
    uint64_t end = byteor_load_acquire64(&l->ring.producer->end_sequence);
    l->ended = end != BYTEOR_NO_SEQUENCE && l->position == end + 1;
}

/* What was read is shown: the losses first, so that nobody counts as read what was missed. */
static inline void byteor_lossy_show(byteor_lossy *l, uint64_t messages) {
    byteor_store_release64(&l->word[1], l->missed);
    byteor_store_release64(&l->word[2], l->nonsense);
    byteor_store_release64(&l->word[0], l->position);
    byteor_count(&l->role->received, messages);
}

static inline int byteor_lossy_is_message(const byteor_lossy *l, const uint8_t *copied) {
    const byteor_slot *slot = (const byteor_slot *)(const void *)copied;
    return slot->length <= l->ring.payload_max && slot->flags == 0;
}

/* Copy the next message to `to` (slot_bytes), if there is one. */
static inline int byteor_lossy_next(byteor_lossy *l, uint8_t *to) {
    const byteor_ring *ring = &l->ring;
    for (;;) {
        uint64_t end = byteor_load_acquire64(&ring->producer->end_sequence);
        if (l->position == end || (end != BYTEOR_NO_SEQUENCE && l->position == end + 1)) {
            l->position = end + 1;
            l->ended = 1;
            return BYTEOR_LOSSY_END;
        }
        uint64_t behind = byteor_load_acquire64(&ring->producer->claimed) - l->position;
        if (behind > ring->capacity && behind < (uint64_t)1 << 63) {
            l->missed += behind - ring->capacity;
            l->position += behind - ring->capacity;
        }
        int outcome = byteor_ring_copy(ring, l->position, to);
        if (outcome == BYTEOR_COPY_NOT_YET) return BYTEOR_LOSSY_NOTHING;
        if (outcome == BYTEOR_COPY_OVERWRITTEN) continue; /* the next look counts it */
        l->position++;
        if (byteor_lossy_is_message(l, to)) return BYTEOR_LOSSY_MESSAGE;
        l->nonsense++;
    }
}

/* Copy messages to `to`, `most` at most, one behind the other in the ring too: what is missed, is missed before the first.
 * Returns how many. */
static inline uint32_t byteor_lossy_run(byteor_lossy *l, uint8_t *to, uint32_t most) {
    if (most == 0 || byteor_lossy_next(l, to) != BYTEOR_LOSSY_MESSAGE) return 0;
    uint32_t count = 1;
    for (; count < most; count++, l->position++) {
        uint8_t *at = to + (size_t)count * l->ring.slot_bytes;
        if (byteor_ring_copy(&l->ring, l->position, at) != BYTEOR_COPY_HOLDS || !byteor_lossy_is_message(l, at)) break;
    }
    return count;
}

/* Wait until something may have been published or about `bound_ns` have passed; 1 when the time is over. */
static inline int byteor_lossy_wait(byteor_lossy *l, uint64_t bound_ns) {
    uint64_t begin = byteor_monotonic_ns();
    byteor_wait_reset(&l->wait);
    for (;;) {
        if (byteor_load_acquire64(&l->ring.producer->cursor) != l->position) return 0;
        (void)byteor_wait_turn(&l->wait, -1, 0);
        if ((l->wait.idle_turns & 63u) == 0 || l->wait.idle_turns > byteor_wait_spins(&l->wait))
            if (byteor_monotonic_ns() - begin >= bound_ns) return 1;
    }
}

#endif
