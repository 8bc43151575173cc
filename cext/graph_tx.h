/* graph_tx.h: what a role of a LaneGraph writes to its outputs: room first, then the slots, then what could not be kept.
 *
 * A message that a full lane with on_full = drop cannot take is lost here, and counted where it is lost: the new message,
 * never unread data. */
#ifndef BYTEOR_GRAPH_TX_H
#define BYTEOR_GRAPH_TX_H

#include "graph.h"

/* Slots that can be written now, `wanted` at most. */
static inline uint64_t byteor_tx_room(byteor_graph *g, byteor_tx_port *port, uint64_t wanted) {
    const byteor_ring *ring = port->ring;
    uint64_t position = *byteor_tx_word(g, port, BYTEOR_TX_POSITION);
    if (port->journal) return wanted;
    wanted = byteor_least(wanted, port->claim_max);
    if (port->cells == 0) return wanted;
    uint64_t used = position - port->gate;
    if (used > ring->capacity || ring->capacity - used < wanted) {
        port->gate = byteor_ring_minimum(ring, position);
        used = position - port->gate;
    }
    return byteor_least(ring->capacity - used, wanted);
}

/* Say that up to `count` slots are about to be written. */
static inline void byteor_tx_claim(byteor_graph *g, byteor_tx_port *port, uint64_t count) {
    if (!port->journal) byteor_ring_claim(port->ring, *byteor_tx_word(g, port, BYTEOR_TX_POSITION) + count);
}

static inline byteor_slot *byteor_tx_next(byteor_graph *g, const byteor_tx_port *port) {
    return byteor_ring_slot(port->ring, *byteor_tx_word(g, port, BYTEOR_TX_POSITION));
}

static inline void byteor_tx_lost(byteor_graph *g, byteor_tx_port *port, uint32_t reason) {
    (*byteor_tx_word(g, port, reason))++;
    g->changed = 1;
}

/* One frame. What fails is noted by the writer, and the turn is not committed then. */
static inline void byteor_tx_append(byteor_graph *g, byteor_tx_port *port, const byteor_slot *slot) {
    byteor_journal_writer *w = port->journal;
    uint64_t *position = byteor_tx_word(g, port, BYTEOR_TX_POSITION);
    g->changed = 1;
    if (w->error_number || byteor_journal_append(w, w->base + *position, g->rx_sequence, slot, g->unix_ns) != 0) return;
    (*position)++;
    *byteor_tx_word(g, port, BYTEOR_TX_SEGMENT) = w->segment;
    *byteor_tx_word(g, port, BYTEOR_TX_OFFSET) = w->offset;
}

/* Copy a message into the next slot, which is claimed; one that does not fit is lost. */
static inline void byteor_tx_put(byteor_graph *g, byteor_tx_port *port, const byteor_slot *slot) {
    if (port->journal) {
        byteor_tx_append(g, port, slot);
        return;
    }
    if (slot->length > port->ring->payload_max) {
        byteor_tx_lost(g, port, BYTEOR_TX_OVERSIZE);
        return;
    }
    byteor_slot_write(byteor_tx_next(g, port), slot, slot->length);
    (*byteor_tx_word(g, port, BYTEOR_TX_POSITION))++;
    g->changed = 1;
}

/* Copy the first `count` messages at hand into the next slots, for which there is room; a port that writes a journal takes
 * them one by one. */
static inline void byteor_tx_put_all(byteor_graph *g, byteor_tx_port *port, uint32_t count) {
    const byteor_ring *ring = port->ring;
    uint64_t *position = byteor_tx_word(g, port, BYTEOR_TX_POSITION), next = *position;
    byteor_ring_claim(ring, next + count);
    for (uint32_t i = 0; i < count; i++) {
        const byteor_slot *slot = g->entry[i].slot;
        const uint32_t length = slot->length;
        if (length > ring->payload_max) byteor_tx_lost(g, port, BYTEOR_TX_OVERSIZE);
        else byteor_slot_write(byteor_ring_slot(ring, next++), slot, length);
    }
    *position = next;
    g->changed = 1;
}

/* What was dropped once is dropped again, what was not waits for room. As byteor_tx_offer. */
static inline int byteor_tx_directed(byteor_graph *g, byteor_tx_port *port, const byteor_slot *slot) {
    const byteor_choice *choice = byteor_script_now(&port->script);
    if (choice && choice->kind == BYTEOR_CHOICE_DROP) {
        byteor_tx_lost(g, port, BYTEOR_TX_FULL);
    } else {
        if (!byteor_tx_room(g, port, 1)) return 0;
        byteor_tx_claim(g, port, 1);
        byteor_tx_put(g, port, slot);
    }
    byteor_script_advance(&port->script, 1);
    return 1;
}

/* The same where there may be no room: 0 when a blocking port has none. */
static inline int byteor_tx_offer(byteor_graph *g, byteor_tx_port *port, const byteor_slot *slot) {
    if (port->script.count) return byteor_tx_directed(g, port, slot);
    if (byteor_tx_room(g, port, 1)) {
        byteor_tx_claim(g, port, 1);
        byteor_tx_put(g, port, slot);
        if (port->choices) byteor_choose(port->choices, BYTEOR_CHOICE_KEEP, port->number, 1, 1);
        return 1;
    }
    if (!port->drops) return 0;
    byteor_tx_lost(g, port, BYTEOR_TX_FULL);
    if (port->choices) byteor_choose(port->choices, BYTEOR_CHOICE_DROP, port->number, 1, 1);
    return 1;
}

/* Room that member m may count on in every port that blocks, `wanted` at most; a port that drops takes anything. */
static inline uint64_t byteor_tx_room_all(byteor_graph *g, const byteor_graph_member *gm, uint64_t wanted) {
    for (uint32_t t = 0; t < gm->tx_count; t++) {
        byteor_tx_port *port = &g->tx[gm->tx_first + t];
        if (!port->drops) wanted = byteor_tx_room(g, port, wanted);
    }
    if (gm->dead_letter != BYTEOR_NO_PORT && !g->tx[gm->dead_letter].drops) wanted = byteor_tx_room(g, &g->tx[gm->dead_letter], wanted);
    return wanted;
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

static inline int byteor_tx_room_for_end(byteor_graph *g, const byteor_graph_member *gm, uint64_t slots) {
    for (uint32_t t = 0; t < gm->tx_count; t++)
        if (byteor_tx_room(g, &g->tx[gm->tx_first + t], slots) < slots) return 0;
    return gm->dead_letter == BYTEOR_NO_PORT || byteor_tx_room(g, &g->tx[gm->dead_letter], 1) == 1;
}

static inline void byteor_tx_end(byteor_graph *g, byteor_tx_port *port, uint64_t time_ns) {
    uint64_t *position = byteor_tx_word(g, port, BYTEOR_TX_POSITION);
    byteor_tx_claim(g, port, 1);
    if (!port->journal) byteor_slot_end(byteor_ring_slot(port->ring, *position), time_ns);
    port->end = *position;
    (*position)++;
}

/* Write the end to every port of member m; byteor_tx_room_for_end has said that there is room. */
static inline void byteor_tx_end_all(byteor_unit_runtime *u, uint32_t m, uint64_t time_ns) {
    byteor_graph *g = u->graph;
    const byteor_graph_member *gm = &g->member[m];
    for (uint32_t t = 0; t < gm->tx_count; t++) byteor_tx_end(g, &g->tx[gm->tx_first + t], time_ns);
    if (gm->dead_letter != BYTEOR_NO_PORT) byteor_tx_end(g, &g->tx[gm->dead_letter], time_ns);
    byteor_member_end(u, m);
}

#endif
