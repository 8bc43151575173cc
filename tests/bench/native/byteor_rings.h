/* byteor_rings.h: rings of 64-byte slots in the bench's arena, without region files. */
#ifndef BYTEOR_BENCH_RINGS_H
#define BYTEOR_BENCH_RINGS_H

#include <string.h>

#include "ring.h"

#define BENCH_SLOT_BYTES 64u
#define BENCH_CAPACITY_MAX 65536u
#define BENCH_CELLS 4u

typedef struct bench_ring_memory {
    _Alignas(4096) byteor_ring_producer producer;
    byteor_cell cells[BENCH_CELLS];
    _Alignas(4096) uint8_t slots[BENCH_CAPACITY_MAX * BENCH_SLOT_BYTES];
} bench_ring_memory;

/* Nothing published, nothing claimed, no end. Also takes every page into this process's cache and page tables. */
static inline void bench_ring_clear(bench_ring_memory *memory) {
    memset(memory, 0, sizeof *memory);
    memory->producer.end_sequence = BYTEOR_NO_SEQUENCE;
}

static inline byteor_ring bench_ring_view(bench_ring_memory *memory, uint64_t capacity, uint32_t cells) {
    byteor_ring ring = {.base = (uint8_t *)memory, .slots = memory->slots, .producer = &memory->producer,
                        .cells = memory->cells, .capacity = capacity, .mask = capacity - 1, .bytes = sizeof *memory,
                        .slot_bytes = BENCH_SLOT_BYTES, .slot_shift = 6, .cell_count = cells,
                        .payload_max = BENCH_SLOT_BYTES - BYTEOR_SLOT_HEADER_BYTES, .header = NULL};
    return ring;
}

#endif
