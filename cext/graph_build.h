/* graph_build.h: the private memory of a unit of a LaneGraph, made once before its loop. */
#ifndef BYTEOR_GRAPH_BUILD_H
#define BYTEOR_GRAPH_BUILD_H

#include <stdlib.h>

#include "graph.h"

/* The geometry of slots that lie in no ring, for calls that go by rings[0]. */
static inline void byteor_graph_geometry(byteor_ring *ring, uint8_t *slots, uint32_t slot_bytes) {
    memset(ring, 0, sizeof *ring);
    ring->slots = slots;
    ring->slot_bytes = slot_bytes;
    ring->payload_max = slot_bytes - BYTEOR_SLOT_HEADER_BYTES;
}

static inline void byteor_graph_free(byteor_graph *g) {
    if (g == NULL) return;
    free(g->word);
    free(g->entry);
    free(g->staging);
    free(g->copies);
    free(g->extra);
    free(g->extra_of);
    free(g);
}

/* Empty but for its memory; NULL without memory. `copy_bytes` 0: no port is lossy. `extra_max` 0: one output per input. */
static inline byteor_graph *byteor_graph_new(uint32_t words, uint32_t entries, uint32_t staging_bytes, uint32_t copy_bytes, uint32_t extra_max) {
    byteor_graph *g = (byteor_graph *)calloc(1, sizeof *g);
    if (g == NULL) return NULL;
    g->word_count = words;
    g->entry_max = entries;
    g->staging_bytes = staging_bytes;
    g->copy_bytes = copy_bytes;
    g->extra_max = extra_max;
    g->word = (uint64_t *)calloc(words, sizeof *g->word);
    g->entry = (byteor_entry *)calloc(entries, sizeof *g->entry);
    g->staging = (uint8_t *)calloc(entries, staging_bytes);
    if (copy_bytes) g->copies = (uint8_t *)calloc((size_t)entries + BYTEOR_PORTS_MAX, copy_bytes);
    if (extra_max) {
        g->extra = (uint8_t *)calloc(extra_max, staging_bytes);
        g->extra_of = (uint32_t *)calloc(extra_max, sizeof *g->extra_of);
    }
    if (!g->word || !g->entry || !g->staging || (copy_bytes && !g->copies) || (extra_max && !(g->extra && g->extra_of))) {
        byteor_graph_free(g);
        return NULL;
    }
    byteor_graph_geometry(&g->staging_ring, g->staging, staging_bytes);
    if (copy_bytes) byteor_graph_geometry(&g->copy_ring, g->copies, copy_bytes);
    return g;
}

#endif
