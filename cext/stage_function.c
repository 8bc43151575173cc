/* stage_function.c: calls a compiled function over the batch, and holds it to what its stage
 * declared. */
#include "stage_function.h"

#include "stage_builtin.h"

#include <stdlib.h>

#define CHUNK 1024u

typedef struct function_stage {
    byteor_stage_function *process;
    byteor_stage_function *end;
    uint32_t flags;
    uint64_t state_bytes;
    uint32_t lengths[CHUNK];
    uint8_t keep[CHUNK];
} function_stage;

void *byteor_function_create(byteor_stage_function *process, byteor_stage_function *end,
                             uint32_t flags, uint64_t state_bytes) {
    function_stage *self = calloc(1, sizeof *self);
    if (self != NULL) {
        self->process = process;
        self->end = end;
        self->flags = flags;
        self->state_bytes = state_bytes;
    }
    return self;
}

static const char *function_call(function_stage *self, byteor_stage_function *function,
                                 byteor_batch *batch, uint32_t first, uint32_t count) {
    uint8_t *slots = (uint8_t *)byteor_slot_at(batch, first);
    int64_t outcome = function(slots, count, batch->slot_bytes, batch->payload_max, self->lengths,
                               self->keep, batch->state, (int64_t)self->state_bytes);
    batch->error_index = first;
    if (outcome == STAGE_FUNCTION_OK) {
        return NULL;
    }
    if (outcome == STAGE_FUNCTION_RAISED) {
        return "the compiled function raised an exception in this batch";
    }
    if (outcome < 0 || outcome >= (int64_t)count) {
        return "the compiled function returned a number that is neither -1 nor the index of a "
               "message of its batch";
    }
    batch->error_index = first + (uint32_t)outcome;
    return "the compiled function named this message as being at fault";
}

/* Takes over what the function did to one message, or tells what is wrong with it. */
static inline const char *function_take(const function_stage *self, const byteor_batch *batch,
                                        byteor_slot *slot, uint32_t i) {
    if (self->lengths[i] != slot->length) {
        if ((self->flags & BYTEOR_STAGE_RESIZES) == 0) {
            return "the compiled function changed a length, which the stage does not declare: set "
                   "`resizes = true`";
        }
        if (self->lengths[i] > batch->payload_max) {
            return "the compiled function set a length beyond the room in the slot";
        }
        slot->length = (uint16_t)self->lengths[i];
    }
    if (!self->keep[i]) {
        if ((self->flags & BYTEOR_STAGE_DROPS) == 0) {
            return "the compiled function dropped a message, which the stage does not declare: set "
                   "`drops = true`";
        }
        byteor_drop(slot);
    }
    return NULL;
}

static const char *function_chunk(function_stage *self, byteor_batch *batch, uint32_t first,
                                  uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, first + i);
        self->lengths[i] = stage_length(batch, slot);
        self->keep[i] = byteor_live(slot) ? 1 : 0;
    }
    const char *error = function_call(self, self->process, batch, first, count);
    for (uint32_t i = 0; i < count && error == NULL; i++) {
        byteor_slot *slot = byteor_slot_at(batch, first + i);
        if (byteor_live(slot)) {
            error = function_take(self, batch, slot, i);
            batch->error_index = first + i;
        }
    }
    return error;
}

static int function_process(void *self, byteor_batch *batch) {
    function_stage *me = self;
    if (me->state_bytes > 0 && !stage_has_state(batch, me->state_bytes)) {
        return stage_fail(batch, 0, STAGE_NO_STATE);
    }
    for (uint32_t first = 0; first < batch->count; first += CHUNK) {
        uint32_t left = batch->count - first;
        batch->error_text = function_chunk(me, batch, first, left < CHUNK ? left : CHUNK);
        if (batch->error_text != NULL) {
            return BYTEOR_STAGE_ERROR;
        }
    }
    return BYTEOR_STAGE_OK;
}

/* The length that the function leaves is the last message's; 0 for none. */
static int function_end(void *self, byteor_batch *batch) {
    function_stage *me = self;
    byteor_slot *slot = byteor_slot_at(batch, 0);
    if (me->end == NULL) {
        return BYTEOR_STAGE_OK;
    }
    if (me->state_bytes > 0 && !stage_has_state(batch, me->state_bytes)) {
        return stage_fail(batch, 0, STAGE_NO_STATE);
    }
    me->lengths[0] = stage_length(batch, slot);
    me->keep[0] = 1;
    const char *error = function_call(me, me->end, batch, 0, 1);
    if (error == NULL && me->lengths[0] > batch->payload_max) {
        error = "the compiled end function returned a length beyond the room in the slot";
    }
    if (error != NULL) {
        return stage_fail(batch, 0, error);
    }
    slot->length = (uint16_t)me->lengths[0];
    return BYTEOR_STAGE_OK;
}

const byteor_stage_vtable byteor_function_vtable = {
    .abi = BYTEOR_STAGE_ABI,
    .struct_bytes = sizeof(byteor_stage_vtable),
    .name = "function",
    .process = function_process,
    .end = function_end,
    .destroy = free,
};
