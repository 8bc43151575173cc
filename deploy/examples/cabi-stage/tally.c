/* tally.c: a stage in C for byteor. Each message is a decimal number; the stage keeps their count
 * and their sum, in shared memory, so that a crash of the worker loses nothing, and leaves both as
 * JSON at the end of the input. What is not a number is dropped, or is an error when `strict` is
 * true.
 *
 * Build it beside the spec, then name it there as cabi:libtally.so:tally:
 *
 *   cc -std=c11 -O2 -shared -fPIC \
 *     -I"$(python3 -c 'import byteord.stages as s; print(s.include_dir())')" -o libtally.so tally.c
 */
#include <byteor_stage.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct tally_stage {
    int strict;
} tally_stage;

/* At most 4096 bytes: byteor keeps two copies and commits one, so it may be written freely. */
typedef struct tally_state {
    uint64_t count;
    uint64_t sum;
} tally_state;

static uint64_t tally_state_bytes(const byteor_config *config, char *error, size_t error_bytes) {
    (void)config;
    (void)error;
    (void)error_bytes;
    return sizeof(tally_state);
}

static void *tally_create(const byteor_config *config, char *error, size_t error_bytes) {
    int strict = 0;
    for (size_t i = 0; i < config->count; i++) {
        const byteor_config_item *item = &config->items[i];
        if (strcmp(item->key, "strict") != 0) {
            (void)snprintf(error, error_bytes, "unknown key `%s`: wanted `strict`", item->key);
            return NULL;
        }
        strict = strcmp(item->value, "true") == 0;
    }
    tally_stage *self = malloc(sizeof *self);
    if (self == NULL) {
        (void)snprintf(error, error_bytes, "no memory");
        return NULL;
    }
    self->strict = strict;
    return self;
}

/* 0, or -1 when the payload is not a decimal number. */
static int tally_parse(const uint8_t *payload, uint32_t length, uint64_t *value) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < length; i++) {
        if (payload[i] < '0' || payload[i] > '9') {
            return -1;
        }
        sum = sum * 10 + (uint64_t)(payload[i] - '0');
    }
    *value = sum;
    return length == 0 ? -1 : 0;
}

static int tally_process(void *self, byteor_batch *batch) {
    const tally_stage *me = self;
    tally_state *state = batch->state;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        uint64_t value = 0;
        if (!byteor_live(slot)) {
            continue;
        }
        if (tally_parse(byteor_payload(slot), slot->length, &value) == 0) {
            state->count++;
            state->sum += value;
        } else if (me->strict) {
            batch->error_index = i;
            batch->error_text = "the message is not a decimal number";
            return BYTEOR_STAGE_ERROR;
        } else {
            byteor_drop(slot);
        }
    }
    return BYTEOR_STAGE_OK;
}

/* Leaves the last message of the input. */
static int tally_end(void *self, byteor_batch *batch) {
    const tally_state *state = batch->state;
    byteor_slot *slot = byteor_slot_at(batch, 0);
    (void)self;
    int length =
        snprintf((char *)byteor_payload(slot), batch->payload_max, "{\"count\":%llu,\"sum\":%llu}",
                 (unsigned long long)state->count, (unsigned long long)state->sum);
    if (length < 0 || (uint32_t)length >= batch->payload_max) {
        batch->error_text = "the slot is too small for the figures: raise slot_bytes";
        return BYTEOR_STAGE_ERROR;
    }
    slot->length = (uint16_t)length;
    return BYTEOR_STAGE_OK;
}

const byteor_stage_vtable tally = {
    .abi = BYTEOR_STAGE_ABI,
    .struct_bytes = sizeof(byteor_stage_vtable),
    .name = "tally",
    .flags = BYTEOR_STAGE_DROPS,
    .state_bytes = tally_state_bytes,
    .create = tally_create,
    .process = tally_process,
    .end = tally_end,
    .destroy = free,
};
