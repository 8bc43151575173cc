/* stage_function.h: a stage made of a compiled function (of Numba, say) that gets the batch as
 * plain arrays. */
#ifndef BYTEOR_STAGE_FUNCTION_H
#define BYTEOR_STAGE_FUNCTION_H

#include "byteor_stage.h"

#define STAGE_FUNCTION_OK INT64_C(-1)
#define STAGE_FUNCTION_RAISED INT64_C(-2)

/* The first slot, how many, the distance between them, most payload bytes, then one length and one
 * keep flag per slot, and the state area. Returns STAGE_FUNCTION_OK, STAGE_FUNCTION_RAISED or the
 * index of the message at fault. */
typedef int64_t byteor_stage_function(uint8_t *slots, int64_t count, int64_t slot_bytes,
                                      int64_t payload_max, uint32_t *lengths, uint8_t *keep,
                                      uint8_t *state, int64_t state_bytes);

extern const byteor_stage_vtable byteor_function_vtable;

/* An instance for byteor_function_vtable, NULL without memory. `end` may be NULL: it gets the end
 * slot alone, keep 1. */
void *byteor_function_create(byteor_stage_function *process, byteor_stage_function *end,
                             uint32_t flags, uint64_t state_bytes);

#endif
