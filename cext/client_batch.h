/* client_batch.h: the batch that a consuming client of a ring looks at in place, until it releases it or gives it back. */
#ifndef BYTEOR_CLIENT_BATCH_H
#define BYTEOR_CLIENT_BATCH_H

#include "client_ring.h"

typedef struct byteor_client_batch {
    byteor_batch batch;
    uint8_t *last; /* room for a slot: the end slot that holds a message is shown as a copy, for it stays what it is */
    uint32_t ends; /* the input ends with this batch */
} byteor_client_batch;

/* Let go of what a stage dropped at the position, and of an end that holds no message. */
static inline uint64_t byteor_batch_pass(byteor_client *c, uint64_t count) {
    uint64_t passed = 0;
    for (; passed < count; passed++) {
        const byteor_slot *slot = byteor_ring_slot(&c->ring, c->position + passed);
        if ((slot->flags & BYTEOR_SLOT_END) && slot->length == 0) c->ended = 1;
        else if (!(slot->flags & BYTEOR_SLOT_DROPPED)) break;
    }
    if (passed) byteor_client_release(c, c->position + passed, 0);
    return count - passed;
}

/* Begin a batch of what is at hand, `most` slots at most, the first of them a message; it may be empty. */
static inline void byteor_batch_begin(byteor_client *c, byteor_client_batch *b, uint64_t most) {
    uint64_t count = byteor_batch_pass(c, byteor_client_available(c, most));
    byteor_slot *first = byteor_ring_slot(&c->ring, c->position);
    b->batch = (byteor_batch){.abi = BYTEOR_STAGE_ABI, .slot_bytes = c->ring.slot_bytes, .payload_max = c->ring.payload_max,
                              .first_sequence = c->position, .slots = (uint8_t *)first};
    b->ends = count != 0 && (first->flags & BYTEOR_SLOT_END) != 0;
    if (b->ends) {
        memcpy(b->last, first, c->ring.slot_bytes);
        ((byteor_slot *)(void *)b->last)->flags = 0;
        b->batch.slots = b->last;
        b->batch.count = 1;
        return;
    }
    for (uint64_t i = 0; i < count; i++, b->batch.count++)
        if (byteor_ring_slot(&c->ring, c->position + i)->flags & BYTEOR_SLOT_END) return;
}

/* The batch was dealt with: `live` of its slots were messages. */
static inline void byteor_batch_release(byteor_client *c, byteor_client_batch *b, uint64_t live) {
    if (b->batch.count) byteor_client_release(c, c->position + b->batch.count, live);
    if (b->ends) c->ended = 1;
}

#endif
