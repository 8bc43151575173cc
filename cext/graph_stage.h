/* graph_stage.h: a stage of a LaneGraph: its inputs copied into slots that nobody can see yet, worked on there, and closed
 * up over what it dropped. Nothing of the input is changed, so a batch that fails is simply done again. */
#ifndef BYTEOR_GRAPH_STAGE_H
#define BYTEOR_GRAPH_STAGE_H

#include "graph_commit.h"
#include "graph_rx.h"
#include "graph_time.h"
#include "graph_tx.h"

/* --- state ------------------------------------------------------------------------------------------------------ */

/* From here on touched state is taken back unless this batch commits. */
static inline void byteor_graph_log_open(byteor_unit_runtime *u) {
    byteor_undo *undo = &u->unit->undo;
    if (u->undo_log_bytes == 0 || undo->valid_for == u->work.commits + 1) return;
    byteor_store_relaxed64(&undo->valid_for, 0);
    byteor_fence_signal();
    undo->slot_count = 0;
    undo->log_used = 0;
    byteor_fence_signal();
    byteor_store_relaxed64(&undo->valid_for, u->work.commits + 1);
    byteor_fence_signal();
}

/* --- the call --------------------------------------------------------------------------------------------------- */

typedef struct byteor_emitting {
    byteor_graph *g;
    byteor_batch *batch;
    uint32_t each_max; /* further outputs per input */
    uint32_t last, of_last;
} byteor_emitting;

/* The `emit` of byteor_batch. */
static inline int byteor_graph_emit(void *context, uint32_t index, const void *data, uint32_t bytes) {
    byteor_emitting *e = (byteor_emitting *)context;
    byteor_graph *g = e->g;
    if (index >= e->batch->count || bytes > e->batch->payload_max || g->extra_count == g->extra_max) return -1;
    if (g->extra_count && index < e->last) return -1;
    uint32_t of_it = g->extra_count && index == e->last ? e->of_last + 1 : 1;
    if (of_it > e->each_max) return -1;
    byteor_slot *slot = byteor_graph_extra(g, g->extra_count);
    const byteor_slot *from = byteor_slot_at(e->batch, index);
    slot->length = (uint16_t)bytes;
    slot->type = from->type;
    slot->flags = 0;
    slot->time_ns = from->time_ns;
    if (bytes) memcpy(byteor_payload(slot), data, bytes);
    g->extra_of[g->extra_count++] = index;
    e->last = index;
    e->of_last = of_it;
    return 0;
}

/* What a stage left behind: live messages, or -1 with the failure noted. */
static inline int byteor_stage_check(byteor_unit_runtime *u, uint32_t m, const byteor_batch *batch, int is_end) {
    const byteor_member *member = &u->member[m];
    const int keeps_all = member->builtin && !is_end && !(member->vtable->flags & BYTEOR_STAGE_DROPS);
    const uint32_t in_order = keeps_all && byteor_takes_in_order(u->graph, &u->graph->member[m]);
    const uint32_t left = byteor_graph_note(u, m, batch->slots, batch->slot_bytes, batch->count, in_order);
    if (left > batch->count) {
        byteor_unit_fail(u, m, BYTEOR_FAILURE_NONSENSE, batch->first_sequence + (UINT32_MAX - left), "it left a length that no slot can hold");
        return -1;
    }
    if (!is_end && left != batch->count && !(member->vtable->flags & BYTEOR_STAGE_DROPS)) {
        byteor_unit_fail(u, m, BYTEOR_FAILURE_NONSENSE, batch->first_sequence, "it dropped a message, which it does not declare");
        return -1;
    }
    return (int)left;
}

/* Keep what a stage left of the message that is followed. */
static inline void byteor_graph_trace(const byteor_graph *g, uint32_t role, const byteor_batch *batch) {
    byteor_trace_batch(byteor_tracing, role, BYTEOR_TRACE_AFTER, batch);
    for (uint32_t e = 0; e < g->extra_count; e++) {
        const byteor_slot *slot = (const byteor_slot *)(const void *)(g->extra + (size_t)e * g->staging_bytes);
        if (slot->time_ns == byteor_tracing->time_ns)
            byteor_trace_add(byteor_tracing, role, BYTEOR_TRACE_EMITTED, slot, batch->first_sequence + g->extra_of[e]);
    }
}

/* Call stage m over `count` slots. Returns live messages, or -1 with the failure noted and its state as it was. */
static inline int byteor_stage_over(byteor_unit_runtime *u, uint32_t m, uint8_t *slots, uint32_t slot_bytes, uint32_t count, int is_end) {
    byteor_graph *g = u->graph;
    byteor_member *member = &u->member[m];
    uint64_t mark, now = byteor_graph_now(u), sequence = u->work.member[m].received;
    byteor_graph_log_open(u);
    mark = u->unit->undo.log_used;
    byteor_batch batch = {.abi = BYTEOR_STAGE_ABI, .count = count, .slot_bytes = slot_bytes,
                          .payload_max = g->member[m].payload_max, .first_sequence = sequence, .now_ns = now,
                          .touch_context = u, .slots = slots};
    byteor_emitting emitting = {.g = g, .batch = &batch, .each_max = g->member[m].outputs_max - 1};
    g->extra_count = 0;
    batch.emit_context = &emitting;
    batch.emit = byteor_graph_emit;
    batch.features = BYTEOR_BATCH_EMITS;
    batch.state = byteor_member_state(u, m, &batch);
    batch.state_bytes = member->state_bytes;
    if (u->directed) batch.now_ns = byteor_calls_ns(&member->calls, now);
    if (byteor_tracing) byteor_trace_batch(byteor_tracing, member->index, BYTEOR_TRACE_BEFORE, &batch);
    int outcome = byteor_call_watched(member, &batch, is_end, now);
    BYTEOR_KILL_POINT(20);
    if (byteor_tracing && outcome == BYTEOR_STAGE_OK) byteor_graph_trace(g, member->index, &batch);
    int live = outcome == BYTEOR_STAGE_OK ? byteor_stage_check(u, m, &batch, is_end) : byteor_stage_failed(u, m, &batch, outcome);
    if (live < 0) {
        if (g->member[m].large_state) byteor_graph_log_undo(u, mark);
        return -1;
    }
    if (g->member[m].choices && !member->builtin) byteor_choose(g->member[m].choices, BYTEOR_CHOICE_BATCH, is_end ? 0 : count, now, 0);
    if (u->directed) byteor_calls_made(&member->calls, count, is_end, sequence);
    if (member->state_bytes && !g->member[m].large_state) g->state_changed |= (uint64_t)1 << m;
    return live;
}

/* --- outputs ---------------------------------------------------------------------------------------------------- */

/* Close the slots of the only port up over those that were dropped. */
static inline void byteor_pack_in_place(byteor_graph *g, byteor_tx_port *port, uint8_t *slots, uint32_t count, uint32_t live) {
    uint32_t to = 0;
    for (uint32_t i = 0; live != count && i < count; i++) {
        const byteor_slot *from = (const byteor_slot *)(const void *)(slots + (size_t)i * port->ring->slot_bytes);
        if (!byteor_live(from)) continue;
        if (i != to) byteor_slot_write((byteor_slot *)(void *)(slots + (size_t)to * port->ring->slot_bytes), from, from->length);
        to++;
    }
    *byteor_tx_word(g, port, BYTEOR_TX_POSITION) += live;
    if (port->choices) byteor_choose(port->choices, BYTEOR_CHOICE_KEEP, port->number, live, 1);
}

/* A message to every output of a stage; where there is no room the lane drops, or room was taken before. */
static inline void byteor_stage_put(byteor_graph *g, const byteor_graph_member *gm, const byteor_slot *slot) {
    for (uint32_t t = 0; t < gm->tx_count; t++) (void)byteor_tx_offer(g, &g->tx[gm->tx_first + t], slot);
}

static inline void byteor_pack_staged(byteor_graph *g, const byteor_graph_member *gm, uint32_t first, uint32_t count) {
    uint32_t e = 0;
    for (uint32_t i = 0; i < count; i++) {
        const byteor_slot *slot = byteor_graph_staged(g, i);
        g->rx_sequence = g->entry[first + i].next;
        if (byteor_live(slot)) byteor_stage_put(g, gm, slot);
        for (; e < g->extra_count && g->extra_of[e] == i; e++)
            byteor_stage_put(g, gm, byteor_graph_extra(g, e));
    }
}

/* Whether stage m can work in the very slots of its output. */
static inline byteor_tx_port *byteor_stage_in_place(byteor_graph *g, const byteor_graph_member *gm, uint64_t *limit) {
    if (gm->tx_count == 1 && g->tx[gm->tx_first].script.count) return NULL; /* each message by itself */
    if (gm->tx_count != 1 || gm->outputs_max != 1 || gm->staged || g->tx[gm->tx_first].journal) return NULL;
    byteor_tx_port *port = &g->tx[gm->tx_first];
    uint64_t room = byteor_tx_room(g, port, *limit);
    if (room == 0) return NULL; /* a lane that drops: the stage sees the message all the same */
    *limit = byteor_least(room, byteor_ring_contiguous(port->ring, *byteor_tx_word(g, port, BYTEOR_TX_POSITION)));
    return port;
}

/* Copy entries [first, first + count) to where the stage works, run it, keep what it left. 0, or -1 and nothing is changed. */
static inline int byteor_stage_batch(byteor_unit_runtime *u, uint32_t m, byteor_tx_port *port, uint32_t first, uint32_t count) {
    byteor_graph *g = u->graph;
    const byteor_graph_member *gm = &g->member[m];
    uint32_t slot_bytes = port ? port->ring->slot_bytes : g->staging_bytes;
    uint8_t *slots = port ? (uint8_t *)byteor_tx_next(g, port) : g->staging;
    if (port) byteor_tx_claim(g, port, count);
    for (uint32_t i = 0; i < count; i++) {
        const byteor_slot *from = g->entry[first + i].slot;
        byteor_slot_write((byteor_slot *)(void *)(slots + (size_t)i * slot_bytes), from, from->length);
    }
    int live = byteor_stage_over(u, m, slots, slot_bytes, count, 0);
    if (live < 0) return -1;
    if (port) byteor_pack_in_place(g, port, slots, count, (uint32_t)live);
    else byteor_pack_staged(g, gm, first, count);
    u->work.member[m].received += count;
    u->work.member[m].dropped += count - (uint32_t)live;
    byteor_accept(u, m, first, count);
    return 0;
}

/* Messages too long for where the stage works are lost before it sees them, one a turn: they are no part of a batch. */
static inline uint32_t byteor_stage_fitting(byteor_unit_runtime *u, uint32_t m, const byteor_tx_port *port) {
    byteor_graph *g = u->graph;
    uint32_t most = (port ? port->ring->slot_bytes : g->staging_bytes) - BYTEOR_SLOT_HEADER_BYTES, count = 0;
    while (count < g->entry_count && g->entry[count].slot->length <= most) count++;
    if (count || g->entry_count == 0) return count;
    if (g->member[m].tx_count) byteor_tx_lost(g, &g->tx[g->member[m].tx_first], BYTEOR_TX_OVERSIZE);
    u->work.member[m].received++;
    u->work.member[m].skipped++;
    byteor_accept(u, m, 0, 1);
    return 0;
}

/* --- failure ---------------------------------------------------------------------------------------------------- */

/* Entry `index` is at fault: sent to the dead letters or passed over, or the end of the unit. */
static inline int byteor_stage_at_fault(byteor_unit_runtime *u, uint32_t m, uint32_t index, uint64_t sequence) {
    byteor_graph *g = u->graph;
    const byteor_graph_member *gm = &g->member[m];
    const byteor_slot *slot = g->entry[index].slot;
    u->failed_sequence = sequence;
    g->failed_payload = (const uint8_t *)slot + BYTEOR_SLOT_HEADER_BYTES;
    g->failed_length = slot->length;
    if (!u->skip_failed) return -1;
    byteor_note_error(u->member[m].role, u->failure, u->failed_sequence, u->failure_text, strlen(u->failure_text));
    if (gm->dead_letter != BYTEOR_NO_PORT) (void)byteor_tx_offer(g, &g->tx[gm->dead_letter], slot);
    u->work.member[m].received++;
    u->work.member[m].skipped++;
    if (gm->choices && !u->member[m].builtin) byteor_choose(gm->choices, BYTEOR_CHOICE_FAIL, u->failure, byteor_graph_now(u), 0);
    if (u->directed) byteor_calls_failed(&u->member[m].calls, sequence);
    byteor_accept(u, m, index, 1);
    u->failure = BYTEOR_FAILURE_NONE;
    u->done = 0;
    return 0;
}

/* Entries [first, end) one at a time, each committed, up to one that fails. Returns that one, or `end`. */
static inline uint32_t byteor_stage_singly(byteor_unit_runtime *u, uint32_t m, byteor_tx_port *port, uint32_t first, uint32_t end) {
    for (uint32_t i = first; i < end; i++) {
        u->failure = BYTEOR_FAILURE_NONE;
        u->failed_unknown = 0;
        u->done = 0;
        byteor_graph_publish(u); /* state is kept per commit */
        if (u->failure || byteor_stage_batch(u, m, port, i, 1) != 0) return i;
    }
    return end;
}

/* A batch of `count` failed: keep the good ones before the fault, then deal with that. -1: the unit has failed. A stage may
 * be wrong about which message it was, or not say: only one that fails alone is at fault. */
static inline int byteor_stage_recover(byteor_unit_runtime *u, uint32_t m, byteor_tx_port *port, uint32_t count) {
    uint64_t began = u->work.member[m].received;
    uint32_t failure = u->failure, good = (uint32_t)(u->failed_sequence - began), end;
    if (good >= count) good = 0;
    if (!u->rerunnable) return byteor_stage_at_fault(u, m, good, began + good); /* where that is passed over it is alone */
    end = good + 1;
    if (u->failed_unknown || (good && byteor_stage_batch(u, m, port, 0, good) != 0)) {
        good = 0;
        end = count;
    }
    uint32_t at = byteor_stage_singly(u, m, port, good, end);
    if (u->failure == BYTEOR_FAILURE_ADAPTER) return -1; /* a journal */
    if (at < end) return byteor_stage_at_fault(u, m, at, u->work.member[m].received);
    byteor_note_error(u->member[m].role, failure, began + good, u->failure_text, strlen(u->failure_text)); /* on the batch only: passed */
    return 0;
}

/* --- a turn ----------------------------------------------------------------------------------------------------- */

/* The input has ended: the stage may leave last messages, as many as of one message, then the end goes on. */
static inline int byteor_stage_end(byteor_unit_runtime *u, uint32_t m) {
    byteor_graph *g = u->graph;
    const byteor_graph_member *gm = &g->member[m];
    byteor_slot *slot = byteor_graph_staged(g, 0);
    if (!byteor_tx_room_for_end(g, gm, gm->outputs_max + 1)) {
        g->no_room = 1;
        return 0;
    }
    uint64_t time = byteor_end_time(u, m);
    byteor_end_slot(slot, time);
    if (byteor_stage_over(u, m, g->staging, g->staging_bytes, 1, 1) < 0) return -1;
    slot->flags = 0;
    if (slot->length) byteor_stage_put(g, gm, slot);
    for (uint32_t e = 0; e < g->extra_count; e++) byteor_stage_put(g, gm, byteor_graph_extra(g, e));
    byteor_take_ends(u, m);
    byteor_tx_end_all(u, m, time);
    return 1;
}

/* How many messages the next call has to have before it is made, in a replay; 0: any number. What the lanes here can never
 * hold is not waited for; a journal holds any number, and its writer waits for nobody. */
static inline uint64_t byteor_stage_whole(const byteor_unit_runtime *u, uint32_t m) {
    const byteor_graph *g = u->graph;
    const byteor_graph_member *gm = &g->member[m];
    if (!u->member[m].calls.exact) return 0;
    uint64_t whole = byteor_least(byteor_calls_left(&u->member[m].calls), byteor_least(u->max_batch, g->entry_max));
    uint64_t held = 0; /* a call may have had messages of all inputs, such as the stripes of several producers */
    for (uint32_t k = 0; k < gm->rx_count; k++) {
        const byteor_rx_port *port = &g->rx[gm->rx_first + k];
        held += port->journal ? g->entry_max : port->ring->capacity;
    }
    return byteor_least(whole, held);
}

/* Whether a call has room for `whole` messages; outputs that are directed themselves make their own. */
static inline int byteor_stage_cramped(const byteor_graph *g, const byteor_graph_member *gm, uint64_t limit, uint64_t whole) {
    for (uint32_t t = 0; t < gm->tx_count; t++) {
        const byteor_tx_port *port = &g->tx[gm->tx_first + t];
        if (port->script.count) return 0;
        whole = byteor_least(whole, byteor_least(port->claim_max, port->ring->capacity) / gm->outputs_max);
    }
    return limit < whole;
}

/* Whether more messages will come behind those that were gathered. */
static inline int byteor_stage_awaits(byteor_graph *g, const byteor_graph_member *gm) {
    for (uint32_t k = 0; k < gm->rx_count; k++) {
        byteor_rx_port *port = &g->rx[gm->rx_first + k];
        if (!byteor_rx_at_end(g, port, port->position)) return 1;
    }
    return 0;
}

/* 1: worked, 0: not, -1: failed. */
static inline int byteor_stage_turn(byteor_unit_runtime *u, uint32_t m) {
    byteor_graph *g = u->graph;
    const byteor_graph_member *gm = &g->member[m];
    uint64_t limit = byteor_tx_room_all(g, gm, (uint64_t)u->max_batch * gm->outputs_max) / gm->outputs_max, whole = 0;
    if (u->directed && byteor_calls_left(&u->member[m].calls)) {
        whole = byteor_stage_whole(u, m);
        if (byteor_stage_cramped(g, gm, limit, whole)) limit = 0;
        limit = byteor_least(limit, byteor_calls_left(&u->member[m].calls));
    }
    byteor_tx_port *port = limit ? byteor_stage_in_place(g, gm, &limit) : NULL;
    byteor_gather(u, m, limit ? limit : 1);
    if (g->entry_count == 0) return byteor_inputs_ended(u, m) ? byteor_stage_end(u, m) : 0;
    if (limit == 0) {
        g->no_room = 1;
        return 0;
    }
    if (g->entry_count < byteor_least(whole, limit) && byteor_stage_awaits(g, gm)) return 0;
    uint32_t count = byteor_stage_fitting(u, m, port);
    if (count == 0) return 1;
    if (byteor_stage_batch(u, m, port, 0, count) == 0) return 1;
    return byteor_stage_recover(u, m, port, count) == 0 ? 1 : -1;
}

#endif
