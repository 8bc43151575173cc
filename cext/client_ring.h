/* client_ring.h: a process of the user's own as producer or last consumer of a ring. Its batches are not atomic: a client
 * that dies loses what it had not published, and gets again what it had not released. */
#ifndef BYTEOR_CLIENT_RING_H
#define BYTEOR_CLIENT_RING_H

#include <string.h>

#include "clock.h"
#include "ring.h"
#include "wait.h"

#define BYTEOR_FULL_PAUSES 32 /* between two looks of a publisher at a full ring: about a microsecond */

typedef struct byteor_client {
    byteor_ring ring;
    byteor_role *role;      /* NULL: a ring without a run */
    uint32_t *doorbell[16]; /* of the units that wait for this client */
    uint32_t doorbell_count;
    uint32_t membarrier;
    uint64_t position;
    uint64_t limit; /* publisher: may claim below; consumer: available below */
    uint64_t time_last;
    uint64_t batch_end;
    uint32_t depends[BYTEOR_CELLS_MAX];
    uint32_t depends_count;
    int32_t cell;
    uint32_t ended;
    byteor_wait wait;
} byteor_client;

static inline void byteor_client_wake(byteor_client *c) {
    for (uint32_t i = 0; i < c->doorbell_count; i++) byteor_doorbell_ring(c->doorbell[i], (int)c->membarrier);
}

/* Where a publisher goes on: the cursor, moved over slots that a killed predecessor had stamped already. */
static inline uint64_t byteor_client_resume(const byteor_ring *ring) {
    uint64_t cursor = byteor_load_acquire64(&ring->producer->cursor), count = 0;
    while (count < ring->capacity && byteor_ring_published(ring, cursor + count)) count++;
    return cursor + count;
}

static inline uint64_t byteor_client_room(byteor_client *c) {
    if (c->position == c->limit) c->limit = byteor_ring_minimum(&c->ring, c->position) + c->ring.capacity;
    return c->limit - c->position;
}

/* Publish [position, end); times strictly increasing. What was published stands in the cursor: the role's line is not
 * written, for several publishers may play it. */
static inline void byteor_client_publish(byteor_client *c, uint64_t end) {
    byteor_ring_publish(&c->ring, c->position, end);
    byteor_store_release64(&c->ring.producer->progress_ns, c->time_last);
    c->position = end;
    byteor_client_wake(c);
}

/* Stand behind all that is written: 1, or 0 when that was the end. What a predecessor had written whole when it died is
 * published now, before time passes: a merge goes by it. */
static inline int byteor_client_continue(byteor_client *c) {
    if (byteor_load_acquire64(&c->ring.producer->end_sequence) != BYTEOR_NO_SEQUENCE) return 0;
    c->limit = c->position = byteor_client_resume(&c->ring);
    c->time_last = byteor_load_acquire64(&c->ring.producer->progress_ns);
    if (c->position != byteor_load_acquire64(&c->ring.producer->cursor)) byteor_client_publish(c, c->position);
    return 1;
}

static inline uint64_t byteor_client_time(byteor_client *c) {
    uint64_t now = byteor_now_ns(&c->ring.header->clock);
    c->time_last = now > c->time_last ? now : c->time_last + 1;
    return c->time_last;
}

/* Announce `count` slots; returns the time of the first, each later one is a nanosecond on. */
static inline uint64_t byteor_client_begin(byteor_client *c, uint64_t count) {
    byteor_ring_claim(&c->ring, c->position + count);
    uint64_t time_ns = byteor_client_time(c);
    c->time_last = time_ns + count - 1;
    return time_ns;
}

/* As byteor_ring_touch, but every line that messages of `bytes` will fill: stores one after the other, so that the processor
 * asks for many lines at once, and not for the few that fit its store buffer while it copies. */
static inline void byteor_client_touch(const byteor_client *c, uint64_t count, uint32_t bytes) {
    for (uint64_t i = 0; i < count; i++) {
        uint8_t *slot = (uint8_t *)byteor_ring_slot(&c->ring, c->position + i);
        for (uint32_t line = 0; line < BYTEOR_SLOT_HEADER_BYTES + bytes; line += BYTEOR_LINE)
            byteor_store_relaxed64((uint64_t *)(void *)(slot + line + 8), 0);
    }
}

/* While nothing is claimed: say that every message up to now is published, for a merge that goes by time. */
static inline void byteor_client_progress(byteor_client *c) {
    uint64_t now = byteor_now_ns(&c->ring.header->clock);
    if (c->ended || now <= c->time_last) return;
    c->time_last = now; /* later messages get later times */
    byteor_store_release64(&c->ring.producer->progress_ns, now);
    byteor_client_wake(c);
}

/* Messages that the lane had no room for, and that it discards. */
static inline void byteor_client_drop(byteor_client *c, uint64_t count) { byteor_count(&c->ring.producer->dropped[0], count); }

/* Payloads of 32 to 64 bytes, the usual ones, without a call. */
static inline void byteor_payload_copy(void *to, const void *from, size_t bytes) {
    if (bytes - 32u <= 32u) {
        uint8_t head[32], tail[32];
        memcpy(head, from, 32);
        memcpy(tail, (const uint8_t *)from + bytes - 32u, 32);
        memcpy(to, head, 32);
        memcpy((uint8_t *)to + bytes - 32u, tail, 32);
        return;
    }
    memcpy(to, from, bytes);
}

static inline void byteor_client_put(byteor_client *c, uint64_t sequence, const void *data, uint32_t bytes, uint64_t time_ns) {
    byteor_slot *slot = byteor_ring_slot(&c->ring, sequence);
    slot->length = (uint16_t)bytes;
    slot->type = 0;
    slot->flags = 0;
    slot->time_ns = time_ns;
    byteor_payload_copy(byteor_payload(slot), data, bytes);
}

/* Publish `count` messages of `bytes` each that lie one behind the other; there is room for them. */
static inline void byteor_client_publish_run(byteor_client *c, const uint8_t *data, uint32_t bytes, uint64_t count) {
    uint64_t time_ns = byteor_client_begin(c, count);
    byteor_client_touch(c, count, bytes);
    for (uint64_t i = 0; i < count; i++) byteor_client_put(c, c->position + i, data + i * bytes, bytes, time_ns + i);
    byteor_client_publish(c, c->position + count);
}

static inline void byteor_client_end(byteor_client *c) {
    byteor_slot *slot = byteor_ring_slot(&c->ring, c->position);
    byteor_ring_claim(&c->ring, c->position + 1);
    slot->length = 0;
    slot->type = 0;
    slot->flags = BYTEOR_SLOT_END;
    slot->time_ns = byteor_client_time(c);
    byteor_store_release64(&c->ring.producer->end_sequence, c->position);
    byteor_client_publish(c, c->position + 1);
    c->ended = 1;
}

/* Messages at hand for a consumer, as a contiguous run bounded by `most`. */
static inline uint64_t byteor_client_available(byteor_client *c, uint64_t most) {
    byteor_ring *ring = &c->ring;
    if (c->depends_count == 0) {
        uint64_t contiguous = byteor_ring_contiguous(ring, c->position);
        return byteor_ring_scan(ring, c->position, most < contiguous ? most : contiguous);
    }
    if (c->limit - c->position - 1 >= ring->capacity) {
        uint64_t least = ring->capacity + 1;
        for (uint32_t d = 0; d < c->depends_count; d++) {
            uint64_t ahead = byteor_load_acquire64(&ring->cells[c->depends[d]].sequence) - c->position;
            if (ahead < least) least = ahead;
        }
        c->limit = c->position + (least > ring->capacity ? 0 : least);
    }
    uint64_t count = c->limit - c->position, contiguous = byteor_ring_contiguous(ring, c->position);
    if (count > contiguous) count = contiguous;
    return count < most ? count : most;
}

/* Have the lines of the message after next on their way while the caller, in Python, is busy with this one. */
static inline void byteor_client_ahead(const byteor_client *c) {
    const uint8_t *slot = (const uint8_t *)byteor_ring_slot(&c->ring, c->position + 2);
    __builtin_prefetch(slot);
    if (c->ring.slot_bytes > BYTEOR_LINE) __builtin_prefetch(slot + BYTEOR_LINE);
}

static inline void byteor_client_release(byteor_client *c, uint64_t sequence, uint64_t live) {
    byteor_cell_release(&c->ring, (uint32_t)c->cell, sequence);
    if (c->role) byteor_count(&c->role->received, live);
    c->position = sequence;
    byteor_client_wake(c);
}

/* Wait until something may have changed or about `bound_ns` have passed; 1 when the time is over. */
static inline int byteor_client_wait(byteor_client *c, int consumer, uint64_t bound_ns) {
    uint64_t begin = byteor_monotonic_ns();
    byteor_wait_reset(&c->wait);
    for (;;) {
        if (consumer ? byteor_client_available(c, 1) != 0 : byteor_client_room(c) != 0) return 0;
        (void)byteor_wait_turn(&c->wait, -1, 0);
        /* There is a whole ring to be worked off: looking all the time would only take the line away from who does it. */
        for (int pause = 0; !consumer && pause < BYTEOR_FULL_PAUSES; pause++) byteor_pause();
        if ((c->wait.idle_turns & 63u) == 0 || c->wait.idle_turns > byteor_wait_spins(&c->wait))
            if (byteor_monotonic_ns() - begin >= bound_ns) return 1;
    }
}

#endif
