/* graph_harness.h: whole units of a LaneGraph over plain memory, as a worker makes them of a plan.
 *
 * What other processes would see lies in one block, `harness`, which may be shared with child processes: rings, units with
 * their commit records, words and undo areas, roles, state. What a worker keeps to itself is a `unit`, made anew by whoever
 * takes over. */
#ifndef BYTEOR_GRAPH_HARNESS_H
#define BYTEOR_GRAPH_HARNESS_H

#include "graph_build.h"
#include "stress.h"
#include "unit_graph.h"

#define RINGS_MAX 16u
#define UNITS_MAX 12u
#define RING_SLOTS_MAX 64u
#define RING_SLOT_BYTES 128u
#define WORDS_BYTES 2048u
#define LOG_BYTES 32768u
#define STATE_BYTES_MAX 8192u

typedef struct harness_ring {
    byteor_region_header header;
    _Alignas(64) byteor_ring_producer producer;
    byteor_cell cells[4];
    _Alignas(64) uint8_t slots[RING_SLOTS_MAX * RING_SLOT_BYTES];
} harness_ring;

typedef struct harness_unit {
    _Alignas(64) byteor_unit unit;
    _Alignas(64) uint8_t area[WORDS_BYTES + LOG_BYTES];
    _Alignas(64) uint8_t state[BYTEOR_MEMBERS_MAX][STATE_BYTES_MAX];
    byteor_role role[BYTEOR_MEMBERS_MAX];
} harness_unit;

typedef struct harness {
    byteor_run_block run;
    byteor_clock clock;
    harness_ring ring[RINGS_MAX];
    harness_unit unit[UNITS_MAX];
} harness;

typedef struct unit {
    byteor_unit_runtime u;
    harness *shared;
    harness_unit *mine;
    byteor_ring view[RINGS_MAX];
    byteor_source source;
    byteor_sink sink;
    uint32_t words;
} unit;

/* A ring whose first sequence is 0. */
static inline void harness_ring_make(harness *h, uint32_t index, uint64_t capacity, uint32_t cells) {
    harness_ring *memory = &h->ring[index];
    CHECK(capacity <= RING_SLOTS_MAX && cells <= 4, "ring %u", index);
    memory->header.size_a = capacity;
    memory->header.counts[1] = cells;
    memory->producer.end_sequence = BYTEOR_NO_SEQUENCE;
}

/* As after `start` messages: stamps of the lap before, so that a stale one cannot look published. */
static inline void harness_ring_start(harness *h, uint32_t index, uint64_t start) {
    harness_ring *memory = &h->ring[index];
    uint64_t capacity = memory->header.size_a;
    memory->producer.cursor = memory->producer.claimed = start;
    for (uint32_t cell = 0; cell < 4; cell++) memory->cells[cell].sequence = start;
    for (uint64_t i = start; i != start + capacity; i++)
        ((byteor_slot *)(void *)(memory->slots + (i & (capacity - 1)) * RING_SLOT_BYTES))->stamp = (uint32_t)(i + 1 - capacity);
}

static inline byteor_ring harness_ring_view(harness *h, uint32_t index) {
    harness_ring *memory = &h->ring[index];
    return (byteor_ring){.base = (uint8_t *)memory, .slots = memory->slots, .producer = &memory->producer,
                         .cells = memory->cells, .capacity = memory->header.size_a, .mask = memory->header.size_a - 1,
                         .bytes = sizeof *memory, .slot_bytes = RING_SLOT_BYTES, .cell_count = memory->header.counts[1],
                         .payload_max = RING_SLOT_BYTES - BYTEOR_SLOT_HEADER_BYTES, .header = &memory->header};
}

static inline void unit_prepare(unit *w, harness *h, uint32_t index, uint32_t kind, uint32_t batch_max) {
    byteor_unit_runtime *u = &w->u;
    memset(w, 0, sizeof *w);
    w->shared = h;
    w->mine = &h->unit[index];
    for (uint32_t r = 0; r < RINGS_MAX; r++) w->view[r] = harness_ring_view(h, r);
    u->unit = &w->mine->unit;
    u->run = &h->run;
    u->control = (uint8_t *)h;
    u->clock = &h->clock;
    u->kind = kind;
    u->max_batch = batch_max;
    u->looks = 1;
    u->rerunnable = u->skip_failed = 1;
    u->undo_area = w->mine->area;
    u->unit->undo_slot_bytes = WORDS_BYTES;
    u->unit->command = BYTEOR_COMMAND_RUN;
    u->wait.kind = 1;
    u->wait.sleep_ns_max = 50000;
    u->wait.doorbell = &u->unit->parked;
    if (kind != BYTEOR_UNIT_GRAPH) return;
    CHECK((u->graph = byteor_graph_new(WORDS_BYTES / 16, batch_max, RING_SLOT_BYTES, RING_SLOT_BYTES, batch_max * 3)) != NULL, "memory");
    u->graph->shared[0] = (uint64_t *)(void *)w->mine->area;
    u->graph->shared[1] = u->graph->shared[0] + WORDS_BYTES / 16;
}

static inline void unit_free(unit *w) { byteor_graph_free(w->u.graph); }

static inline uint32_t unit_words(unit *w, uint32_t count) {
    w->words += count;
    CHECK(w->words <= WORDS_BYTES / 16, "words of a unit");
    return w->words - count;
}

static inline byteor_graph_member *unit_member(unit *w, uint32_t kind) {
    byteor_unit_runtime *u = &w->u;
    uint32_t m = u->member_count++;
    u->member[m] = (byteor_member){.role = &w->mine->role[m], .kind = kind, .index = m, .cell = -1};
    if (kind == BYTEOR_ROLE_INGRESS) u->source = u->member[m].source = &w->source;
    if (kind == BYTEOR_ROLE_EGRESS) u->sink = u->member[m].sink = &w->sink;
    if (u->graph == NULL) return NULL;
    byteor_graph_member *gm = &u->graph->member[m];
    *gm = (byteor_graph_member){.rx_first = u->graph->rx_count, .tx_first = u->graph->tx_count, .dead_letter = BYTEOR_NO_PORT,
                                .place_word = unit_words(w, 2), .payload_max = RING_SLOT_BYTES - BYTEOR_SLOT_HEADER_BYTES,
                                .outputs_max = 1};
    return gm;
}

/* Of the member that was added last, which is a stage. State above the double-buffered size is logged. */
static inline void unit_stage(unit *w, const byteor_stage_vtable *vtable, void *self, uint64_t state_bytes) {
    byteor_unit_runtime *u = &w->u;
    uint32_t m = u->member_count - 1;
    int large = state_bytes > BYTEOR_STATE_DOUBLE_BYTES_MAX;
    u->member[m].vtable = vtable;
    u->member[m].self = self;
    u->member[m].state_bytes = state_bytes;
    u->member[m].state[0] = w->mine->state[m];
    u->member[m].state[1] = w->mine->state[m] + (large ? 0 : STATE_BYTES_MAX / 2);
    if (large) u->undo_log_bytes = LOG_BYTES;
    if (u->graph) u->graph->member[m].large_state = (uint32_t)large;
}

/* An input of the member that was added last; `cell` -1: lossy. */
static inline byteor_rx_port *unit_rx(unit *w, uint32_t ring, int32_t cell) {
    byteor_graph *g = w->u.graph;
    byteor_rx_port *port = &g->rx[g->rx_count++];
    *port = (byteor_rx_port){.ring = &w->view[ring], .cell = cell, .word = unit_words(w, BYTEOR_PORT_WORDS), .from = BYTEOR_NO_PORT, .monotone = 1};
    for (uint32_t t = 0; t < g->tx_count; t++)
        if (g->tx[t].ring == port->ring) port->from = t;
    g->member[w->u.member_count - 1].rx_count++;
    return port;
}

/* An output of the member that was added last. */
static inline byteor_tx_port *unit_tx(unit *w, uint32_t ring) {
    byteor_graph *g = w->u.graph;
    byteor_tx_port *port = &g->tx[g->tx_count++];
    *port = (byteor_tx_port){.ring = &w->view[ring], .word = unit_words(w, BYTEOR_PORT_WORDS), .cells = w->view[ring].cell_count,
                             .claim_max = (uint32_t)w->view[ring].capacity, .end = BYTEOR_NO_SEQUENCE};
    g->member[w->u.member_count - 1].tx_count++;
    return port;
}

/* The same for messages that it fails on. */
static inline void unit_dead_letter(unit *w, uint32_t ring) {
    byteor_graph_member *gm = &w->u.graph->member[w->u.member_count - 1];
    (void)unit_tx(w, ring);
    gm->tx_count--;
    gm->dead_letter = w->u.graph->tx_count - 1;
}

/* What Python does when it opens adapters: they go on where the record in force says. */
static inline void unit_resume_adapters(unit *w) {
    const byteor_record *record = &w->u.unit->record[w->u.unit->selector & 1u];
    memcpy(w->source.common.position, record->source.position, sizeof record->source.position);
    memcpy(w->sink.common.position, record->sink.position, sizeof record->sink.position);
    w->source.common.wait_fd = w->sink.common.wait_fd = -1;
}

#endif
