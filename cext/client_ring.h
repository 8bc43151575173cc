/* client_ring.h: a process of the user's own as producer or last consumer of a ring. Its batches are not atomic: a client
 * that dies loses what it had not published, and gets again what it had not released. */
#ifndef BYTEOR_CLIENT_RING_H
#define BYTEOR_CLIENT_RING_H

#include <string.h>

#include "clock.h"
#include "ring.h"
#include "wait.h"

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

/* Make [position, end) visible, not counted: the end slot is no message. */
static inline void byteor_client_show(byteor_client *c, uint64_t end) {
    byteor_ring_publish(&c->ring, c->position, end);
    byteor_store_release64(&c->ring.producer->progress_ns, c->time_last);
    c->position = end;
    byteor_client_wake(c);
}

/* Publish [position, end); times strictly increasing. */
static inline void byteor_client_publish(byteor_client *c, uint64_t end) {
    if (c->role) {
        byteor_count(&c->role->received, end - c->position);
        byteor_store_relaxed64(&c->role->published, c->role->received);
    }
    byteor_client_show(c, end);
}

static inline uint64_t byteor_client_time(byteor_client *c) {
    uint64_t now = byteor_now_ns(&c->ring.header->clock);
    c->time_last = now > c->time_last ? now : c->time_last + 1;
    return c->time_last;
}

static inline void byteor_client_put(byteor_client *c, uint64_t sequence, const void *data, uint32_t bytes, uint64_t time_ns) {
    byteor_slot *slot = byteor_ring_slot(&c->ring, sequence);
    slot->length = (uint16_t)bytes;
    slot->type = 0;
    slot->flags = 0;
    slot->time_ns = time_ns;
    memcpy(byteor_payload(slot), data, bytes);
}

static inline void byteor_client_end(byteor_client *c) {
    byteor_slot *slot = byteor_ring_slot(&c->ring, c->position);
    byteor_ring_claim(&c->ring, c->position + 1);
    slot->length = 0;
    slot->type = 0;
    slot->flags = BYTEOR_SLOT_END;
    slot->time_ns = byteor_client_time(c);
    byteor_store_release64(&c->ring.producer->end_sequence, c->position);
    byteor_client_show(c, c->position + 1);
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
        if ((c->wait.idle_turns & 63u) == 0 || c->wait.idle_turns > byteor_wait_spins(&c->wait))
            if (byteor_monotonic_ns() - begin >= bound_ns) return 1;
    }
}

#endif
