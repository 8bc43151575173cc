/* graph_commit.h: commit and recovery of a unit of a LaneGraph.
 *
 * The order of stores is that of unit.h and is the crash contract: outputs into unpublished slots and inactive state, the
 * inactive words and record, the selector (commit point), then stamps and cursors, then cells. */
#ifndef BYTEOR_GRAPH_COMMIT_H
#define BYTEOR_GRAPH_COMMIT_H

#include "graph.h"

/* Take back what was touched since the log held `mark` bytes. */
static inline void byteor_graph_log_undo(byteor_unit_runtime *u, uint64_t mark) {
    uint8_t *log = u->undo_area + u->unit->undo_slot_bytes;
    uint64_t used = u->unit->undo.log_used;
    while (used > mark && used >= sizeof(byteor_undo_log_entry) + 8u && used <= u->undo_log_bytes) {
        uint64_t length;
        byteor_undo_log_entry entry;
        memcpy(&length, log + used - 8u, sizeof length);
        if (length > used - 8u || length < sizeof entry) break;
        used -= length + 8u;
        memcpy(&entry, log + used, sizeof entry);
        if (entry.bytes <= length - sizeof entry) memcpy(u->control + entry.offset, log + used + sizeof entry, entry.bytes);
    }
    byteor_fence_signal();
    byteor_store_relaxed64(&u->unit->undo.log_used, used < mark ? mark : used);
}

static inline void byteor_graph_show_port(byteor_graph *g, byteor_tx_port *port) {
    byteor_ring_producer *producer = port->ring->producer;
    uint64_t position = *byteor_tx_word(g, port, BYTEOR_TX_POSITION);
    uint64_t cursor = byteor_load_relaxed64(&producer->cursor);
    if (cursor == position) return;
    if (port->end != BYTEOR_NO_SEQUENCE) byteor_store_release64(&producer->end_sequence, port->end);
    BYTEOR_KILL_POINT(27);
    if (port->journal) byteor_store_release64(&producer->cursor, position); /* partner: byteor_rx_ready of a reader */
    else byteor_ring_publish(port->ring, cursor, position);
    BYTEOR_KILL_POINT(23);
}

/* Steps 4 and 5 after a commit: what it says, made visible. Idempotent: also the last part of recovery. */
static inline void byteor_graph_show(byteor_unit_runtime *u) {
    byteor_graph *g = u->graph;
    for (uint32_t t = 0; t < g->tx_count; t++) byteor_graph_show_port(g, &g->tx[t]);
    for (uint32_t r = 0; r < g->rx_count; r++) {
        const byteor_rx_port *port = &g->rx[r];
        if (port->cell < 0) continue;
        byteor_cell_release(port->ring, (uint32_t)port->cell, *byteor_rx_word(g, port, BYTEOR_RX_POSITION));
        BYTEOR_KILL_POINT(24);
    }
}

/* After the messages: who sees it sees all messages up to it. */
static inline int byteor_graph_show_progress(byteor_graph *g) {
    int shown = 0;
    if (!g->wants_progress) return 0;
    for (uint32_t t = 0; t < g->tx_count; t++) {
        byteor_ring_producer *producer = g->tx[t].ring->producer;
        if (g->tx[t].progress <= byteor_load_relaxed64(&producer->progress_ns)) continue;
        byteor_store_release64(&producer->progress_ns, g->tx[t].progress);
        shown = 1;
    }
    return shown;
}

static inline void byteor_graph_show_counters(byteor_unit_runtime *u) {
    byteor_graph *g = u->graph;
    for (uint32_t m = 0; m < u->member_count; m++) {
        byteor_role *role = u->member[m].role;
        const byteor_member_count *count = &u->work.member[m];
        const byteor_graph_member *gm = &g->member[m];
        uint64_t published = gm->tx_count ? 0 : count->received - count->dropped - count->skipped;
        for (uint32_t t = 0; t < gm->tx_count; t++) {
            byteor_tx_port *port = &g->tx[gm->tx_first + t];
            published += *byteor_tx_word(g, port, BYTEOR_TX_POSITION) - (port->end != BYTEOR_NO_SEQUENCE);
        }
        byteor_store_relaxed64(&role->received, count->received);
        byteor_store_relaxed64(&role->dropped, count->dropped);
        byteor_store_relaxed64(&role->skipped, count->skipped);
        byteor_store_relaxed64(&role->published, published);
    }
}

static inline uint32_t byteor_port_member(const byteor_graph *g, uint32_t members, uint32_t t) {
    for (uint32_t m = 0; m < members; m++)
        if (t - g->member[m].tx_first < g->member[m].tx_count) return m;
    return 0;
}

/* Journals first: a commit says that their frames are written. 0, or -1 with the failure noted and nothing committed. */
static inline int byteor_graph_flush(byteor_unit_runtime *u) {
    byteor_graph *g = u->graph;
    for (uint32_t t = 0; g->journals && t < g->tx_count; t++) {
        byteor_journal_writer *w = g->tx[t].journal;
        if (w == NULL || byteor_journal_flush(w, byteor_now_ns(u->clock)) == 0) continue;
        byteor_unit_fail(u, byteor_port_member(g, u->member_count, t), BYTEOR_FAILURE_ADAPTER, *byteor_tx_word(g, &g->tx[t], 0), w->error_text);
        return -1;
    }
    return 0;
}

/* What is about to be published to clients, for the recorder. */
static inline void byteor_graph_offer(byteor_graph *g) {
    for (uint32_t t = 0; t < g->tx_count; t++) {
        byteor_tx_port *port = &g->tx[t];
        if (port->offer == NULL) continue;
        uint64_t cursor = byteor_load_relaxed64(&port->ring->producer->cursor);
        byteor_tape_offer(port->offer, port->ring, cursor, *byteor_tx_word(g, port, BYTEOR_TX_POSITION) - cursor);
    }
}

static inline void byteor_graph_publish(byteor_unit_runtime *u) {
    byteor_graph *g = u->graph;
    if (g->journals && byteor_graph_flush(u) != 0) return;
    if (u->capture && u->capture->offers) byteor_graph_offer(g);
    u->work.state_select ^= g->state_changed;
    g->state_changed = 0;
    g->changed = 0;
    byteor_words_store(u);
    BYTEOR_KILL_POINT(25);
    byteor_commit(u);
    byteor_graph_show(u);
    (void)byteor_graph_show_progress(g);
    byteor_wake(u);
    if (g->journals) byteor_graph_show_counters(u); /* else when the turn is over; a batch that was not written is not counted */
    for (uint32_t t = 0; g->journals && t < g->tx_count; t++)
        if (g->tx[t].journal) byteor_journal_retain(g->tx[t].journal, g->unix_ns);
}

/* The frames behind the last committed one are cut: their batch is done again. */
static inline void byteor_graph_resume_journal(byteor_graph *g, byteor_tx_port *port) {
    byteor_journal_writer *w = port->journal;
    uint64_t offset = *byteor_tx_word(g, port, BYTEOR_TX_OFFSET);
    if (offset) (void)byteor_journal_resume(w, *byteor_tx_word(g, port, BYTEOR_TX_SEGMENT), offset); /* an error shows at the next flush */
}

/* Messages that came in by the ports of a lane so far: neither ends nor what was passed over. */
static inline uint64_t byteor_lane_taken(byteor_graph *g, uint64_t ports) {
    uint64_t taken = 0;
    for (uint32_t r = 0; r < g->rx_count; r++) {
        const byteor_rx_port *port = &g->rx[r];
        if (!(ports >> r & 1u)) continue;
        uint64_t position = *byteor_rx_word(g, port, BYTEOR_RX_POSITION), end = byteor_load_acquire64(&port->ring->producer->end_sequence);
        taken += position - (end != BYTEOR_NO_SEQUENCE && position == end + 1);
        taken -= *byteor_rx_word(g, port, BYTEOR_RX_MISSED) + *byteor_rx_word(g, port, BYTEOR_RX_NONSENSE);
    }
    return taken;
}

/* Whether what a role takes next does not follow from the messages alone. */
static inline uint32_t byteor_member_picks(const byteor_graph *g, const byteor_graph_member *gm) {
    uint32_t picks = gm->rx_count > 1 && gm->pick != BYTEOR_PICK_ORDERED;
    for (uint32_t k = 0; k < gm->rx_count; k++) {
        const byteor_rx_port *port = &g->rx[gm->rx_first + k];
        picks |= port->cell < 0 || (gm->rx_count > 1 && !port->monotone); /* not waited for: see byteor_take_ordered */
    }
    return picks;
}

/* The words are read back: which tapes belong to which roles and ports. */
static inline void byteor_graph_recover_capture(byteor_unit_runtime *u) {
    byteor_graph *g = u->graph;
    byteor_capture *c = u->capture;
    if (c == NULL) return;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->tape[i].kind == BYTEOR_TAPE_LANE) c->tape[i].taken = byteor_lane_taken(g, c->tape[i].ports);
    for (uint32_t i = 0; i < c->count; i++)
        for (uint32_t t = 0; t < g->tx_count && c->tape[i].kind == BYTEOR_TAPE_OFFER; t++) {
            if (!(c->tape[i].ports >> t & 1u)) continue;
            g->tx[t].offer = &c->tape[i];
            c->tape[i].taken = *byteor_tx_word(g, &g->tx[t], BYTEOR_TX_POSITION); /* the end slot, if it has come, is the last */
        }
    byteor_recover_capture(u);
    for (uint32_t m = 0; m < u->member_count; m++) {
        byteor_graph_member *gm = &g->member[m];
        gm->lane = c->lane[m];
        gm->choices = c->choices[m];
        gm->picks = gm->choices && byteor_member_picks(g, gm);
        for (uint32_t t = 0; t < gm->tx_count; t++) {
            g->tx[gm->tx_first + t].number = t;
            g->tx[gm->tx_first + t].choices = g->tx[gm->tx_first + t].drops ? gm->choices : NULL;
        }
        if (gm->dead_letter != BYTEOR_NO_PORT) {
            g->tx[gm->dead_letter].number = gm->tx_count;
            g->tx[gm->dead_letter].choices = g->tx[gm->dead_letter].drops ? gm->choices : NULL;
        }
        for (uint32_t k = 0; k < gm->rx_count; k++) g->rx[gm->rx_first + k].noted = *byteor_rx_word(g, &g->rx[gm->rx_first + k], BYTEOR_RX_MISSED);
    }
}

/* A new process takes the unit over: complete what was committed, take back what was not. */
static inline void byteor_graph_recover(byteor_unit_runtime *u) {
    byteor_graph *g = u->graph;
    u->work = u->unit->record[u->unit->selector & 1u];
    u->unit->record[1u - (u->unit->selector & 1u)] = u->work; /* a commit writes only what this unit changes */
    memcpy(g->word, g->shared[u->unit->selector & 1u], g->word_count * sizeof(uint64_t));
    u->word = g->word;
    u->words[0] = g->shared[0];
    u->words[1] = g->shared[1];
    u->word_count = g->word_count;
    if (u->undo_log_bytes && u->unit->undo.valid_for == u->work.commits + 1) byteor_graph_log_undo(u, 0);
    for (uint32_t m = 0; m < u->member_count; m++) {
        const byteor_graph_member *gm = &g->member[m];
        for (uint32_t t = 0; t < gm->tx_count + (gm->dead_letter != BYTEOR_NO_PORT); t++) {
            byteor_tx_port *port = &g->tx[t < gm->tx_count ? gm->tx_first + t : gm->dead_letter];
            port->gate = 0;
            if (port->journal) byteor_graph_resume_journal(g, port);
            port->end = byteor_member_ended(u, m) ? *byteor_tx_word(g, port, BYTEOR_TX_POSITION) - 1 : BYTEOR_NO_SEQUENCE;
            port->progress = byteor_load_relaxed64(&port->ring->producer->progress_ns);
            if (u->source && port->progress > u->work.time_last) u->work.time_last = port->progress;
        }
    }
    byteor_graph_recover_capture(u);
    byteor_graph_show(u);
    byteor_graph_show_counters(u);
}

#endif
