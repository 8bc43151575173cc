/* graph_move.h: the roles of a LaneGraph that only move messages: ingress, egress, bridge, router, merge. */
#ifndef BYTEOR_GRAPH_MOVE_H
#define BYTEOR_GRAPH_MOVE_H

#include "graph_stage.h"

/* --- bridge, router, merge -------------------------------------------------------------------------------------- */

static inline int byteor_route_broadcast(byteor_graph *g, const byteor_graph_member *gm, const byteor_slot *slot) {
    for (uint32_t t = 0; t < gm->tx_count; t++)
        if (!byteor_tx_offer(g, &g->tx[gm->tx_first + t], slot)) return 0; /* not the first time: room was taken for all */
    return 1;
}

/* To the next output that has room; where none has, one that drops loses it. */
static inline int byteor_route_work_queue(byteor_graph *g, byteor_graph_member *gm, const byteor_slot *slot) {
    uint64_t *place = &g->word[gm->place_word + 1];
    uint32_t chosen = BYTEOR_NO_PORT;
    const byteor_choice *choice = byteor_script_now(&gm->steer);
    if (choice && choice->source < gm->tx_count) {
        if (!byteor_tx_offer(g, &g->tx[gm->tx_first + choice->source], slot)) return 0;
        byteor_script_advance(&gm->steer, 1);
        return 1;
    }
    for (uint32_t k = 0; k < gm->tx_count && chosen == BYTEOR_NO_PORT; k++) {
        uint32_t t = (uint32_t)((*place + k) % gm->tx_count);
        if (byteor_tx_room(g, &g->tx[gm->tx_first + t], 1)) chosen = t;
    }
    for (uint32_t k = 0; k < gm->tx_count && chosen == BYTEOR_NO_PORT; k++) {
        uint32_t t = (uint32_t)((*place + k) % gm->tx_count);
        if (g->tx[gm->tx_first + t].drops) chosen = t;
    }
    if (chosen == BYTEOR_NO_PORT) return 0;
    *place = (chosen + 1) % gm->tx_count;
    if (gm->choices) byteor_choose(gm->choices, BYTEOR_CHOICE_ROUTE, chosen, 1, 1);
    return byteor_tx_offer(g, &g->tx[gm->tx_first + chosen], slot);
}

static inline int byteor_route_one(byteor_graph *g, byteor_graph_member *gm, const byteor_slot *slot) {
    if (gm->route == BYTEOR_ROUTE_WORK_QUEUE) return byteor_route_work_queue(g, gm, slot);
    if (gm->route == BYTEOR_ROUTE_BROADCAST) return byteor_route_broadcast(g, gm, slot);
    uint64_t t = byteor_key_hash(slot, gm->key_offset, gm->key_length) % gm->tx_count;
    return byteor_tx_offer(g, &g->tx[gm->tx_first + t], slot);
}

/* How many messages to take: a broadcast needs room everywhere, the others look for each. */
static inline uint64_t byteor_route_limit(byteor_unit_runtime *u, const byteor_graph_member *gm) {
    if (gm->route == BYTEOR_ROUTE_BROADCAST) return byteor_tx_room_all(u->graph, gm, u->max_batch);
    return u->max_batch;
}

/* Whether every output takes all that is at hand, once there is room: nothing to be decided for each message. */
static inline int byteor_route_plain(const byteor_graph *g, const byteor_graph_member *gm) {
    if (gm->route != BYTEOR_ROUTE_BROADCAST) return 0;
    for (uint32_t t = 0; t < gm->tx_count; t++) {
        const byteor_tx_port *port = &g->tx[gm->tx_first + t];
        if (port->drops || port->journal || port->script.count) return 0;
    }
    return 1;
}

static inline int byteor_move_end(byteor_unit_runtime *u, uint32_t m) {
    byteor_graph *g = u->graph;
    if (!byteor_tx_room_for_end(g, &g->member[m], 1)) {
        g->no_room = 1;
        return 0;
    }
    uint64_t time = byteor_end_time(u, m);
    byteor_take_ends(u, m);
    byteor_tx_end_all(u, m, time);
    return 1;
}

static inline int byteor_move_turn(byteor_unit_runtime *u, uint32_t m) {
    byteor_graph *g = u->graph;
    byteor_graph_member *gm = &g->member[m];
    uint64_t limit = byteor_route_limit(u, gm);
    uint32_t done = 0;
    byteor_gather(u, m, limit ? limit : 1);
    if (g->entry_count == 0) return byteor_inputs_ended(u, m) ? byteor_move_end(u, m) : 0;
    (void)byteor_graph_now(u);
    if (limit && byteor_route_plain(g, gm)) {
        for (uint32_t t = 0; t < gm->tx_count; t++) byteor_tx_put_all(g, &g->tx[gm->tx_first + t], g->entry_count);
        done = g->entry_count;
    }
    for (; limit && done < g->entry_count; done++) {
        g->rx_sequence = g->entry[done].next;
        if (!byteor_route_one(g, gm, g->entry[done].slot)) break;
    }
    if (done < g->entry_count) g->no_room = 1;
    if (done == 0) return 0;
    byteor_graph_note_entries(u, m, done);
    u->work.member[m].received += done;
    byteor_accept(u, m, 0, done);
    return 1;
}

#define BYTEOR_PROGRESS_NS 100000u /* an idle ingress says this often that time has passed */

/* --- ingress ---------------------------------------------------------------------------------------------------- */

static inline int byteor_source_end(byteor_unit_runtime *u, uint64_t now) {
    byteor_graph *g = u->graph;
    if (!byteor_tx_room_for_end(g, &g->member[0], 1)) {
        g->no_room = 1;
        return 0;
    }
    u->work.time_last = byteor_end_of_input_ns(u, now);
    byteor_tx_end_all(u, 0, u->work.time_last);
    return 1;
}

static inline void byteor_source_progress(byteor_unit_runtime *u, uint64_t now) {
    byteor_graph *g = u->graph;
    if (!g->wants_progress || u->source->common.stamps_time == BYTEOR_TIMES_REPLAYED) return;
    if (now < u->work.time_last + BYTEOR_PROGRESS_NS) return;
    u->work.time_last = now; /* later messages get later times */
    g->tx[0].progress = u->work.time_last;
}

/* Take from outside into slots of the only port; 1 worked, 0 not, -1 failed; `outcome` says why not. */
static inline int byteor_ingress_turn(byteor_unit_runtime *u, uint32_t command, int *outcome) {
    byteor_graph *g = u->graph;
    byteor_tx_port *port = &g->tx[0];
    uint64_t now = byteor_graph_now(u), *position = byteor_tx_word(g, port, BYTEOR_TX_POSITION);
    if (u->source->common.status == BYTEOR_ADAPTER_ENDED || command == BYTEOR_COMMAND_DRAIN) return byteor_source_end(u, now);
    uint64_t room = byteor_tx_room(g, port, u->max_batch);
    if (!port->journal) room = byteor_least(room, byteor_ring_contiguous(port->ring, *position));
    const byteor_choice *choice = byteor_script_now(&port->script);
    int lost = choice ? choice->kind == BYTEOR_CHOICE_DROP : room == 0 && port->drops, staged = lost || port->journal != NULL;
    if (room == 0 && !lost) {
        g->no_room = 1;
        return 0;
    }
    if (staged) room = byteor_least(u->max_batch, g->entry_max);
    if (choice) room = byteor_least(room, byteor_script_left(&port->script));
    u->rings = staged ? &g->staging_ring : port->ring; /* the shared poll and write go by the geometry of rings[0] */
    u->work.position = *position;
    if (!staged) byteor_tx_claim(g, port, room);
    uint8_t *slots = staged ? g->staging : (uint8_t *)byteor_tx_next(g, port);
    int count = byteor_source_take(u, slots, (uint32_t)room, (int)g->timed, outcome);
    if (count < 0) {
        if (*outcome == BYTEOR_DUTY_INPUT || *outcome == BYTEOR_DUTY_IDLE) byteor_source_progress(u, now);
        return *outcome == BYTEOR_DUTY_FAILED ? -1 : *outcome == BYTEOR_DUTY_WORKED;
    }
    if ((uint32_t)count > g->took) g->took = (uint32_t)count;
    BYTEOR_KILL_POINT(21);
    if (port->journal)
        for (int i = 0; i < count; i++) byteor_tx_append(g, port, byteor_graph_staged(g, (uint32_t)i));
    else
        *byteor_tx_word(g, port, lost ? BYTEOR_TX_FULL : BYTEOR_TX_POSITION) += (uint64_t)count;
    if (port->choices) byteor_choose(port->choices, lost ? BYTEOR_CHOICE_DROP : BYTEOR_CHOICE_KEEP, port->number, (uint64_t)count, 1);
    byteor_script_advance(&port->script, (uint64_t)count);
    port->progress = u->work.time_last;
    g->changed = 1;
    return 1;
}

/* Whether an ingress by itself can go on as one of a ring does: only its position changes from message to message. */
static inline int byteor_ingress_streams(const byteor_unit_runtime *u) {
    const byteor_tx_port *port = &u->graph->tx[0];
    return u->source && u->member_count == 1 && !port->journal && !port->choices && !port->script.count && port->claim_max >= 2u * BYTEOR_SMALL_BATCH;
}

/* See byteor_source_stream. As byteor_graph_pass returns. */
static inline int byteor_ingress_stream(byteor_unit_runtime *u) {
    byteor_tx_port *port = &u->graph->tx[0];
    uint64_t *position = byteor_tx_word(u->graph, port, BYTEOR_TX_POSITION);
    const uint32_t most = (uint32_t)byteor_least(u->max_batch, BYTEOR_SMALL_BATCH);
    u->rings = port->ring;
    u->work.position = *position;
    u->gate = port->gate;
    byteor_words_store(u); /* from here on the arrays differ in the position only */
    byteor_stream s = byteor_stream_begin(u);
    for (int i = 0; i < 2; i++) s.word[i] = u->graph->shared[i] + port->word + BYTEOR_TX_POSITION;
    int found = byteor_stream_run(u, &s, most);
    *position = u->work.position;
    port->gate = u->gate;
    port->progress = u->work.time_last;
    if (found > 0 && (uint32_t)found <= most) return 1;
    return byteor_source_gave_none(u, found, most) == BYTEOR_DUTY_FAILED ? -1 : 1;
}

/* --- egress ----------------------------------------------------------------------------------------------------- */

/* Entries that lie side by side are written as they lie; else they are brought together first. */
static inline uint8_t *byteor_egress_slots(byteor_unit_runtime *u, uint32_t m, uint32_t *count) {
    byteor_graph *g = u->graph;
    const byteor_graph_member *gm = &g->member[m];
    const byteor_rx_port *port = &g->rx[gm->rx_first];
    if (gm->rx_count > 1 || g->entry[0].slot->flags) {
        for (uint32_t i = 0; i < *count; i++) {
            const byteor_slot *from = g->entry[i].slot;
            byteor_slot_write(byteor_graph_staged(g, i), from, from->length);
        }
        u->rings = &g->staging_ring;
        return g->staging;
    }
    uint32_t stride = port->cell < 0 ? g->copy_bytes : port->ring->slot_bytes, run = 1;
    while (run < *count && (uint8_t *)g->entry[run].slot == (uint8_t *)g->entry[run - 1].slot + stride && !g->entry[run].slot->flags) run++;
    *count = run;
    u->rings = port->cell < 0 ? &g->copy_ring : port->ring;
    return (uint8_t *)g->entry[0].slot;
}

static inline int byteor_egress_finish(byteor_unit_runtime *u, uint32_t m, int *outcome) {
    u->sink->finish(u->sink);
    byteor_show_adapter(u->member[m].role, &u->sink->common);
    if (u->sink->common.status == BYTEOR_ADAPTER_ENDED) {
        byteor_member_end(u, m);
        return 1;
    }
    *outcome = byteor_sink_outcome(u, u->work.egress_position);
    return *outcome == BYTEOR_DUTY_FAILED ? -1 : 0;
}

static inline int byteor_egress_turn(byteor_unit_runtime *u, uint32_t m, int *outcome) {
    byteor_graph *g = u->graph;
    byteor_gather(u, m, u->max_batch);
    uint32_t count = g->entry_count;
    if (count == 0) {
        if (!byteor_inputs_ended(u, m)) return 0;
        byteor_take_ends(u, m);
        return byteor_egress_finish(u, m, outcome);
    }
    (void)byteor_graph_now(u);
    uint8_t *slots = byteor_egress_slots(u, m, &count);
    u->all_live = (uint32_t)byteor_takes_in_order(g, &g->member[m]); /* what was dropped has been passed over */
    byteor_graph_make_room(u, m, count);
    int done = byteor_sink_take(u, slots, count, u->work.egress_position, byteor_graph_times(g, count));
    if (done < 0) {
        *outcome = BYTEOR_DUTY_FAILED;
        return -1;
    }
    BYTEOR_KILL_POINT(22);
    u->work.egress_position += (uint64_t)done;
    byteor_accept(u, m, 0, (uint32_t)done);
    if (done) return 1;
    *outcome = byteor_sink_outcome(u, u->work.egress_position);
    return *outcome == BYTEOR_DUTY_FAILED ? -1 : 0;
}

#endif
