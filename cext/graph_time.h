/* graph_time.h: the clock and the ages of messages in a turn of a unit of a LaneGraph.
 *
 * As in unit_account.h: the clock is read when the turn finds something, after each role of its first pass, and at its end;
 * what later passes of small batches leave is kept until then. */
#ifndef BYTEOR_GRAPH_TIME_H
#define BYTEOR_GRAPH_TIME_H

#include "graph.h"

/* When this turn began, or what the clock showed last in it. */
static inline uint64_t byteor_graph_now(byteor_unit_runtime *u) {
    byteor_graph *g = u->graph;
    if (!g->clocked) {
        g->clocked = 1;
        u->turn_began_ns = u->clock_ns = byteor_now_ns(u->clock);
    }
    return u->clock_ns;
}

/* A role is done with `count` messages: whether the clock is read for them. */
static inline int byteor_graph_times(byteor_graph *g, uint32_t count) {
    if (count > g->took) g->took = count;
    return g->timed || count > BYTEOR_SMALL_BATCH;
}

/* Room for the ages of a small batch; a turn that commits message by message has many. */
static inline void byteor_graph_make_room(byteor_unit_runtime *u, uint32_t m, uint32_t count) {
    byteor_pending *pending = &u->pending[m];
    if (count > BYTEOR_SMALL_BATCH || pending->count + count <= BYTEOR_TURN_BATCHES * BYTEOR_SMALL_BATCH) return;
    u->clock_ns = byteor_now_ns(u->clock);
    byteor_pending_show(u->member[m].role, pending, u->clock_ns);
}

/* Member m is done with slots that lie side by side, begun at u->clock_ns. Returns as byteor_account does. */
static inline uint32_t byteor_graph_note(byteor_unit_runtime *u, uint32_t m, const uint8_t *slots, uint32_t slot_bytes, uint32_t count, uint32_t in_order) {
    byteor_graph_make_room(u, m, count);
    const uint64_t before = u->clock_ns, after = byteor_graph_times(u->graph, count) ? byteor_now_ns(u->clock) : 0;
    if (after) u->clock_ns = after;
    return byteor_note_slots(u, m, slots, slot_bytes, count, in_order, before, after);
}

/* The same for the first `count` messages at hand, wherever they lie. */
static inline void byteor_graph_note_entries(byteor_unit_runtime *u, uint32_t m, uint32_t count) {
    const byteor_graph *g = u->graph;
    byteor_pending *pending = &u->pending[m];
    byteor_graph_make_room(u, m, count);
    const uint64_t before = u->clock_ns, after = byteor_graph_times(u->graph, count) ? byteor_now_ns(u->clock) : 0;
    pending->batches++;
    if (count > BYTEOR_SMALL_BATCH) {
        byteor_age_run run = {0, 0, 0, 0};
        for (uint32_t i = 0; i < count; i++) byteor_age_run_add(&u->member[m].role->latency, &run, byteor_age(after, g->entry[i].slot->time_ns));
        byteor_age_run_end(&u->member[m].role->latency, &run);
    } else {
        for (uint32_t i = 0; i < count; i++) pending->time_ns[pending->count++] = g->entry[i].slot->time_ns;
        if (after) pending->timed = pending->count;
    }
    if (after == 0) return;
    pending->after_ns = u->clock_ns = after;
    pending->service_ns = after - before;
}

/* The turn is over. */
static inline void byteor_graph_show_turn(byteor_unit_runtime *u, uint32_t passes) {
    byteor_pending *source = &u->pending[0];
    const int late = u->source && source->batches && source->after_ns == 0; /* the source's own times */
    const uint64_t now = passes > 1 || late ? byteor_now_ns(u->clock) : byteor_graph_now(u);
    if (late) {
        source->after_ns = now;
        source->service_ns = now - u->turn_began_ns;
    }
    u->clock_ns = u->turn_ended_ns = now;
    for (uint32_t m = 0; m < u->member_count; m++) byteor_pending_show(u->member[m].role, &u->pending[m], now);
    if (u->source) byteor_show_adapter_news(u->member[0].role, &u->source->common, &u->source_shown);
    if (u->sink) byteor_show_adapter_news(u->member[u->member_count - 1].role, &u->sink->common, &u->sink_shown);
}

#endif
