/* unit_source.h: what an ingress takes from outside: asking its source, giving times, and the stream of small batches.
 *
 * Never waits. A message has its time before it is committed, is committed before it is published. */
#ifndef BYTEOR_UNIT_SOURCE_H
#define BYTEOR_UNIT_SOURCE_H

#include "unit_stages.h"

static inline void byteor_end_slot(byteor_slot *slot, uint64_t time_ns) {
    slot->length = 0;
    slot->type = 0;
    slot->flags = BYTEOR_SLOT_END;
    slot->time_ns = time_ns;
}

/* Times that begin with `now`, or after the last one given. */
static inline void byteor_give_times(uint64_t *last, uint8_t *slots, uint32_t slot_bytes, uint32_t count, uint64_t now) {
    uint64_t time = now > *last ? now : *last + 1;
    *last = time + count - 1;
    for (; count; count--, slots += slot_bytes) ((byteor_slot *)(void *)slots)->time_ns = time++;
}

/* The source gave them: what it says, but they only grow. */
static inline void byteor_order_times(uint64_t *last, uint8_t *slots, uint32_t slot_bytes, uint32_t count) {
    for (; count; count--, slots += slot_bytes) {
        byteor_slot *slot = (byteor_slot *)(void *)slots;
        *last = slot->time_ns > *last ? slot->time_ns : *last + 1;
        slot->time_ns = *last;
    }
}

/* Time of the end of what a source gives. Replayed input ends right behind its last message: the clock is another one. */
static inline uint64_t byteor_end_of_input_ns(const byteor_unit_runtime *u, uint64_t now) {
    const uint64_t next = u->work.time_last + 1;
    return now > next && u->source->common.stamps_time != BYTEOR_TIMES_REPLAYED ? now : next;
}

/* What a poll that gave no message means. */
static inline int byteor_source_outcome(byteor_unit_runtime *u) {
    uint32_t status = u->source->common.status;
    byteor_show_adapter_news(u->member[0].role, &u->source->common, &u->source_shown);
    if (status == BYTEOR_ADAPTER_FAILED)
        return byteor_unit_fail(u, 0, BYTEOR_FAILURE_ADAPTER, u->work.position, u->source->common.error_text);
    if (status == BYTEOR_ADAPTER_ENDED) return BYTEOR_DUTY_WORKED; /* the end slot is next */
    return status == BYTEOR_ADAPTER_WAITING ? BYTEOR_DUTY_INPUT : BYTEOR_DUTY_IDLE;
}

/* A poll of `room` messages gave `count` of them, which is none or a number that cannot be. */
static inline int byteor_source_gave_none(byteor_unit_runtime *u, int count, uint32_t room) {
    if (count < 0 || (uint32_t)count > room)
        return byteor_unit_fail(u, 0, BYTEOR_FAILURE_NONSENSE, u->work.position, "the adapter gave a number of messages that cannot be");
    if (u->source->common.position[0] != u->unit->record[u->unit->selector & 1u].source.position[0]) {
        byteor_words_store(u);
        byteor_commit(u); /* it passed over input that gave no message */
    }
    return byteor_source_outcome(u);
}

/* Messages of the source have no time yet, or others look at the clock as it is after the poll. */
static inline int byteor_source_reads_clock(const byteor_unit_runtime *u) {
    return !u->source->common.stamps_time || u->member_count > 1;
}

/* Poll the source into `slots`, at u->clock_ns. Returns messages, or -1 with `outcome` set. `timed`: the clock is read
 * before they get their times; where they have them already, only after they are published (byteor_ring_turn). */
static inline int byteor_source_take(byteor_unit_runtime *u, uint8_t *slots, uint32_t room, int timed, int *outcome) {
    byteor_tape *tape = u->capture ? u->capture->in : NULL;
    if (tape) room = (uint32_t)byteor_tape_limit(tape, room, u->rings[0].slot_bytes);
    if (room == 0) {
        *outcome = BYTEOR_DUTY_NO_ROOM;
        return -1;
    }
    u->in.abi = BYTEOR_STAGE_ABI;
    u->in.slot_bytes = u->rings[0].slot_bytes;
    u->in.payload_max = u->rings[0].payload_max;
    u->in.count = room;
    u->in.first_sequence = u->work.position;
    u->in.slots = slots;
    u->in.now_ns = u->clock_ns;
    int count = u->source->poll(u->source, &u->in);
    if (count <= 0 || (uint32_t)count > room) {
        *outcome = byteor_source_gave_none(u, count, room);
        return -1;
    }
    byteor_pending *pending = &u->pending[0];
    if (timed && byteor_source_reads_clock(u)) {
        pending->after_ns = byteor_now_ns(u->clock);
        pending->service_ns = pending->after_ns - u->clock_ns;
        u->clock_ns = pending->after_ns;
    }
    pending->batches++;
    if (u->source->common.stamps_time) byteor_order_times(&u->work.time_last, slots, u->rings[0].slot_bytes, (uint32_t)count);
    else byteor_give_times(&u->work.time_last, slots, u->rings[0].slot_bytes, (uint32_t)count, u->clock_ns);
    if (tape) byteor_tape_messages(tape, &u->rings[0], slots, (uint32_t)count, u->work.member[0].received, 0);
    u->work.member[0].received += (uint64_t)count;
    return count;
}

/* The same as a turn of its own. */
static inline int byteor_source_poll(byteor_unit_runtime *u, uint8_t *slots, uint32_t room, uint64_t now, int *outcome) {
    u->turn_began_ns = u->clock_ns = now;
    int count = byteor_source_take(u, slots, room, 1, outcome);
    if (count > 0) {
        u->turn_ended_ns = u->clock_ns;
        byteor_pending_show(u->member[0].role, &u->pending[0], u->clock_ns);
        byteor_show_adapter_news(u->member[0].role, &u->source->common, &u->source_shown);
    }
    return count;
}

static inline uint64_t byteor_ring_room(byteor_ring *ring, uint64_t position, uint64_t *gate) {
    if (position - *gate >= ring->capacity) *gate = byteor_ring_minimum(ring, position);
    return ring->capacity - (position - *gate);
}

#define BYTEOR_TOUCH_MIN 64u   /* smaller batches come and go one by one */
#define BYTEOR_TOUCH_AHEAD 16u /* more are not asked for at once */

/* Claim `room` slots; have the lines of a large batch on their way together. */
static inline void byteor_claim_batch(byteor_unit_runtime *u, uint64_t position, uint64_t room) {
    const byteor_ring *ring = &u->rings[0];
    uint64_t ahead = u->touched - position;
    byteor_ring_claim(ring, position + (ahead - 1 < ring->capacity && ahead > room ? ahead : room));
    if (u->took >= BYTEOR_TOUCH_MIN) byteor_ring_touch(ring, position, byteor_least(room, u->took));
}

/* In a stream, how many slots from `position` on are claimed and on their way; if none, the next few are. Not past `end`. */
static inline uint64_t byteor_stream_ahead(byteor_unit_runtime *u, uint64_t position, uint64_t end) {
    const byteor_ring *ring = &u->rings[0];
    uint64_t ahead = u->touched - position;
    if (ahead - 1 < end - position) return ahead;
    ahead = byteor_least(end - position, BYTEOR_TOUCH_AHEAD);
    u->touched = position + ahead;
    byteor_ring_claim(ring, u->touched);
    byteor_ring_touch(ring, position, ahead);
    return ahead;
}

/* --- a stream --------------------------------------------------------------------------------------------------- */

/* What stands still during a stream. Of an ingress by itself few words change while messages flow, and some go up together:
 * what each is ahead of the position. */
typedef struct byteor_stream {
    uint64_t time, received; /* of the next message, less its position */
    uint64_t end;            /* position that is not reached in this turn */
    uint8_t *slots;          /* where the slot of sequence 0 would be, as the memory lies from here to `end` */
    uint64_t slot_bytes;
    byteor_ring_producer *producer;
    uint32_t *selector;
    byteor_record *record;
    uint64_t *word[2]; /* of a LaneGraph: where its two arrays have the position; NULL */
    byteor_adapter_common *common;
} byteor_stream;

static inline byteor_stream byteor_stream_begin(byteor_unit_runtime *u) {
    byteor_ring *ring = &u->rings[0];
    uint64_t position = u->work.position, room = byteor_ring_room(ring, position, &u->gate);
    byteor_stream s = {.time = u->work.time_last + 1 - position, .received = u->work.member[0].received - position,
                       .end = position + byteor_least(room, byteor_ring_contiguous(ring, position)),
                       .slots = (uint8_t *)byteor_ring_slot(ring, position) - position * ring->slot_bytes,
                       .slot_bytes = ring->slot_bytes, .producer = ring->producer, .selector = &u->unit->selector,
                       .record = u->unit->record, .common = &u->source->common};
    return s;
}

/* Commit an ingress by itself up to `position`; else the same as byteor_commit. */
static inline void byteor_stream_commit(byteor_unit_runtime *u, const byteor_stream *s, uint64_t position, uint64_t commits) {
    uint32_t inactive = (*s->selector & 1u) ^ 1u;
    byteor_record *record = s->record + inactive;
    byteor_store_relaxed64(&record->position, position);
    byteor_store_relaxed64(&record->time_last, position + s->time - 1);
    byteor_store_relaxed64(&record->commits, commits);
    byteor_store_relaxed64(&record->member[0].received, position + s->received);
    byteor_adapter_record_store(&record->source, s->common, &u->source_rejects[inactive]);
    if (s->word[inactive]) byteor_store_relaxed64(s->word[inactive], position);
    BYTEOR_KILL_POINT(2);
    byteor_store_release32(s->selector, inactive); /* the commit point, as there */
    byteor_fence_signal();
    BYTEOR_KILL_POINT(3);
}

/* `count` messages from `position` on are made: times, commit, publication. */
static inline void byteor_stream_batch(byteor_unit_runtime *u, const byteor_stream *s, uint64_t position, uint32_t count, uint64_t commits) {
    uint64_t end = position + count;
    for (uint64_t i = position; i != end; i++) ((byteor_slot *)(void *)(s->slots + i * s->slot_bytes))->time_ns = i + s->time;
    BYTEOR_KILL_POINT(8);
    byteor_stream_commit(u, s, end, commits);
    for (uint64_t i = position; i != end; i++) {
        byteor_store_release32(&((byteor_slot *)(void *)(s->slots + i * s->slot_bytes))->stamp, (uint32_t)i + 1);
        BYTEOR_KILL_POINT(9);
    }
    byteor_store_release64(&s->producer->cursor, end);
    byteor_store_release64(&s->producer->progress_ns, end + s->time - 1);
    BYTEOR_KILL_POINT(4);
    byteor_wake(u);
}

/* A stretch of a stream whose slots are claimed and on their way: [*position, end). As long as the source gives messages,
 * `most` at a time, and at most `last` commits in all. Returns what the last poll gave. */
static inline int byteor_stream_stretch(byteor_unit_runtime *u, const byteor_stream *s, uint64_t *position, uint64_t end, uint64_t *commits, uint64_t last,
                                        uint32_t most) {
    byteor_source *source = u->source;
    uint64_t at = *position;
    int found = 1;
    while (at != end && *commits != last && s->common->status != BYTEOR_ADAPTER_ENDED) {
        uint32_t room = (uint32_t)byteor_least(end - at, most);
        u->in.count = room;
        u->in.first_sequence = at;
        u->in.slots = s->slots + at * s->slot_bytes;
        found = source->poll(source, &u->in);
        if (__builtin_expect((uint32_t)found - 1 >= room, 0)) break;
        byteor_stream_batch(u, s, at, (uint32_t)found, ++*commits);
        at += (uint32_t)found;
    }
    *position = at;
    return found;
}

static inline void byteor_stream_end(byteor_unit_runtime *u, const byteor_stream *s, uint64_t position, uint64_t commits) {
    u->pending[0].batches += (uint32_t)(commits - u->work.commits);
    u->work.commits = commits;
    u->work.position = position;
    u->work.time_last = position + s->time - 1;
    u->work.member[0].received = position + s->received;
}

/* All of a stream. Returns what the last poll gave. */
static inline int byteor_stream_run(byteor_unit_runtime *u, const byteor_stream *s, uint32_t most) {
    uint64_t position = u->work.position, commits = u->work.commits, last = commits + BYTEOR_STREAM_BATCHES;
    int found = 1;
    while (position != s->end && commits != last && s->common->status != BYTEOR_ADAPTER_ENDED) {
        uint64_t ahead = byteor_stream_ahead(u, position, s->end);
        found = byteor_stream_stretch(u, s, &position, position + ahead, &commits, last, (uint32_t)byteor_least(most, ahead));
        if (found <= 0 || found >= (int)BYTEOR_SMALL_BATCH) break;
    }
    byteor_stream_end(u, s, position, commits);
    return found;
}

/* The rest of a turn of an ingress by itself, after a small batch: more of them, committed and published one by one without
 * a look at the clock, as long as there is room and the source gives them at once. Stores are what it costs: the lines that
 * a follower has had arrive in order, and few of them fit the store buffer with all that is stored in between. Returns as
 * byteor_ring_batch does. */
static inline int byteor_source_stream(byteor_unit_runtime *u, uint32_t most) {
    const byteor_stream s = byteor_stream_begin(u);
    int found = byteor_stream_run(u, &s, most);
    if (found > 0 && (uint32_t)found <= most) return BYTEOR_DUTY_WORKED;
    return byteor_source_gave_none(u, found, most);
}

#endif
