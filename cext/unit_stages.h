/* unit_stages.h: calling the stages of a unit over one batch, holding them to what they declared, accounting for it. */
#ifndef BYTEOR_UNIT_STAGES_H
#define BYTEOR_UNIT_STAGES_H

#include "trace.h"
#include "unit_account.h"

/* Further outcomes that only our own stage glue uses. */
enum { BYTEOR_STAGE_VIEWS_KEPT = -2, BYTEOR_STAGE_NONSENSE = -3 };
#define BYTEOR_INDEX_UNKNOWN UINT32_MAX /* error_index: some message of the batch */

/* Record one error in the role's log: equal ones (code and text) are one entry with a count. */
static inline void byteor_note_error(byteor_role *role, uint32_t code, uint64_t sequence, const char *text, size_t bytes) {
    uint64_t digest = 1469598103934665603u ^ code;
    if (bytes > sizeof role->error[0].text) bytes = sizeof role->error[0].text;
    for (size_t i = 0; i < bytes; i++) digest = (digest ^ (uint8_t)text[i]) * 1099511628211u;
    for (uint32_t e = 0; e < BYTEOR_ERRORS_MAX; e++) {
        byteor_error *entry = &role->error[e];
        if (entry->count && entry->digest != digest && e + 1 < BYTEOR_ERRORS_MAX) continue;
        if (entry->count == 0) {
            entry->code = code;
            entry->text_bytes = (uint32_t)bytes;
            entry->first_sequence = sequence;
            entry->digest = digest;
            memcpy(entry->text, text, bytes);
        }
        byteor_store_release64(&entry->count, entry->count + 1); /* partner: the reader's acquire load */
        return;
    }
}

static inline int byteor_unit_fail(byteor_unit_runtime *u, uint32_t member, uint32_t failure, uint64_t sequence, const char *text) {
    u->failed_member = member;
    u->failure = failure;
    u->failed_sequence = sequence;
    u->failure_text = text ? text : "no reason given";
    u->done = 1;
    return BYTEOR_DUTY_FAILED;
}

static inline uint32_t byteor_count_live(const byteor_ring *ring, uint64_t first, uint32_t count) {
    uint32_t live = 0;
    for (uint32_t i = 0; i < count; i++) live += (uint32_t)byteor_live(byteor_ring_slot(ring, first + i));
    return live;
}

static inline void *byteor_member_state(byteor_unit_runtime *u, uint32_t m, byteor_batch *batch) {
    byteor_member *member = &u->member[m];
    batch->touch = NULL;
    if (member->state_bytes > BYTEOR_STATE_DOUBLE_BYTES_MAX) {
        batch->touch = byteor_undo_touch;
        return member->state[0];
    }
    if (member->state_bytes == 0) return NULL;
    uint32_t active = (uint32_t)(u->work.state_select >> m) & 1u;
    memcpy(member->state[1 - active], member->state[active], member->state_bytes);
    return member->state[1 - active];
}

static inline int byteor_call_stage(byteor_member *member, byteor_batch *batch, int is_end) {
    if (is_end) return member->vtable->end ? member->vtable->end(member->self, batch) : BYTEOR_STAGE_OK;
    return member->vtable->process(member->self, batch);
}

static inline int byteor_stage_failed(byteor_unit_runtime *u, uint32_t m, const byteor_batch *batch, int outcome) {
    uint32_t failure = BYTEOR_FAILURE_NONSENSE;
    const char *text = batch->error_text;
    if (outcome == BYTEOR_STAGE_ERROR) failure = BYTEOR_FAILURE_STAGE;
    else if (outcome == BYTEOR_STAGE_VIEWS_KEPT) failure = BYTEOR_FAILURE_VIEWS;
    else if (outcome != BYTEOR_STAGE_NONSENSE) text = "the stage returned an outcome that does not exist";
    int unknown = outcome == BYTEOR_STAGE_ERROR && batch->error_index == BYTEOR_INDEX_UNKNOWN && batch->count > 1;
    u->failed_unknown = unknown ? batch->count : 0;
    uint32_t index = batch->error_index < batch->count ? batch->error_index : 0;
    byteor_unit_fail(u, m, failure, batch->first_sequence + index, text);
    return -1;
}

/* What a stage did to the batch: its counts, unless it broke its word. `live` came in. */
static inline int byteor_count_stage(byteor_unit_runtime *u, uint32_t m, const byteor_batch *batch, int is_end, uint32_t *live, uint32_t left) {
    if (left > batch->count) {
        byteor_unit_fail(u, m, BYTEOR_FAILURE_NONSENSE, batch->first_sequence + (UINT32_MAX - left), "it left a length that no slot can hold");
        return -1;
    }
    if (is_end) return 0;
    uint32_t taken = u->scan_live ? *live : left;
    if (left != taken && !(u->member[m].vtable->flags & BYTEOR_STAGE_DROPS)) {
        byteor_unit_fail(u, m, BYTEOR_FAILURE_NONSENSE, batch->first_sequence, "it dropped a message, which it does not declare");
        return -1;
    }
    u->work.member[m].received += taken;
    u->work.member[m].dropped += taken - left;
    *live = left;
    return 0;
}

/* Call a stage. Ours cannot hang: the shim need not know when it began. */
static inline int byteor_call_watched(byteor_member *member, byteor_batch *batch, int is_end, uint64_t now) {
    if (member->builtin) return byteor_call_stage(member, batch, is_end);
    byteor_store_relaxed64(&member->role->busy_sequence, batch->first_sequence);
    byteor_store_relaxed64(&member->role->busy_since_ns, now);
    int outcome = byteor_call_stage(member, batch, is_end);
    byteor_store_relaxed64(&member->role->busy_since_ns, 0);
    return outcome;
}

/* Call every stage in turn over [first, first + count). 0, or -1 with the failure noted; nothing is committed. `timed`:
 * the clock is read after each stage; else the batch is a small one and ends with the turn. */
static inline int byteor_run_stages(byteor_unit_runtime *u, uint64_t first, uint32_t count, int is_end, int timed) {
    byteor_ring *ring = &u->rings[0];
    uint64_t now = u->clock_ns;
    uint32_t live = u->scan_live ? byteor_count_live(ring, first, count) : 0;
    byteor_batch batch = {.abi = BYTEOR_STAGE_ABI, .count = count, .slot_bytes = ring->slot_bytes,
                          .payload_max = ring->payload_max, .first_sequence = first, .now_ns = now, .touch_context = u,
                          .slots = (uint8_t *)byteor_ring_slot(ring, first)};
    byteor_pending_mark(u);
    for (uint32_t m = u->first_stage; m < u->stage_end; m++) {
        byteor_member *member = &u->member[m];
        batch.state = byteor_member_state(u, m, &batch);
        batch.state_bytes = member->state_bytes;
        if (u->directed) batch.now_ns = byteor_calls_ns(&member->calls, now);
        batch.error_index = 0;
        batch.error_text = NULL;
        if (byteor_tracing) byteor_trace_batch(byteor_tracing, member->index, BYTEOR_TRACE_BEFORE, &batch);
        int outcome = byteor_call_watched(member, &batch, is_end, now);
        BYTEOR_KILL_POINT(7);
        if (outcome != BYTEOR_STAGE_OK) return byteor_stage_failed(u, m, &batch, outcome);
        if (byteor_tracing) byteor_trace_batch(byteor_tracing, member->index, BYTEOR_TRACE_AFTER, &batch);
        uint64_t after = timed ? byteor_now_ns(u->clock) : 0;
        uint32_t left = byteor_note_batch(u, m, batch.slots, count, now, after);
        if (byteor_count_stage(u, m, &batch, is_end, &live, left) != 0) return -1;
        if (u->capture && u->capture->choices[m]) byteor_choose(u->capture->choices[m], BYTEOR_CHOICE_BATCH, is_end ? 0 : count, now, 0);
        if (timed) batch.now_ns = now = u->clock_ns = after;
    }
    return 0;
}

/* The calls of a batch stand. */
static inline void byteor_calls_stand(byteor_unit_runtime *u, uint32_t count, int is_end) {
    uint32_t unfailed = 0;
    for (uint32_t m = u->first_stage; m < u->stage_end; m++) unfailed += (uint32_t)(!is_end && byteor_calls_fails(&u->member[m].calls));
    for (uint32_t m = u->first_stage; m < u->stage_end; m++) {
        byteor_calls *calls = &u->member[m].calls;
        if (unfailed && !byteor_calls_fails(calls)) continue; /* the message was not in its calls then */
        byteor_calls_made(calls, count, is_end, u->work.position - count);
    }
}

/* Stage m failed on the next message, which was passed over: the others did not keep it either. */
static inline void byteor_calls_passed(byteor_unit_runtime *u, uint32_t m, uint64_t sequence) {
    uint32_t then = 0;
    for (uint32_t i = u->first_stage; i < u->stage_end; i++) then += (uint32_t)byteor_calls_fails(&u->member[i].calls);
    for (uint32_t i = u->first_stage; i < u->stage_end; i++) {
        byteor_calls *calls = &u->member[i].calls;
        if (i != m && byteor_calls_fails(calls)) byteor_calls_unfailed(calls, sequence);
        else if (i == m && (byteor_calls_fails(calls) || then == 0)) byteor_calls_failed(calls, sequence);
        else if (i == m && calls->list && calls->found->unforeseen++ == 0) calls->found->unforeseen_at = sequence;
        else if (then == 0) byteor_calls_use(calls, 1);
    }
}

/* How many messages the next batch has, `most` at most; `whole`: no fewer, unless the input ends. */
static inline uint32_t byteor_calls_most(const byteor_unit_runtime *u, uint32_t most, int *whole) {
    *whole = 0;
    for (uint32_t m = u->first_stage; m < u->stage_end; m++) {
        const byteor_calls *calls = &u->member[m].calls;
        const uint64_t left = byteor_calls_left(calls);
        if (left == 0) continue;
        *whole |= (int)calls->exact;
        most = (uint32_t)byteor_least(most, left);
    }
    return most;
}

static inline void byteor_toggle_state(byteor_unit_runtime *u) {
    for (uint32_t m = u->first_stage; m < u->stage_end; m++)
        if (u->member[m].state_bytes && u->member[m].state_bytes <= BYTEOR_STATE_DOUBLE_BYTES_MAX)
            u->work.state_select ^= (uint64_t)1 << m;
}

#endif
