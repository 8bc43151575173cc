/* client_shards.h: a process of the user's own at an end of a run with several rings: it spreads by key as the ingress of
 * a run does, and joins in ingress-time order as its egress does; of a lane with several producers it visits the rings in
 * turn. */
#ifndef BYTEOR_CLIENT_SHARDS_H
#define BYTEOR_CLIENT_SHARDS_H

#include "client_batch.h"
#include "shard_key.h"

typedef struct byteor_shards {
    byteor_client *client; /* one per ring */
    uint32_t count;
    uint64_t key_offset, key_length;
    uint64_t time_last;
    uint32_t in_turn; /* a consumer that goes by no time: what comes from several producers has an order in each ring alone */
    uint32_t place;   /* the ring to look at first then */
} byteor_shards;

static inline uint32_t byteor_shards_ring(const byteor_shards *s, const void *data, uint64_t bytes) {
    return (uint32_t)(byteor_key_hash_of(data, bytes, s->key_offset, s->key_length) % s->count);
}

/* Where a publisher goes on: in each ring where it stopped, with later times than any of them has. */
static inline void byteor_shards_resume(byteor_shards *s) {
    for (uint32_t r = 0; r < s->count; r++) {
        byteor_client *c = &s->client[r];
        uint64_t progress = byteor_load_acquire64(&c->ring.producer->progress_ns);
        c->position = c->limit = byteor_client_resume(&c->ring);
        if (progress > s->time_last) s->time_last = progress;
        for (uint64_t at = byteor_load_acquire64(&c->ring.producer->cursor); at != c->position; at++) {
            uint64_t time = byteor_ring_slot(&c->ring, at)->time_ns; /* stamped by a predecessor, not counted by its cursor */
            if (time > s->time_last) s->time_last = time;
        }
    }
}

/* Everything up to the last time has been published in every ring but `except`: whoever joins them need not wait. */
static inline void byteor_shards_progress(byteor_shards *s, uint32_t except) {
    s->time_last++;
    for (uint32_t r = 0; r < s->count; r++)
        if (r != except) byteor_store_release64(&s->client[r].ring.producer->progress_ns, s->time_last);
}

static inline uint64_t byteor_shards_time(byteor_shards *s) {
    uint64_t now = byteor_now_ns(&s->client[0].ring.header->clock);
    s->time_last = now > s->time_last ? now : s->time_last + 1;
    return s->time_last;
}

/* Room for so many messages, wherever their keys send them. */
static inline uint64_t byteor_shards_room(byteor_shards *s) {
    uint64_t least = UINT64_MAX;
    for (uint32_t r = 0; r < s->count; r++) {
        byteor_client *c = &s->client[r];
        c->limit = byteor_ring_minimum(&c->ring, c->position) + c->ring.capacity; /* afresh: what is left of it may be little */
        if (c->limit - c->position < least) least = c->limit - c->position;
    }
    return least;
}

/* Make `count` slots of `bytes` each at `slots`, which lie in no ring, ready to be written to. */
static inline void byteor_shards_stage(byteor_shards *s, byteor_batch *batch, uint8_t *slots, uint32_t count, uint32_t bytes) {
    const byteor_ring *ring = &s->client[0].ring;
    *batch = (byteor_batch){.abi = BYTEOR_STAGE_ABI, .count = count, .slot_bytes = ring->slot_bytes,
                            .payload_max = ring->payload_max, .slots = slots, .now_ns = byteor_now_ns(&ring->header->clock)};
    for (uint32_t i = 0; i < count; i++) {
        byteor_slot *slot = (byteor_slot *)(void *)(slots + (size_t)i * ring->slot_bytes);
        *slot = (byteor_slot){.length = (uint16_t)bytes, .time_ns = batch->now_ns};
    }
}

/* Publish one message in ring r, which has room. */
static inline void byteor_shards_publish(byteor_shards *s, uint32_t r, const void *data, uint32_t bytes) {
    byteor_client *c = &s->client[r];
    c->time_last = byteor_shards_time(s);
    byteor_ring_claim(&c->ring, c->position + 1);
    byteor_client_put(c, c->position, data, bytes, c->time_last);
    byteor_shards_progress(s, r);
    byteor_client_publish(c, c->position + 1);
}

/* Publish the staged messages of a batch, each in the ring of its key; there is room for them. */
static inline void byteor_shards_publish_staged(byteor_shards *s, const byteor_batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = (byteor_slot *)(void *)(batch->slots + (size_t)i * batch->slot_bytes);
        const uint8_t *payload = byteor_payload(slot);
        byteor_shards_publish(s, byteor_shards_ring(s, payload, slot->length), payload, slot->length);
    }
}

/* End ring r, which has room. */
static inline void byteor_shards_end(byteor_shards *s, uint32_t r) {
    byteor_client *c = &s->client[r];
    c->time_last = s->time_last;
    byteor_client_end(c);
    s->time_last = c->time_last;
}

/* Look at ring r: 1 with the time of its next message; 0 with the time up to which nothing more will come. */
static inline int byteor_shards_head(byteor_client *c, uint64_t *time) {
    uint64_t progress = byteor_load_acquire64(&c->ring.producer->progress_ns); /* first: see byteor_gather_head */
    uint64_t cursor = byteor_load_acquire64(&c->ring.producer->cursor);
    *time = UINT64_MAX;
    while (!c->ended && byteor_client_available(c, 1)) {
        const byteor_slot *slot = byteor_ring_slot(&c->ring, c->position);
        if ((slot->flags & BYTEOR_SLOT_END) && slot->length == 0) {
            byteor_client_release(c, c->position + 1, 0);
            c->ended = 1;
        } else if (slot->flags & BYTEOR_SLOT_DROPPED) {
            byteor_client_release(c, c->position + 1, 0);
        } else {
            *time = slot->time_ns;
            return 1;
        }
    }
    if (!c->ended) *time = byteor_held_ns(&c->ring, c->position, cursor, progress);
    return 0;
}

/* The first ring from the place on that has a message; -1: none has, or all have ended. */
static inline int byteor_shards_turn(byteor_shards *s) {
    for (uint32_t k = 0; k < s->count; k++) {
        uint32_t r = (s->place + k) % s->count;
        uint64_t time;
        if (byteor_shards_head(&s->client[r], &time)) return (int)r;
    }
    return -1;
}

/* The ring whose next message is the earliest of all, for certain; -1: not known yet, or all have ended. */
static inline int byteor_shards_next(byteor_shards *s) {
    if (s->in_turn) return byteor_shards_turn(s);
    uint64_t least_time = UINT64_MAX;
    int least = -1;
    for (uint32_t r = 0; r < s->count; r++) {
        uint64_t time;
        int head = byteor_shards_head(&s->client[r], &time);
        if (time > least_time || (time == least_time && (head || least < 0))) continue;
        least_time = time;
        least = head ? (int)r : -1;
    }
    return least;
}

static inline int byteor_shards_ended(const byteor_shards *s) {
    for (uint32_t r = 0; r < s->count; r++)
        if (!s->client[r].ended) return 0;
    return 1;
}

/* Wait until ring r has room, or with -1 until there is a next message or the end; 1 after about `bound_ns`. */
static inline int byteor_shards_wait(byteor_shards *s, int r, uint64_t bound_ns) {
    uint64_t begin = byteor_monotonic_ns();
    byteor_wait *wait = &s->client[0].wait;
    byteor_wait_reset(wait);
    for (;;) {
        if (r >= 0 ? byteor_client_room(&s->client[r]) != 0 : byteor_shards_next(s) >= 0 || byteor_shards_ended(s)) return 0;
        (void)byteor_wait_turn(wait, -1, 0);
        if ((wait->idle_turns & 63u) == 0 || wait->idle_turns > BYTEOR_WAIT_SPINS)
            if (byteor_monotonic_ns() - begin >= bound_ns) return 1;
    }
}

#endif
