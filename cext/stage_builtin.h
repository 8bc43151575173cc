/* stage_builtin.h: the built-in stages and what they share. Each is one vtable of the public ABI.
 */
#ifndef BYTEOR_STAGE_BUILTIN_H
#define BYTEOR_STAGE_BUILTIN_H

#include <string.h>

#include "byteor_stage.h"

typedef struct byteor_builtin {
    byteor_stage_vtable vtable; /* what any configuration may do */
    /* Narrows flags and touch_bytes_max of a copy of the vtable to what this instance does. May be
     * NULL. */
    void (*declare)(const void *self, byteor_stage_vtable *vtable);
} byteor_builtin;

extern const byteor_builtin byteor_builtin_count;
extern const byteor_builtin byteor_builtin_crc32c;
extern const byteor_builtin byteor_builtin_dataguard_check;
extern const byteor_builtin byteor_builtin_dataguard_fused;
extern const byteor_builtin byteor_builtin_dataguard_redact;
extern const byteor_builtin byteor_builtin_dedupe;
extern const byteor_builtin byteor_builtin_filter;
extern const byteor_builtin byteor_builtin_identity;
extern const byteor_builtin byteor_builtin_rate_limit;
extern const byteor_builtin byteor_builtin_sample;
extern const byteor_builtin byteor_builtin_select;

extern const byteor_builtin *const byteor_builtins[]; /* by name, ended by NULL */

/* A ring is untrusted input: a length is bounded before it is used. */
static inline uint32_t stage_length(const byteor_batch *batch, const byteor_slot *slot) {
    return slot->length < batch->payload_max ? slot->length : batch->payload_max;
}

/* In `end`: the slot if an earlier stage left a last message in it, else NULL. */
static inline byteor_slot *stage_last_message(const byteor_batch *batch) {
    byteor_slot *slot = byteor_slot_at(batch, 0);
    return slot->length > 0 ? slot : NULL;
}

static inline int stage_fail(byteor_batch *batch, uint32_t index, const char *text) {
    batch->error_index = index;
    batch->error_text = text;
    return BYTEOR_STAGE_ERROR;
}

static inline int stage_has_state(const byteor_batch *batch, uint64_t bytes) {
    return batch->state != NULL && batch->state_bytes >= bytes;
}

#define STAGE_NO_STATE "the state area is missing or smaller than the stage asked for"
#define STAGE_BAD_STATE "the state area holds an index that cannot be: it was damaged"
#define STAGE_TOUCH_FULL "the undo log has no room for the state that this message changes"

/* The bytes of a range of the payload, cut where the payload ends. */
typedef struct stage_view {
    const uint8_t *data;
    uint32_t bytes;
} stage_view;

static inline stage_view stage_range(const uint8_t *payload, uint32_t length, uint32_t offset,
                                     uint32_t bytes) {
    stage_view view = {payload, 0};
    if (offset < length) {
        view.data = payload + offset;
        view.bytes = bytes < length - offset ? bytes : length - offset;
    }
    return view;
}

/* A message spreads over all 64 bits: multiply to 128 bits and fold, word by word. Not for
 * adversaries. */
static inline uint64_t stage_mix(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Up to 7 bytes as one number, by loads that may overlap: different bytes, different numbers (of
 * the same length). */
static inline uint64_t stage_short(const uint8_t *data, uint32_t bytes) {
    uint32_t head = 0;
    uint32_t tail = 0;
    if (bytes >= 4) {
        memcpy(&head, data, 4);
        memcpy(&tail, data + bytes - 4, 4);
        return (uint64_t)head << 32 | tail;
    }
    return bytes == 0 ? 0
                      : (uint64_t)data[0] << 16 | (uint64_t)data[bytes / 2] << 8 | data[bytes - 1];
}

/* memcmp() == 0 without the call, for keys of a few words. */
static inline int stage_equal(const uint8_t *a, const uint8_t *b, uint32_t bytes) {
    uint64_t left = 0;
    uint64_t right = 0;
    for (; bytes >= 8; bytes -= 8, a += 8, b += 8) {
        memcpy(&left, a, 8);
        memcpy(&right, b, 8);
        if (left != right) {
            return 0;
        }
    }
    return stage_short(a, bytes) == stage_short(b, bytes);
}

static inline uint64_t stage_hash(const uint8_t *data, uint32_t bytes, uint64_t seed) {
    uint64_t hash = seed ^ UINT64_C(0x9e3779b97f4a7c15) ^ bytes;
    uint64_t word = 0;
    for (; bytes >= 8; bytes -= 8, data += 8) {
        memcpy(&word, data, 8);
        hash = stage_mix(hash ^ word, UINT64_C(0xd6e8feb86659fd93));
    }
    hash = stage_mix(hash ^ stage_short(data, bytes), UINT64_C(0xa0761d6478bd642f));
    return stage_mix(hash ^ UINT64_C(0xe7037ed1a0b428db), UINT64_C(0x8ebc6af09c88c6e3));
}

#endif
