/* unit_duty.h: one turn of a unit: take what is there, run it through the roles, commit, publish. Never waits. */
#ifndef BYTEOR_UNIT_DUTY_H
#define BYTEOR_UNIT_DUTY_H

#include "unit_linger.h"
#include "unit_source.h"

/* The batch in hand becomes true, then visible. Counters may follow at the end of the turn. */
static inline void byteor_publish_batch(byteor_unit_runtime *u) {
    byteor_commit(u);
    byteor_publish_record(u);
    byteor_wake(u);
}

static inline void byteor_publish(byteor_unit_runtime *u) {
    byteor_publish_batch(u);
    byteor_show_counters(u);
}

/* --- egress ----------------------------------------------------------------------------------------------------- */

static inline void byteor_note_first(byteor_unit_runtime *u, uint64_t now) {
    if (byteor_load_relaxed64(&u->run->first_message_ns) == 0) byteor_store_relaxed64(&u->run->first_message_ns, now);
}

/* A gated egress without a lease: hold, or fail. Takes no message. As `write` returns. */
static inline int byteor_sink_unleased(byteor_unit_runtime *u) {
    byteor_adapter_common *common = &u->sink->common;
    common->status = BYTEOR_ADAPTER_WAITING;
    common->wait_fd = -1;
    if (u->gated == BYTEOR_GATE_HOLD) return 0;
    return byteor_adapter_fail(common, 0, "the run has no lease for side effects, and effects.on_lease_lost is stop");
}

/* Whether side effects may happen now. */
static inline int byteor_leased(const byteor_unit_runtime *u) {
    return byteor_now_ns(u->clock) < byteor_load_acquire64(&u->run->lease_until_ns); /* partner: Control.set_lease */
}

/* Hand `count` slots to the sink, begun at u->clock_ns; returns how many it is done with, or -1 with the failure noted.
 * `timed` as for byteor_run_stages. What it took is shown at the end of the turn. */
static inline int byteor_sink_take(byteor_unit_runtime *u, uint8_t *slots, uint32_t count, uint64_t sequence, int timed) {
    uint32_t m = u->member_count - 1;
    byteor_batch batch = {.abi = BYTEOR_STAGE_ABI, .count = count, .slot_bytes = u->rings[0].slot_bytes,
                          .payload_max = u->rings[0].payload_max, .first_sequence = sequence, .slots = slots};
    byteor_tape *tape = u->capture ? u->capture->out : NULL;
    if (tape) batch.count = count = (uint32_t)byteor_tape_limit(tape, count, batch.slot_bytes);
    if (count == 0) return 0;
    int held = u->gated && !byteor_leased(u);
    int done = held ? byteor_sink_unleased(u) : u->sink->write(u->sink, &batch);
    if (done < 0 || (uint32_t)done > count) {
        byteor_unit_fail(u, m, BYTEOR_FAILURE_NONSENSE, sequence, "the adapter took a number of messages that cannot be");
        return -1;
    }
    if (done == 0) return 0;
    uint64_t before = u->clock_ns, after = timed ? byteor_now_ns(u->clock) : 0;
    if (timed) u->clock_ns = after;
    uint32_t live = byteor_note_batch(u, m, slots, (uint32_t)done, before, after);
    if (live > count) return done;
    const byteor_slot *last = (const byteor_slot *)(const void *)(slots + (size_t)(done - 1) * batch.slot_bytes);
    live += (last->flags & BYTEOR_SLOT_END) != 0 && last->length != 0; /* what a stage left in the end slot is a message too */
    if (tape) byteor_tape_messages(tape, &u->rings[0], slots, (uint32_t)done, u->work.member[m].received, 1);
    u->work.member[m].received += live;
    if (live) byteor_note_first(u, u->clock_ns);
    return done;
}

/* The same as a turn of its own. */
static inline int byteor_sink_write(byteor_unit_runtime *u, uint8_t *slots, uint32_t count, uint64_t sequence) {
    uint32_t m = u->member_count - 1;
    u->clock_ns = byteor_now_ns(u->clock);
    int done = byteor_sink_take(u, slots, count, sequence, 1);
    u->turn_ended_ns = u->clock_ns;
    byteor_pending_show(u->member[m].role, &u->pending[m], u->clock_ns);
    byteor_show_adapter(u->member[m].role, &u->sink->common);
    return done;
}

/* What a sink that made no progress means. */
static inline int byteor_sink_outcome(byteor_unit_runtime *u, uint64_t sequence) {
    if (u->sink->common.status == BYTEOR_ADAPTER_FAILED)
        return byteor_unit_fail(u, u->member_count - 1, BYTEOR_FAILURE_ADAPTER, sequence, u->sink->common.error_text);
    return BYTEOR_DUTY_OUTPUT;
}

/* Let the sink take what the stages have passed. The caller commits. */
static inline int byteor_ring_egress(byteor_unit_runtime *u, int timed) {
    byteor_ring *ring = &u->rings[0];
    uint64_t first = u->work.egress_position;
    uint32_t count = (uint32_t)byteor_least(u->work.position - first, byteor_ring_contiguous(ring, first));
    int done = byteor_sink_take(u, (uint8_t *)byteor_ring_slot(ring, first), count, first, timed);
    if (done > 0) u->work.egress_position += (uint64_t)done;
    return done;
}

static inline int byteor_sink_finish(byteor_unit_runtime *u) {
    u->sink->finish(u->sink);
    byteor_show_adapter(u->member[u->member_count - 1].role, &u->sink->common);
    if (u->sink->common.status == BYTEOR_ADAPTER_ENDED) {
        u->work.ended = 2;
        byteor_commit(u);
        return BYTEOR_DUTY_ENDED;
    }
    return byteor_sink_outcome(u, u->work.egress_position);
}

/* --- a batch through the stages --------------------------------------------------------------------------------- */

static inline void byteor_finish_batch(byteor_unit_runtime *u, uint32_t count, int is_end, int timed) {
    u->work.position += count;
    if (is_end) u->work.ended = 1;
    if (u->directed) byteor_calls_stand(u, count, is_end);
    byteor_toggle_state(u);
    if (u->sink) {
        uint32_t failed = u->failure;
        int done = byteor_ring_egress(u, timed);
        if (done == 0 && u->sink->common.status == BYTEOR_ADAPTER_FAILED && !failed) byteor_sink_outcome(u, u->work.egress_position);
    }
    if (u->capture && u->capture->offer) byteor_tape_offer(u->capture->offer, &u->rings[0], u->work.position - count, count);
    BYTEOR_KILL_POINT(8);
    byteor_publish_batch(u);
}

/* What the stages counted of a batch that is taken back: the record in force has what was before it. */
static inline void byteor_take_back(byteor_unit_runtime *u) {
    const byteor_record *record = &u->unit->record[u->unit->selector & 1u];
    for (uint32_t m = u->first_stage; m < u->stage_end; m++) u->work.member[m] = record->member[m];
    if (u->capture) byteor_choices_take_back(u->capture);
    byteor_pending_undo(u);
}

/* Pass over the message at fault, counted. */
static inline int byteor_skip_message(byteor_unit_runtime *u) {
    uint32_t m = u->failed_member;
    byteor_note_error(u->member[m].role, u->failure, u->failed_sequence, u->failure_text, strlen(u->failure_text));
    byteor_undo_save(u, u->work.position, 1);
    byteor_drop(byteor_ring_slot(&u->rings[0], u->work.position));
    for (uint32_t i = u->first_stage; i <= m; i++) u->work.member[i].received++;
    u->work.member[m].skipped++;
    if (u->capture && u->capture->choices[m]) byteor_choose(u->capture->choices[m], BYTEOR_CHOICE_FAIL, u->failure, u->clock_ns, 0);
    if (u->directed) byteor_calls_passed(u, m, u->failed_sequence);
    u->done = 0;
    u->failure = BYTEOR_FAILURE_NONE;
    u->work.position++;
    if (u->sink && u->work.egress_position + 1 == u->work.position) u->work.egress_position++;
    byteor_publish(u);
    return BYTEOR_DUTY_WORKED;
}

/* Which message is at fault is not known: run them one at a time. Returns how many were good; all: none failed alone. */
static inline uint32_t byteor_run_singly(byteor_unit_runtime *u, uint64_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        byteor_undo_save(u, first + i, 1);
        if (byteor_run_stages(u, first + i, 1, 0, 1) != 0) {
            byteor_undo_apply(u);
            byteor_take_back(u);
            return i;
        }
        u->failure = BYTEOR_FAILURE_NONE;
        u->done = 0;
        byteor_finish_batch(u, 1, 0, 1);
        byteor_show_turn(u, u->clock_ns);
        if (u->failure) return i + 1; /* the sink's */
    }
    return count;
}

/* A stage failed at some message of the batch: keep the good ones before it, then fail or skip. */
static inline int byteor_after_failure(byteor_unit_runtime *u, uint64_t first, uint32_t count, int is_end) {
    uint32_t member = u->failed_member, failure = u->failure, good = (uint32_t)(u->failed_sequence - first);
    const char *text = u->failure_text;
    u->clock_ns = byteor_now_ns(u->clock);
    byteor_show_turn(u, u->clock_ns);
    if (!is_end && !u->failed_unknown && good > 0 && u->rerunnable && failure == BYTEOR_FAILURE_STAGE) {
        byteor_undo_save(u, first, good);
        if (byteor_run_stages(u, first, good, 0, 1) == 0) {
            u->failure = BYTEOR_FAILURE_NONE;
            u->done = 0;
            byteor_finish_batch(u, good, 0, 1);
        } else {
            byteor_undo_apply(u);
            byteor_take_back(u);
            text = u->failure_text;
            u->failed_unknown = count; /* the stage was wrong about which message it was */
        }
    }
    if (u->failed_unknown && u->rerunnable && !is_end) {
        u->failed_unknown = 0;
        if (byteor_run_singly(u, first, count) == count) { /* it fails on the batch only: noted, and passed */
            byteor_note_error(u->member[member].role, failure, first, text, strlen(text));
            return u->failure ? BYTEOR_DUTY_FAILED : BYTEOR_DUTY_WORKED;
        }
        if (u->skip_failed && u->work.position == u->failed_sequence) return byteor_skip_message(u);
        return BYTEOR_DUTY_FAILED;
    }
    byteor_unit_fail(u, member, failure, first + good, text);
    if (u->skip_failed && !is_end && u->work.position == first + good) return byteor_skip_message(u);
    return BYTEOR_DUTY_FAILED;
}

static inline int byteor_run_batch(byteor_unit_runtime *u, uint64_t first, uint32_t count, int is_end, int timed) {
    int undo = u->save_headers || u->undo_log_bytes;
    if (undo) byteor_undo_save(u, first, count);
    if (u->first_stage != u->stage_end && byteor_run_stages(u, first, count, is_end, timed) != 0) {
        if (undo) byteor_undo_apply(u);
        byteor_take_back(u);
        return byteor_after_failure(u, first, count, is_end);
    }
    byteor_finish_batch(u, count, is_end, timed);
    return u->failure ? BYTEOR_DUTY_FAILED : BYTEOR_DUTY_WORKED;
}

/* --- taking from a ring ----------------------------------------------------------------------------------------- */

static inline uint64_t byteor_depends_minimum(const byteor_unit_runtime *u, const byteor_ring *ring, uint64_t position) {
    uint64_t least = ring->capacity + 1;
    for (uint32_t d = 0; d < u->depends_count; d++) {
        uint64_t ahead = byteor_load_acquire64(&ring->cells[u->depends[d]].sequence) - position; /* partner: byteor_cell_release */
        if (ahead < least) least = ahead;
    }
    return least > ring->capacity ? 0 : least; /* nothing can be further ahead than the ring is long */
}

static inline void byteor_turn_begin(byteor_unit_runtime *u) { u->turn_began_ns = u->clock_ns = byteor_now_ns(u->clock); }

/* How many messages are there, `limit` at most. The clock is read beside the first look: while that look fetches the line
 * of a message that has just been published, reading it costs nothing. */
static inline uint64_t byteor_follow_look(byteor_unit_runtime *u, const byteor_ring *ring, uint64_t limit, int timed) {
    uint64_t position = u->work.position;
    if (u->depends_count == 0) {
        int there = byteor_ring_published(ring, position);
        if (timed) byteor_turn_begin(u);
        return there ? 1 + byteor_ring_scan(ring, position + 1, limit - 1) : 0;
    }
    if (u->available - position - 1 >= ring->capacity) u->available = position + byteor_depends_minimum(u, ring, position);
    if (timed) byteor_turn_begin(u);
    return byteor_least(u->available - position, limit);
}

/* Take what is there; `most` messages, and `took` says how many. */
static inline int byteor_follow_batch(byteor_unit_runtime *u, uint32_t most, int timed, uint32_t *took) {
    byteor_ring *ring = &u->rings[0];
    uint64_t position = u->work.position;
    int whole = 0;
    if (u->directed) {
        most = byteor_calls_most(u, most, &whole);
        u->available = position; /* what is known to be there may be too few */
    }
    uint64_t wanted = byteor_least(most, byteor_ring_contiguous(ring, position)), count = byteor_follow_look(u, ring, wanted, timed);
    if (count == 0) return BYTEOR_DUTY_IDLE;
    uint64_t to_end = byteor_load_acquire64(&ring->producer->end_sequence) - position; /* stored before the end slot's stamp */
    if (to_end == 0) return byteor_run_batch(u, position, 1, 1, 1);
    if (whole && count < byteor_least(wanted, to_end)) return BYTEOR_DUTY_IDLE;
    count = byteor_least(count, to_end);
    if (u->capture && u->capture->follow) {
        count = byteor_tape_limit(u->capture->follow, count, ring->slot_bytes);
        if (count == 0) return BYTEOR_DUTY_NO_ROOM;
        byteor_tape_messages(u->capture->follow, ring, (const uint8_t *)byteor_ring_slot(ring, position), (uint32_t)count, position, 0);
    }
    *took = u->directed ? 0 : (uint32_t)count; /* 0: the turn ends with it */
    return byteor_run_batch(u, position, (uint32_t)count, 0, timed);
}

/* --- taking from outside ---------------------------------------------------------------------------------------- */

static inline int byteor_ingress_batch(byteor_unit_runtime *u, uint32_t command, uint32_t most, int timed, uint32_t *took) {
    byteor_ring *ring = &u->rings[0];
    uint64_t position = u->work.position;
    int outcome = BYTEOR_DUTY_IDLE, whole = 0;
    if (u->directed) {
        most = byteor_calls_most(u, most, &whole);
        u->gate = byteor_ring_minimum(ring, position); /* there may be more room than is known */
    }
    uint64_t least = whole ? byteor_least(most, byteor_ring_contiguous(ring, position)) : 1;
    uint64_t room = byteor_least(byteor_ring_room(ring, position, &u->gate), byteor_ring_contiguous(ring, position));
    if (room < least && u->source->common.status != BYTEOR_ADAPTER_ENDED) return BYTEOR_DUTY_NO_ROOM;
    if (room == 0) return BYTEOR_DUTY_NO_ROOM;
    room = byteor_least(room, most);
    if (timed) byteor_turn_begin(u);
    byteor_claim_batch(u, position, room);
    if (u->source->common.status == BYTEOR_ADAPTER_ENDED || command == BYTEOR_COMMAND_DRAIN) {
        u->work.time_last = byteor_end_of_input_ns(u, u->clock_ns);
        byteor_end_slot(byteor_ring_slot(ring, position), u->work.time_last);
        return byteor_run_batch(u, position, 1, 1, 1);
    }
    int count = byteor_source_take(u, (uint8_t *)byteor_ring_slot(ring, position), (uint32_t)room, timed, &outcome);
    if (count < 0) return outcome;
    u->took = (uint32_t)count;
    *took = u->directed ? 0 : u->took; /* 0: the turn ends with it */
    return byteor_run_batch(u, position, (uint32_t)count, 0, timed);
}

/* --- a turn ----------------------------------------------------------------------------------------------------- */

static inline int byteor_ring_batch(byteor_unit_runtime *u, uint32_t command, uint32_t most, int timed, uint32_t *took) {
    *took = 0;
    if (u->capture && !byteor_choices_ready(u->capture)) return BYTEOR_DUTY_NO_ROOM;
    return u->source ? byteor_ingress_batch(u, command, most, timed, took) : byteor_follow_batch(u, most, timed, took);
}

/* Whether the turn goes on to another small batch without a look at the clock. */
static inline int byteor_turn_goes_on(const byteor_unit_runtime *u, uint32_t took) {
    return took != 0 && took < BYTEOR_SMALL_BATCH && u->clock_ns - u->turn_began_ns < BYTEOR_TURN_NS_MAX && !u->work.ended &&
           !(u->sink && u->work.egress_position != u->work.position) && !(u->source && u->source->common.stamps_time);
}

static inline int byteor_turn_found_nothing(const byteor_unit_runtime *u, int outcome) {
    return outcome == BYTEOR_DUTY_IDLE || (outcome == BYTEOR_DUTY_INPUT && u->source->common.wait_fd < 0);
}

static inline int byteor_ring_turn(byteor_unit_runtime *u, uint32_t command) {
    uint64_t before = u->work.position;
    uint32_t took, batches = 1, most = (uint32_t)byteor_least(u->max_batch, BYTEOR_SMALL_BATCH);
    int outcome = byteor_ring_batch(u, command, u->max_batch, 1, &took), next;
    for (uint32_t look = 1; look < u->looks && byteor_turn_found_nothing(u, outcome); look++) {
        if (!u->source) {
            byteor_linger_not(u);
            byteor_pause();
        }
        outcome = byteor_ring_batch(u, command, u->max_batch, 1, &took);
    }
    if (outcome != BYTEOR_DUTY_WORKED && outcome != BYTEOR_DUTY_FAILED) return outcome;
    next = outcome;
    if (u->source && u->member_count == 1 && !u->capture && next == BYTEOR_DUTY_WORKED && byteor_turn_goes_on(u, took)) {
        next = byteor_source_stream(u, most);
        batches = BYTEOR_TURN_BATCHES;
    }
    while (next == BYTEOR_DUTY_WORKED && batches < BYTEOR_TURN_BATCHES && byteor_turn_goes_on(u, took)) {
        next = byteor_ring_batch(u, command, most, 0, &took);
        batches++;
    }
    int late = u->source && u->pending[0].after_ns == 0; /* the source's own times: its turn ends here */
    uint64_t now = batches > 1 || late ? byteor_now_ns(u->clock) : u->clock_ns;
    if (late) {
        u->pending[0].after_ns = now;
        u->pending[0].service_ns = now - u->turn_began_ns;
    }
    byteor_show_turn(u, now);
    if (!u->source && u->looks > 1) byteor_linger(u, u->work.position - before);
    return next == BYTEOR_DUTY_FAILED ? BYTEOR_DUTY_FAILED : BYTEOR_DUTY_WORKED;
}

/* A unit on one ring. */
static inline int byteor_ring_duty(byteor_unit_runtime *u, uint32_t command) {
    if (u->sink && u->work.egress_position != u->work.position) {
        byteor_turn_begin(u);
        int done = byteor_ring_egress(u, 1);
        if (done > 0) byteor_publish_batch(u);
        if (done >= 0) byteor_show_turn(u, u->clock_ns);
        if (u->failure) return BYTEOR_DUTY_FAILED;
        if (done > 0) return BYTEOR_DUTY_WORKED;
        return byteor_sink_outcome(u, u->work.egress_position);
    }
    if (u->work.ended == 1 && u->sink) return byteor_sink_finish(u);
    if (u->work.ended) return BYTEOR_DUTY_ENDED;
    return byteor_ring_turn(u, command);
}

#endif
