/* trace.h: one message followed through the stages of a process: what each was given and what it left.
 *
 * The message is told by its ingress time, which it keeps in every lane. Costs a look at one pointer per batch and stage
 * where nothing is traced. */
#ifndef BYTEOR_TRACE_H
#define BYTEOR_TRACE_H

#include <stdint.h>
#include <string.h>

#include "atomics.h"
#include "byteor_stage.h"

enum { BYTEOR_TRACE_BEFORE = 1, BYTEOR_TRACE_AFTER = 2, BYTEOR_TRACE_EMITTED = 3 };

typedef struct byteor_trace_record {
    uint32_t bytes; /* of the record with its payload, padded to 8 */
    uint32_t role;
    uint16_t phase;
    uint16_t length;
    uint8_t type;
    uint8_t flags;
    uint16_t reserved;
    uint64_t sequence; /* as the stage saw it */
} byteor_trace_record;

/* The area, a file: this, then records. */
typedef struct byteor_trace {
    uint64_t time_ns; /* of the message that is followed */
    uint64_t bytes;   /* room for records */
    uint64_t used;
    uint64_t lost; /* records that found no room */
} byteor_trace;

/* Of this process; NULL: nothing is followed. */
static byteor_trace *byteor_tracing;

static inline void byteor_trace_follow(void *area) { byteor_tracing = (byteor_trace *)area; }

static inline void byteor_trace_add(byteor_trace *t, uint32_t role, uint16_t phase, const byteor_slot *slot, uint64_t sequence) {
    const uint64_t bytes = (sizeof(byteor_trace_record) + slot->length + 7u) & ~(uint64_t)7u;
    byteor_trace_record record = {.bytes = (uint32_t)bytes, .role = role, .phase = phase, .length = slot->length,
                                  .type = slot->type, .flags = slot->flags, .sequence = sequence};
    if (bytes > t->bytes - t->used) {
        t->lost++;
        return;
    }
    uint8_t *to = (uint8_t *)(t + 1) + t->used;
    memcpy(to, &record, sizeof record);
    memcpy(to + sizeof record, (const uint8_t *)slot + BYTEOR_SLOT_HEADER_BYTES, slot->length);
    byteor_store_release64(&t->used, t->used + bytes); /* partner: whoever reads the file while the run lives */
}

/* Keep the message of the batch that is followed, if it is in it and has not been dropped before. */
static inline void byteor_trace_batch(byteor_trace *t, uint32_t role, uint16_t phase, const byteor_batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        const byteor_slot *slot = byteor_slot_at(batch, i);
        if (slot->time_ns != t->time_ns || slot->length > batch->payload_max) continue;
        if (phase == BYTEOR_TRACE_BEFORE && (slot->flags & BYTEOR_SLOT_DROPPED)) continue;
        byteor_trace_add(t, role, phase, slot, batch->first_sequence + i);
    }
}

#endif
