/* unit_graph.h: one turn of a unit of a LaneGraph: each of its roles once, in topological order, then one commit; and again
 * while the batches are small ones.
 *
 * A role reads what another role of the unit has just written up to the uncommitted position; everybody else sees it once
 * it is committed. A turn never waits: what has no room now is left for later, and what was done is committed. */
#ifndef BYTEOR_UNIT_GRAPH_H
#define BYTEOR_UNIT_GRAPH_H

#include "graph_move.h"

/* --- the turn --------------------------------------------------------------------------------------------------- */

static inline int byteor_graph_member_turn(byteor_unit_runtime *u, uint32_t m, uint32_t command, int *outcome) {
    if (byteor_member_ended(u, m)) return 0;
    switch (u->member[m].kind) {
        case BYTEOR_ROLE_INGRESS: return byteor_ingress_turn(u, command, outcome);
        case BYTEOR_ROLE_EGRESS: return byteor_egress_turn(u, m, outcome);
        case BYTEOR_ROLE_STAGE: return byteor_stage_turn(u, m);
        default: return byteor_move_turn(u, m);
    }
}

static inline int byteor_graph_all_ended(const byteor_unit_runtime *u) {
    return u->work.ended == ((uint64_t)1 << u->member_count) - 1;
}

/* Each role once. 1: some did something, 0: none, -1: one failed; `outcome`: what an adapter waits for. */
static inline int byteor_graph_pass(byteor_unit_runtime *u, uint32_t command, int *outcome) {
    byteor_graph *g = u->graph;
    int worked = 0, failed = 0;
    g->took = 0;
    if (g->journals) g->unix_ns = byteor_now_ns(u->clock) + u->clock->unix_offset_ns;
    for (uint32_t m = 0; m < u->member_count && !failed; m++) {
        int done = byteor_graph_member_turn(u, m, command, outcome);
        failed = done < 0;
        worked |= done > 0;
        byteor_pass_progress(u, m);
    }
    if (g->changed) {
        BYTEOR_KILL_POINT(26);
        byteor_graph_publish(u);
        worked = 1;
        failed |= u->failure == BYTEOR_FAILURE_ADAPTER; /* a journal that cannot be written */
    } else if (byteor_graph_show_progress(g)) {
        byteor_wake(u);
    }
    return failed ? -1 : worked;
}

/* Whether there may be another small batch at hand, for which the clock need not be read. */
static inline int byteor_graph_goes_on(const byteor_unit_runtime *u) {
    const byteor_graph *g = u->graph;
    return g->took && g->took < BYTEOR_SMALL_BATCH && g->clocked && u->clock_ns - u->turn_began_ns < BYTEOR_TURN_NS_MAX && !u->work.ended &&
           !g->journals && !u->capture && !(u->source && u->source->common.stamps_time);
}

/* A turn: one pass, or several over small batches, each committed and published by itself. */
static inline int byteor_graph_duty(byteor_unit_runtime *u, uint32_t command) {
    byteor_graph *g = u->graph;
    int outcome = BYTEOR_DUTY_IDLE, further = BYTEOR_DUTY_IDLE;
    uint32_t passes = 1;
    if (byteor_graph_all_ended(u)) return BYTEOR_DUTY_ENDED;
    if (u->capture && !byteor_choices_ready(u->capture)) return BYTEOR_DUTY_NO_ROOM;
    g->no_room = g->clocked = 0;
    g->timed = 1;
    int worked = byteor_graph_pass(u, command, &outcome), next = worked;
    if (worked == 0) return outcome == BYTEOR_DUTY_IDLE && g->no_room ? BYTEOR_DUTY_NO_ROOM : outcome;
    g->timed = 0;
    if (next > 0 && byteor_graph_goes_on(u) && byteor_ingress_streams(u)) {
        next = byteor_ingress_stream(u);
        passes = BYTEOR_TURN_BATCHES;
    }
    for (; next > 0 && passes < BYTEOR_TURN_BATCHES && byteor_graph_goes_on(u); passes++) next = byteor_graph_pass(u, command, &further);
    byteor_graph_show_turn(u, passes);
    if (!g->journals) byteor_graph_show_counters(u);
    if (next >= 0) return BYTEOR_DUTY_WORKED;
    u->done = 1;
    return BYTEOR_DUTY_FAILED;
}

/* A unit of any kind. */
static inline int byteor_any_duty(byteor_unit_runtime *u, uint32_t command) {
    return u->kind == BYTEOR_UNIT_GRAPH ? byteor_graph_duty(u, command) : byteor_unit_duty(u, command);
}

static inline void byteor_any_recover(byteor_unit_runtime *u) {
    if (u->kind == BYTEOR_UNIT_GRAPH) byteor_graph_recover(u);
    else byteor_recover(u);
}

#endif
