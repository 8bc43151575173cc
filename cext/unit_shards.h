/* unit_shards.h: an ingress that spreads messages over several rings by key, and the egress that joins them again in
 * ingress-time order. */
#ifndef BYTEOR_UNIT_SHARDS_H
#define BYTEOR_UNIT_SHARDS_H

#include "shard_key.h"
#include "unit_duty.h"

static inline uint64_t byteor_key_hash(const byteor_slot *slot, uint64_t offset, uint64_t length) {
    return byteor_key_hash_of((const uint8_t *)slot + BYTEOR_SLOT_HEADER_BYTES, slot->length, offset, length);
}

/* Everything of a slot but its stamp, which belongs to the ring. */
static inline void byteor_slot_copy(byteor_slot *to, const byteor_slot *from, uint32_t length) {
    memcpy(&to->length, &from->length, BYTEOR_SLOT_HEADER_BYTES - 4u + length);
}

static inline int byteor_scatter_end(byteor_unit_runtime *u, uint64_t now) {
    for (uint32_t r = 0; r < u->ring_count; r++) {
        u->work.time_last = byteor_end_of_input_ns(u, now);
        byteor_ring_claim(&u->rings[r], u->work.ring_position[r] + 1);
        byteor_end_slot(byteor_ring_slot(&u->rings[r], u->work.ring_position[r]), u->work.time_last);
        u->work.ring_position[r]++;
    }
    u->work.ended = 1;
    byteor_publish(u);
    return BYTEOR_DUTY_WORKED;
}

static inline void byteor_scatter_idle(byteor_unit_runtime *u, uint64_t now) {
    if (now <= u->work.time_last || u->source->common.stamps_time == BYTEOR_TIMES_REPLAYED) return;
    u->work.time_last = now; /* later messages get later times */
    for (uint32_t r = 0; r < u->ring_count; r++) byteor_store_release64(&u->rings[r].producer->progress_ns, now);
}

static inline int byteor_scatter_duty(byteor_unit_runtime *u, uint32_t command) {
    uint64_t room = u->max_batch, now = byteor_now_ns(u->clock);
    int outcome = BYTEOR_DUTY_IDLE;
    if (u->work.ended) return BYTEOR_DUTY_ENDED;
    for (uint32_t r = 0; r < u->ring_count; r++) {
        byteor_ring *ring = &u->rings[r];
        uint64_t position = u->work.ring_position[r], gate = byteor_ring_minimum(ring, position);
        room = byteor_least(room, ring->capacity - (position - gate)); /* all may go to one ring */
    }
    if (room == 0) return BYTEOR_DUTY_NO_ROOM;
    if (u->source->common.status == BYTEOR_ADAPTER_ENDED || command == BYTEOR_COMMAND_DRAIN) return byteor_scatter_end(u, now);
    int count = byteor_source_poll(u, u->staging, (uint32_t)room, now, &outcome);
    if (count < 0) {
        if (outcome == BYTEOR_DUTY_INPUT || outcome == BYTEOR_DUTY_IDLE) byteor_scatter_idle(u, now);
        return outcome;
    }
    for (uint32_t r = 0; r < u->ring_count; r++) byteor_ring_claim(&u->rings[r], u->work.ring_position[r] + room);
    for (int i = 0; i < count; i++) {
        const byteor_slot *from = byteor_staged(u, (uint32_t)i);
        uint32_t r = (uint32_t)(byteor_key_hash(from, u->shard_key_offset, u->shard_key_length) % u->ring_count);
        byteor_slot_copy(byteor_ring_slot(&u->rings[r], u->work.ring_position[r]), from, from->length);
        u->work.ring_position[r]++;
    }
    u->work.position += (uint64_t)count;
    byteor_publish(u);
    return BYTEOR_DUTY_WORKED;
}

/* Look at ring r: 1 with *time of its next live message or end slot; 0 with *time up to which nothing more will come, be it
 * that a stage holds what is next: its time stands in its slot. */
static inline int byteor_gather_head(byteor_unit_runtime *u, uint32_t r, uint64_t *time) {
    byteor_ring *ring = &u->rings[r];
    uint64_t progress = byteor_load_acquire64(&ring->producer->progress_ns); /* first: see byteor_publish_record */
    uint64_t cursor = byteor_load_acquire64(&ring->producer->cursor);
    uint64_t end = byteor_load_acquire64(&ring->producer->end_sequence);
    uint64_t position = u->gather_position[r];
    if (end != BYTEOR_NO_SEQUENCE && position == end + 1) {
        *time = UINT64_MAX;
        return 0;
    }
    uint64_t available = position + byteor_depends_minimum(u, ring, position);
    while (position != available) {
        const byteor_slot *slot = byteor_ring_slot(ring, position);
        int dropped = (slot->flags & BYTEOR_SLOT_DROPPED) != 0;
        int empty_end = (slot->flags & BYTEOR_SLOT_END) && slot->length == 0;
        if (!dropped && !empty_end) {
            u->gather_position[r] = position;
            *time = slot->time_ns;
            return 1;
        }
        position++;
        if (empty_end) {
            u->gather_position[r] = position;
            *time = UINT64_MAX;
            return 0;
        }
    }
    u->gather_position[r] = position;
    *time = byteor_held_ns(ring, position, cursor, progress);
    return 0;
}

/* Copy messages into the staging area in time order, as far as that order is certain. */
static inline void byteor_gather_stage(byteor_unit_runtime *u) {
    uint64_t time[BYTEOR_POSITIONS_MAX];
    int head[BYTEOR_POSITIONS_MAX];
    for (uint32_t r = 0; r < u->ring_count; r++) head[r] = byteor_gather_head(u, r, &time[r]);
    u->staged = u->staged_done = 0;
    while (u->staged < u->max_batch) {
        uint32_t least = 0;
        for (uint32_t r = 1; r < u->ring_count; r++)
            if (time[r] < time[least] || (time[r] == time[least] && head[r] < head[least])) least = r;
        if (!head[least]) break;
        byteor_ring *ring = &u->rings[least];
        const byteor_slot *from = byteor_ring_slot(ring, u->gather_position[least]);
        byteor_slot *to = byteor_staged(u, u->staged);
        uint32_t length = from->length <= ring->payload_max ? from->length : 0;
        byteor_slot_copy(to, from, length);
        to->flags = 0;
        u->gather_position[least]++;
        u->staged_ring[u->staged] = least;
        u->staged_position[u->staged] = u->gather_position[least];
        u->staged++;
        head[least] = byteor_gather_head(u, least, &time[least]);
    }
}

static inline int byteor_gather_ended(const byteor_unit_runtime *u) {
    for (uint32_t r = 0; r < u->ring_count; r++) {
        uint64_t end = byteor_load_acquire64(&u->rings[r].producer->end_sequence);
        if (end == BYTEOR_NO_SEQUENCE || u->work.ring_position[r] != end + 1) return 0;
    }
    return 1;
}

/* Everything staged is written, or there was only what is passed over: the rings are released up to there. */
static inline int byteor_gather_drained(byteor_unit_runtime *u) {
    int moved = memcmp(u->work.ring_position, u->gather_position, u->ring_count * sizeof(uint64_t)) != 0;
    memcpy(u->work.ring_position, u->gather_position, u->ring_count * sizeof(uint64_t));
    u->staged = u->staged_done = 0;
    return moved;
}

static inline int byteor_gather_duty(byteor_unit_runtime *u) {
    if (u->work.ended == 2) return BYTEOR_DUTY_ENDED;
    if (u->work.ended == 1) return byteor_sink_finish(u);
    if (u->staged_done == u->staged) {
        memcpy(u->gather_position, u->work.ring_position, u->ring_count * sizeof(uint64_t));
        byteor_gather_stage(u);
    }
    if (u->staged == 0) {
        int moved = byteor_gather_drained(u); /* only dropped messages and empty ends */
        int ended = byteor_gather_ended(u);
        if (!moved && !ended) return BYTEOR_DUTY_IDLE;
        if (ended) u->work.ended = 1;
        byteor_publish(u);
        return BYTEOR_DUTY_WORKED;
    }
    u->turn_began_ns = byteor_now_ns(u->clock);
    int done = byteor_sink_write(u, (uint8_t *)byteor_staged(u, u->staged_done), u->staged - u->staged_done, u->work.position);
    if (done < 0) return BYTEOR_DUTY_FAILED;
    for (int i = 0; i < done; i++, u->staged_done++)
        u->work.ring_position[u->staged_ring[u->staged_done]] = u->staged_position[u->staged_done];
    u->work.position += (uint64_t)done;
    if (done == 0) return byteor_sink_outcome(u, u->work.position);
    if (u->staged_done == u->staged) byteor_gather_drained(u);
    byteor_publish(u);
    return BYTEOR_DUTY_WORKED;
}

static inline int byteor_unit_duty(byteor_unit_runtime *u, uint32_t command) {
    if (u->kind == BYTEOR_UNIT_RING) return byteor_ring_duty(u, command);
    return u->kind == BYTEOR_UNIT_SCATTER ? byteor_scatter_duty(u, command) : byteor_gather_duty(u);
}

#endif
