/* ring.h: a process's view of a ring and the sequencing on it.
 *
 * Slots carry a stamp, the low half of sequence + 1, stored with release after the payload: who follows the producer spins
 * on it and pays one cache line. Cells say how far each stage has released; who follows stages, and the producer, read
 * those. Sequences only grow; differences wrap. */
#ifndef BYTEOR_RING_H
#define BYTEOR_RING_H

#include <stddef.h>

#include "atomics.h"
#include "killpoint.h"
#include "layout.h"

typedef struct byteor_ring {
    uint8_t *base;
    uint8_t *slots;
    byteor_ring_producer *producer;
    byteor_cell *cells;
    uint64_t capacity;
    uint64_t mask;
    uint64_t bytes;
    uint32_t slot_bytes;
    uint32_t slot_shift; /* log2 of slot_bytes, or 0 when it is no power of two */
    uint32_t cell_count;
    uint32_t payload_max;
    const byteor_region_header *header;
} byteor_ring;

static inline byteor_slot *byteor_ring_slot(const byteor_ring *ring, uint64_t sequence) {
    return (byteor_slot *)(void *)(ring->slots + (sequence & ring->mask) * ring->slot_bytes);
}

/* Slots from `sequence` to the end of the memory, where a batch has to stop. */
static inline uint64_t byteor_ring_contiguous(const byteor_ring *ring, uint64_t sequence) {
    return ring->capacity - (sequence & ring->mask);
}

/* How far time is at `position` of a ring in time order, of which nothing is released from there on by the stages before:
 * the time of what they hold, which stands in its slot and is theirs to leave alone, else how far its producer says time
 * has come. That has to be read before the cursor. */
static inline uint64_t byteor_held_ns(const byteor_ring *ring, uint64_t position, uint64_t cursor, uint64_t progress_ns) {
    const uint64_t held = cursor - position;
    return held - 1 < ring->capacity ? byteor_ring_slot(ring, position)->time_ns : progress_ns;
}

/* Whether `sequence` is published; acquire, partner: the release store of the stamp in byteor_ring_publish. */
static inline int byteor_ring_published(const byteor_ring *ring, uint64_t sequence) {
    return byteor_load_acquire32(&byteor_ring_slot(ring, sequence)->stamp) == (uint32_t)(sequence + 1);
}

/* Published messages from `sequence` on, `limit` at most. */
static inline uint64_t byteor_ring_scan(const byteor_ring *ring, uint64_t sequence, uint64_t limit) {
    const uint8_t *at = (const uint8_t *)byteor_ring_slot(ring, sequence);
    uint64_t count = 0, end = byteor_ring_contiguous(ring, sequence);
    uint32_t stamp = (uint32_t)sequence;
    if (end > limit) end = limit;
    for (;;) {
        for (; count < end; count++, at += ring->slot_bytes)
            if (byteor_load_acquire32(&((const byteor_slot *)(const void *)at)->stamp) != ++stamp) return count;
        if (count == limit) return count;
        at = ring->slots; /* past the end of the memory */
        end = limit - end > ring->capacity ? end + ring->capacity : limit;
    }
}

/* Least sequence of all cells: the producer may claim up to that plus capacity. Acquire, partner: byteor_cell_release. */
static inline uint64_t byteor_ring_minimum(const byteor_ring *ring, uint64_t sequence) {
    uint64_t lag_max = 0;
    for (uint32_t cell = 0; cell < ring->cell_count; cell++) {
        uint64_t lag = sequence - byteor_load_acquire64(&ring->cells[cell].sequence);
        if (lag > lag_max && lag <= ring->capacity) lag_max = lag;
    }
    return sequence - lag_max;
}

/* Announce that slots below `sequence` are about to be written; partner: byteor_fence_acquire in byteor_ring_copy. It never
 * goes back: what a batch that failed, or a process that died, has written over stays written over. */
static inline void byteor_ring_claim(const byteor_ring *ring, uint64_t sequence) {
    if (sequence - byteor_load_relaxed64(&ring->producer->claimed) - 1u < (uint64_t)1 << 63) {
        byteor_store_relaxed64(&ring->producer->claimed, sequence);
        byteor_fence_release();
    }
}

/* Have the lines of claimed slots [first, first + count) on their way before they are filled: one store each, one after
 * the other, so that the processor asks for many at once. While it fills slots it asks only for the few whose stores fit
 * its store buffer, and a prefetch for writing does nothing for a line that it has but shares with a reader. */
static inline void byteor_ring_touch(const byteor_ring *ring, uint64_t first, uint64_t count) {
    uint8_t *at = (uint8_t *)byteor_ring_slot(ring, first);
    uint64_t rest = byteor_ring_contiguous(ring, first), more = count > rest ? count - rest : 0;
    for (uint64_t i = more; i < count; i++, at += ring->slot_bytes) byteor_store_relaxed64(&((byteor_slot *)(void *)at)->time_ns, 0);
    at = ring->slots;
    for (uint64_t i = 0; i < more; i++, at += ring->slot_bytes) byteor_store_relaxed64(&((byteor_slot *)(void *)at)->time_ns, 0);
}

/* Stamp `count` slots that lie one behind the other, `sequence` the first: each with release after what was written to it. */
static inline void byteor_ring_stamp(const byteor_ring *ring, uint8_t *slots, uint64_t sequence, uint64_t count) {
    uint32_t stamp = (uint32_t)sequence;
    for (; count; count--, slots += ring->slot_bytes) {
        byteor_store_release32(&((byteor_slot *)(void *)slots)->stamp, ++stamp);
        BYTEOR_KILL_POINT(9);
    }
}

/* Make [first, end) visible. Stamps before the cursor. */
static inline void byteor_ring_publish(const byteor_ring *ring, uint64_t first, uint64_t end) {
    while (first != end) {
        uint64_t run = byteor_ring_contiguous(ring, first);
        if (run > end - first) run = end - first;
        byteor_ring_stamp(ring, (uint8_t *)byteor_ring_slot(ring, first), first, run);
        first += run;
    }
    byteor_store_release64(&ring->producer->cursor, end);
}

/* Release slots below `sequence`; partner: the acquire loads of byteor_ring_minimum and of dependent stages. */
static inline void byteor_cell_release(const byteor_ring *ring, uint32_t cell, uint64_t sequence) {
    byteor_store_release64(&ring->cells[cell].sequence, sequence);
}

#endif
