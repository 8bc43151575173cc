/* graph_rx.h: what a role of a LaneGraph takes from its inputs: which messages, in which order, and how far that brings
 * its progress. Nothing is copied here but what a lossy reader has to copy before it can trust it. */
#ifndef BYTEOR_GRAPH_RX_H
#define BYTEOR_GRAPH_RX_H

#include "graph.h"

static inline uint64_t byteor_rx_end(const byteor_graph *g, const byteor_rx_port *port) {
    if (port->from != BYTEOR_NO_PORT) return g->tx[port->from].end;
    /* Stored before the end slot's stamp and before the cursor: byteor_graph_show. */
    return byteor_load_acquire64(&port->ring->producer->end_sequence);
}

/* Least that the stages before it have released, seen from `position`. */
static inline uint64_t byteor_rx_ahead(const byteor_rx_port *port, uint64_t position) {
    const byteor_ring *ring = port->ring;
    uint64_t least = ring->capacity + 1;
    for (uint32_t d = 0; d < port->depends_count; d++) {
        uint64_t ahead = byteor_load_acquire64(&ring->cells[port->depends[d]].sequence) - position; /* partner: byteor_cell_release */
        if (ahead < least) least = ahead;
    }
    return least > ring->capacity ? 0 : least;
}

/* Messages and end slots that can be looked at from `position` on, `limit` at most. */
static inline uint64_t byteor_rx_ready(const byteor_graph *g, const byteor_rx_port *port, uint64_t position, uint64_t limit) {
    if (port->journal) return byteor_least(byteor_load_acquire64(&port->ring->producer->cursor) - position, limit);
    if (port->from != BYTEOR_NO_PORT) return byteor_least(g->word[g->tx[port->from].word] - position, limit);
    if (port->depends_count) return byteor_least(byteor_rx_ahead(port, position), limit);
    if (port->cell < 0) { /* acquire, partner: the cursor's release store in byteor_ring_publish */
        uint64_t ahead = byteor_load_acquire64(&port->ring->producer->cursor) - position;
        return ahead > port->ring->capacity ? 0 : byteor_least(ahead, limit);
    }
    return byteor_ring_scan(port->ring, position, limit);
}

/* Whether nothing but the end is left at `position`: then the end itself is at hand. */
static inline int byteor_rx_at_end(const byteor_graph *g, const byteor_rx_port *port, uint64_t position) {
    uint64_t end = byteor_rx_end(g, port);
    if (end == BYTEOR_NO_SEQUENCE) return 0;
    if (position == end + 1) return 1;
    if (position != end) return 0;
    if (port->cell < 0) return 1;
    if (!byteor_rx_ready(g, port, position, 1)) return 0;
    return byteor_ring_slot(port->ring, position)->length == 0;
}

/* Move over something that is no message; at the begin of a port's batch only, so that position and count agree. */
static inline void byteor_rx_pass(byteor_graph *g, byteor_rx_port *port, uint32_t count_word, uint64_t count) {
    port->position += count;
    *byteor_rx_word(g, port, BYTEOR_RX_POSITION) = port->position;
    if (count_word) *byteor_rx_word(g, port, count_word) += count;
    g->changed = 1;
}

/* What an input missed once is missed again, as soon as it comes and whatever its role waits for: whoever fills the ring
 * was not held up by it then. */
static inline void byteor_rx_pass_lost(byteor_graph *g, byteor_rx_port *port) {
    if (byteor_losses_ahead(&port->lost, port->position, 1)) return;
    uint64_t count = byteor_rx_ready(g, port, port->position, byteor_losses_here(&port->lost, port->position));
    count = byteor_least(count, byteor_rx_end(g, port) - port->position); /* after the look: see byteor_rx_end */
    if (count) byteor_rx_pass(g, port, BYTEOR_RX_MISSED, count);
}

static inline void byteor_rx_open(byteor_graph *g, byteor_rx_port *port) {
    port->position = *byteor_rx_word(g, port, BYTEOR_RX_POSITION);
    if (g->wants_progress)
        port->progress = port->from != BYTEOR_NO_PORT ? g->tx[port->from].progress
                                                      : byteor_load_acquire64(&port->ring->producer->progress_ns); /* before any look at the ring */
    if (port->lost.count) byteor_rx_pass_lost(g, port);
}

static inline int byteor_rx_nonsense(const byteor_slot *slot, uint32_t payload_max, int is_end) {
    return slot->length > payload_max || (slot->flags & ~(is_end ? BYTEOR_SLOT_END : 0u)) != 0;
}

static inline byteor_entry *byteor_entry_add(byteor_graph *g, byteor_rx_port *port, byteor_slot *slot) {
    byteor_entry *entry = &g->entry[g->entry_count++];
    entry->slot = slot;
    entry->port = (uint32_t)(port - g->rx);
    entry->next = ++port->position;
    return entry;
}

/* --- one port --------------------------------------------------------------------------------------------------- */

/* A lossy reader: what was overwritten before it could be read is missed, exactly counted. */
static inline void byteor_rx_take_lossy(byteor_graph *g, byteor_rx_port *port, uint64_t limit) {
    const byteor_ring *ring = port->ring;
    uint64_t behind = byteor_load_acquire64(&ring->producer->claimed) - port->position;
    if (behind > ring->capacity && behind < (uint64_t)1 << 63) byteor_rx_pass(g, port, BYTEOR_RX_MISSED, behind - ring->capacity);
    uint64_t end = byteor_rx_end(g, port);
    uint64_t count = byteor_least(byteor_rx_ready(g, port, port->position, limit), end - port->position);
    for (uint64_t i = 0; i < count; i++) {
        byteor_slot *copy = byteor_graph_copied(g, g->entry_count);
        const byteor_slot *slot = byteor_ring_slot(ring, port->position);
        byteor_slot_read(copy, slot, ring->payload_max);
        byteor_fence_acquire(); /* partner: byteor_fence_release in byteor_ring_claim */
        if (byteor_load_relaxed64(&ring->producer->claimed) - port->position > ring->capacity) return; /* lapped meanwhile */
        if (copy->length > ring->payload_max || copy->flags) { /* whole, and yet no message */
            if (g->entry_count && g->entry[g->entry_count - 1].port == (uint32_t)(port - g->rx)) return;
            byteor_rx_pass(g, port, BYTEOR_RX_NONSENSE, 1);
            continue;
        }
        byteor_entry_add(g, port, copy);
    }
}

/* Copy the frame at a port's position to `to`: 1. 0: it is not to be had now. -1: it has gone, and `count` others with it,
 * or is longer than any message: `word` counts them. */
static inline int byteor_rx_frame(byteor_graph *g, byteor_rx_port *port, byteor_slot *to, uint32_t *word, uint64_t *count) {
    uint64_t base = *byteor_journal_base(port->ring) - 1u; /* stored before the first frame was committed */
    uint64_t oldest = UINT64_MAX;
    const byteor_journal_frame *frame = byteor_journal_find(port->journal, base + port->position, &oldest);
    if (frame == NULL) {
        *word = BYTEOR_RX_MISSED;
        *count = oldest - (base + port->position);
        return oldest != UINT64_MAX && *count - 1u < (uint64_t)1 << 62 ? -1 : 0;
    }
    uint32_t length = frame->length - 1u;
    if (length + BYTEOR_SLOT_HEADER_BYTES > g->copy_bytes) {
        *word = BYTEOR_RX_NONSENSE;
        *count = 1;
        return -1;
    }
    to->length = (uint16_t)length;
    to->type = frame->type;
    to->flags = 0;
    to->time_ns = frame->time_ns;
    memcpy(byteor_payload(to), frame + 1, length);
    return 1;
}

/* In a replay: what a journal had let go of, although it was there live. */
static inline void byteor_rx_note_gone(const byteor_rx_port *port, uint64_t count) {
    if (port->gone == NULL || count == 0) return;
    if (port->gone[0] == 0) port->gone[1] = port->position;
    port->gone[0] += count;
    port->gone[2] = port->position + count;
}

/* A reader of a journal: frames that retention took before it got there are missed, exactly counted. */
static inline void byteor_rx_take_journal(byteor_graph *g, byteor_rx_port *port, uint64_t limit) {
    uint64_t count = byteor_rx_ready(g, port, port->position, limit), gone;
    count = byteor_least(count, byteor_rx_end(g, port) - port->position); /* after the look: see byteor_rx_end */
    uint32_t first_entry = g->entry_count, word;
    for (uint64_t i = 0; i < count; i++) {
        byteor_slot *copy = byteor_graph_copied(g, g->entry_count);
        int found = byteor_rx_frame(g, port, copy, &word, &gone);
        if (found < 0 && g->entry_count == first_entry) {
            gone = byteor_least(gone, count - i);
            if (word == BYTEOR_RX_MISSED) byteor_rx_note_gone(port, gone);
            byteor_rx_pass(g, port, word, gone);
        }
        if (found <= 0) return;
        byteor_entry_add(g, port, copy);
    }
}

/* As many of `count` messages before the end as are plain ones, without a look at anything else. */
static inline uint64_t byteor_rx_take_plain(byteor_graph *g, byteor_rx_port *port, uint64_t count) {
    const byteor_ring *ring = port->ring;
    const uint64_t first = port->position, payload_max = ring->payload_max, slot_bytes = ring->slot_bytes;
    const uint32_t number = (uint32_t)(port - g->rx);
    byteor_entry *entry = &g->entry[g->entry_count];
    uint64_t position = first, rest = count;
    while (rest) {
        const uint64_t end = position + byteor_least(rest, byteor_ring_contiguous(ring, position)), begin = position;
        uint8_t *at = (uint8_t *)byteor_ring_slot(ring, position);
        for (; position != end; at += slot_bytes, entry++) {
            byteor_slot *slot = (byteor_slot *)(void *)at;
            if (slot->length > payload_max || slot->flags) break;
            *entry = (byteor_entry){slot, number, ++position};
        }
        rest -= position - begin;
        if (position != end) break;
    }
    port->position = position;
    g->entry_count += (uint32_t)(position - first);
    return position - first;
}

static inline void byteor_rx_take(byteor_graph *g, byteor_rx_port *port, uint64_t limit) {
    if (port->lost.count) limit = byteor_losses_ahead(&port->lost, port->position, limit);
    if (limit == 0) return;
    if (port->journal) {
        byteor_rx_take_journal(g, port, limit);
        return;
    }
    if (port->cell < 0) {
        byteor_rx_take_lossy(g, port, limit);
        return;
    }
    uint32_t first = g->entry_count;
    uint64_t count = byteor_rx_ready(g, port, port->position, limit);
    if (count == 0) return;
    uint64_t to_end = byteor_rx_end(g, port) - port->position; /* after the look: see byteor_rx_end */
    for (uint64_t i = byteor_rx_take_plain(g, port, byteor_least(count, to_end)); i < count && i <= to_end; i++) {
        byteor_slot *slot = byteor_ring_slot(port->ring, port->position);
        if (i == to_end && slot->length == 0) return;
        if (port->depends_count && (slot->flags & BYTEOR_SLOT_DROPPED)) { /* by a stage in place */
            if (g->entry_count != first) return;
            byteor_rx_pass(g, port, 0, 1);
            continue;
        }
        if (byteor_rx_nonsense(slot, port->ring->payload_max, i == to_end)) {
            if (g->entry_count != first) return;
            byteor_rx_pass(g, port, BYTEOR_RX_NONSENSE, 1);
            continue;
        }
        byteor_entry_add(g, port, slot);
    }
}

/* --- several ports ---------------------------------------------------------------------------------------------- */

static inline void byteor_take_fair(byteor_graph *g, const byteor_graph_member *gm, uint64_t limit) {
    uint64_t place = gm->rx_count > 1 ? g->word[gm->place_word] : 0;
    for (uint32_t k = 0; k < gm->rx_count; k++)
        byteor_rx_take(g, &g->rx[gm->rx_first + (place + k) % gm->rx_count], limit - g->entry_count);
}

static inline void byteor_take_priority(byteor_graph *g, const byteor_graph_member *gm, uint64_t limit) {
    for (uint32_t k = 0; k < gm->rx_count; k++) byteor_rx_take(g, &g->rx[gm->rx_first + k], limit - g->entry_count);
}

/* The same as byteor_rx_head of a journal: its next frame, copied behind those of the entries. */
static inline int byteor_rx_head_journal(byteor_graph *g, byteor_rx_port *port, byteor_slot **slot, uint64_t *time) {
    uint64_t gone;
    uint32_t word;
    *slot = byteor_graph_copied(g, g->entry_max + (uint32_t)(port - g->rx));
    for (;;) {
        if (byteor_rx_at_end(g, port, port->position)) {
            *time = UINT64_MAX;
            return 0;
        }
        if (!byteor_rx_ready(g, port, port->position, 1)) {
            *time = port->monotone ? port->progress : UINT64_MAX;
            return 0;
        }
        *time = 0;
        if (port->lost.count && !byteor_losses_ahead(&port->lost, port->position, 1)) return 0; /* passed at the begin of the next batch */
        int found = byteor_rx_frame(g, port, *slot, &word, &gone);
        *time = found > 0 ? (*slot)->time_ns : 0;
        if (found > 0) return 1;
        if (found == 0 || port->position != *byteor_rx_word(g, port, BYTEOR_RX_POSITION)) return 0; /* at the begin of the next batch */
        byteor_rx_pass(g, port, word, byteor_least(gone, byteor_rx_end(g, port) - port->position));
    }
}

/* From the inputs that they came from once, in that order; what is not there yet is waited for. */
static inline void byteor_take_directed(byteor_graph *g, byteor_graph_member *gm, uint64_t limit) {
    byteor_script script = gm->take; /* moved on by byteor_accept */
    const byteor_choice *choice;
    while (g->entry_count < limit && (choice = byteor_script_now(&script)) != NULL && choice->source < gm->rx_count) {
        uint32_t before = g->entry_count;
        uint64_t wanted = byteor_least(byteor_script_left(&script), limit - before);
        byteor_rx_port *port = &g->rx[gm->rx_first + choice->source];
        byteor_rx_take(g, port, wanted);
        byteor_script_advance(&script, g->entry_count - before);
        if (g->entry_count - before == wanted) continue;
        if (g->entry_count == 0 && byteor_rx_at_end(g, port, port->position)) gm->take.at = gm->take.count; /* another input than then */
        return;
    }
}

/* The next message of a port with its time: 1; or 0 with the time up to which nothing more will come. */
static inline int byteor_rx_head(byteor_graph *g, byteor_rx_port *port, byteor_slot **slot, uint64_t *time) {
    uint64_t since = *byteor_rx_word(g, port, BYTEOR_RX_POSITION);
    if (port->journal) return byteor_rx_head_journal(g, port, slot, time);
    for (;;) {
        if (byteor_rx_at_end(g, port, port->position)) {
            *time = UINT64_MAX;
            return 0;
        }
        if (!byteor_rx_ready(g, port, port->position, 1)) {
            *time = port->progress;
            if (port->depends_count) /* a stage in place may hold what is next, and of this very time */
                *time = byteor_held_ns(port->ring, port->position, byteor_load_acquire64(&port->ring->producer->cursor), *time + 1) - 1;
            if (!port->monotone) *time = UINT64_MAX; /* what comes in no order is not waited for */
            return 0;
        }
        *slot = byteor_ring_slot(port->ring, port->position);
        int dropped = port->depends_count && ((*slot)->flags & BYTEOR_SLOT_DROPPED);
        int is_end = port->position == byteor_rx_end(g, port);
        if (!dropped && !byteor_rx_nonsense(*slot, port->ring->payload_max, is_end)) {
            *time = (*slot)->time_ns;
            return 1;
        }
        *time = 0;
        if (port->position != since) return 0; /* at the begin of the next batch */
        byteor_rx_pass(g, port, dropped ? 0 : BYTEOR_RX_NONSENSE, 1);
        since = port->position;
    }
}

/* By ingress time, as far as that order is certain; ties go to the port that was named first. A port whose messages do not
 * come in time order is not waited for: nothing could be put in order by that, and who is behind it might never move. */
static inline void byteor_take_ordered(byteor_graph *g, const byteor_graph_member *gm, uint64_t limit) {
    uint64_t time[BYTEOR_PORTS_MAX];
    byteor_slot *slot[BYTEOR_PORTS_MAX];
    int head[BYTEOR_PORTS_MAX];
    for (uint32_t k = 0; k < gm->rx_count; k++) head[k] = byteor_rx_head(g, &g->rx[gm->rx_first + k], &slot[k], &time[k]);
    while (g->entry_count < limit) {
        uint32_t least = gm->rx_count;
        uint64_t quiet = UINT64_MAX;
        for (uint32_t k = 0; k < gm->rx_count; k++) {
            if (!head[k]) quiet = byteor_least(quiet, time[k]);
            else if (least == gm->rx_count || time[k] < time[least]) least = k;
        }
        if (least == gm->rx_count || time[least] > quiet) return;
        byteor_rx_port *port = &g->rx[gm->rx_first + least];
        if (port->journal) { /* its place is taken by the next one */
            byteor_slot *copy = byteor_graph_copied(g, g->entry_count);
            byteor_slot_write(copy, slot[least], slot[least]->length);
            slot[least] = copy;
        }
        byteor_entry_add(g, port, slot[least]);
        head[least] = byteor_rx_head(g, port, &slot[least], &time[least]);
    }
}

/* Messages that may be taken in, where the recorder is waited for. */
static inline uint64_t byteor_lane_limit(const byteor_graph *g, const byteor_graph_member *gm, uint64_t limit) {
    if (gm->lane == NULL) return limit;
    return byteor_tape_limit(gm->lane, limit, g->staging_bytes + (uint32_t)sizeof(byteor_tape_head));
}

/* Collect up to `limit` messages for member m; what is taken is up to byteor_accept. */
static inline void byteor_gather(byteor_unit_runtime *u, uint32_t m, uint64_t limit) {
    byteor_graph *g = u->graph;
    byteor_graph_member *gm = &g->member[m];
    g->entry_count = 0;
    g->failed_payload = NULL;
    for (uint32_t k = 0; k < gm->rx_count; k++) byteor_rx_open(g, &g->rx[gm->rx_first + k]);
    limit = byteor_lane_limit(g, gm, byteor_least(limit, g->entry_max));
    if (limit == 0) g->no_room = 1;
    if (byteor_script_now(&gm->take)) byteor_take_directed(g, gm, limit);
    else if (gm->pick == BYTEOR_PICK_ORDERED) byteor_take_ordered(g, gm, limit);
    else if (gm->pick == BYTEOR_PICK_PRIORITY) byteor_take_priority(g, gm, limit);
    else byteor_take_fair(g, gm, limit);
}

/* What a lossy input, or one from a journal, lost before the messages at hand, and which inputs these come from. */
static inline void byteor_note_picks(byteor_graph *g, const byteor_graph_member *gm, uint32_t first, uint32_t count) {
    for (uint32_t k = 0; k < gm->rx_count; k++) {
        byteor_rx_port *port = &g->rx[gm->rx_first + k];
        uint64_t missed = port->cell < 0 || port->journal ? *byteor_rx_word(g, port, BYTEOR_RX_MISSED) : port->noted;
        byteor_choose(gm->choices, BYTEOR_CHOICE_MISS, k, missed - port->noted, 1);
        port->noted = missed;
    }
    for (uint32_t i = first; i < first + count; i++) byteor_choose(gm->choices, BYTEOR_CHOICE_TAKE, g->entry[i].port - gm->rx_first, 1, 1);
}

/* What came from a client, as it came. */
static inline void byteor_record_lane(byteor_graph *g, byteor_tape *t, uint32_t first, uint32_t count) {
    for (uint32_t i = first; i < first + count; i++) {
        const byteor_entry *entry = &g->entry[i];
        if (!(t->ports >> entry->port & 1u)) continue;
        byteor_tape_messages(t, g->rx[entry->port].ring, (const uint8_t *)entry->slot, 1, t->taken, 0);
        t->taken++;
    }
}

/* Whether what member m takes comes in time order. */
static inline int byteor_takes_in_order(const byteor_graph *g, const byteor_graph_member *gm) {
    return gm->rx_count == 1 && g->rx[gm->rx_first].monotone;
}

/* The first `count` messages at hand are dealt with. */
static inline void byteor_accept(byteor_unit_runtime *u, uint32_t m, uint32_t first, uint32_t count) {
    byteor_graph *g = u->graph;
    const byteor_graph_member *gm = &g->member[m];
    if (count == 0) return;
    if (gm->picks) byteor_note_picks(g, gm, first, count);
    byteor_script_advance(&g->member[m].take, count);
    if (gm->lane) byteor_record_lane(g, gm->lane, first, count);
    for (uint32_t i = gm->rx_count > 1 ? first : first + count - 1; i < first + count; i++) {
        const byteor_entry *entry = &g->entry[i];
        if (i + 1 < first + count && entry[1].port == entry->port) continue; /* the last one of a run says it all */
        byteor_rx_port *port = &g->rx[entry->port];
        *byteor_rx_word(g, port, BYTEOR_RX_POSITION) = entry->next;
        port->taken_ns = entry->slot->time_ns;
    }
    if (gm->rx_count > 1) g->word[gm->place_word] = (g->entry[first + count - 1].port - gm->rx_first + 1) % gm->rx_count;
    g->changed = 1;
}

/* Whether all inputs of member m have ended; then their ends are taken. */
static inline int byteor_inputs_ended(byteor_unit_runtime *u, uint32_t m) {
    byteor_graph *g = u->graph;
    const byteor_graph_member *gm = &g->member[m];
    for (uint32_t k = 0; k < gm->rx_count; k++) {
        const byteor_rx_port *port = &g->rx[gm->rx_first + k];
        if (!byteor_rx_at_end(g, port, *byteor_rx_word(g, port, BYTEOR_RX_POSITION))) return 0;
    }
    return 1;
}

static inline void byteor_take_ends(byteor_unit_runtime *u, uint32_t m) {
    byteor_graph *g = u->graph;
    const byteor_graph_member *gm = &g->member[m];
    for (uint32_t k = 0; k < gm->rx_count; k++) {
        byteor_rx_port *port = &g->rx[gm->rx_first + k];
        uint64_t *position = byteor_rx_word(g, port, BYTEOR_RX_POSITION), end = byteor_rx_end(g, port);
        if (*position != end + 1) g->changed = 1;
        *position = end + 1;
    }
}

/* Time of the end of member m's input: the latest that its ends carry. */
static inline uint64_t byteor_end_time(byteor_unit_runtime *u, uint32_t m) {
    const byteor_graph *g = u->graph;
    const byteor_graph_member *gm = &g->member[m];
    uint64_t latest = 0;
    for (uint32_t k = 0; k < gm->rx_count; k++) {
        const byteor_rx_port *port = &g->rx[gm->rx_first + k];
        uint64_t time = port->journal ? 0 : byteor_ring_slot(port->ring, byteor_rx_end(g, port))->time_ns; /* never overwritten */
        if (time > latest) latest = time;
    }
    return latest ? latest : byteor_now_ns(u->clock);
}

/* What waits in a port whose messages come in time order is not before this; 1 when nothing is known. Slots that may be
 * overwritten, and frames of a journal, are not looked at: what waits there is not before what was taken last. */
static inline uint64_t byteor_waiting_ns(const byteor_rx_port *port, uint64_t position) {
    if (port->cell >= 0) return byteor_ring_slot(port->ring, position)->time_ns;
    return port->taken_ns ? port->taken_ns : 1;
}

/* Everything up to this time is through member m: the least of its inputs', below what still waits in them. */
static inline uint64_t byteor_member_progress(byteor_graph *g, const byteor_graph_member *gm) {
    uint64_t least = UINT64_MAX;
    for (uint32_t k = 0; k < gm->rx_count; k++) {
        const byteor_rx_port *port = &g->rx[gm->rx_first + k];
        uint64_t position = *byteor_rx_word(g, port, BYTEOR_RX_POSITION), bound = port->progress;
        if (byteor_rx_at_end(g, port, position)) continue;
        if (byteor_rx_ready(g, port, position, 1)) {
            bound = port->monotone ? byteor_waiting_ns(port, position) - 1 : 0;
        } else if (port->depends_count) { /* a stage in place may hold what is next */
            const uint64_t cursor = byteor_load_acquire64(&port->ring->producer->cursor);
            if (cursor != position) bound = port->monotone ? byteor_held_ns(port->ring, position, cursor, bound + 1) - 1 : 0;
        }
        least = byteor_least(least, bound);
    }
    return least;
}

static inline void byteor_pass_progress(byteor_unit_runtime *u, uint32_t m) {
    byteor_graph *g = u->graph;
    const byteor_graph_member *gm = &g->member[m];
    if (!g->wants_progress || gm->rx_count == 0) return;
    if (byteor_member_ended(u, m)) return;
    uint64_t progress = byteor_member_progress(g, gm);
    /* All inputs have ended and the end waits for room: who waits for time behind another output must not wait for that. */
    if (progress == UINT64_MAX) progress = byteor_end_time(u, m) - 1;
    for (uint32_t t = 0; t < gm->tx_count; t++)
        if (progress > g->tx[gm->tx_first + t].progress) g->tx[gm->tx_first + t].progress = progress;
    if (gm->dead_letter != BYTEOR_NO_PORT && progress > g->tx[gm->dead_letter].progress) g->tx[gm->dead_letter].progress = progress;
}

#endif
