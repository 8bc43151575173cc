/* stage_dedupe.c: `dedupe` drops a message whose key is among the last N different keys that it let
 * through.
 *
 * Keys are kept whole, so no message is ever lost to a collision. The nodes are a FIFO: the next
 * one to be written is the oldest. A repeated key does not become younger.
 */
#include "stage_config.h"
#include "stage_table.h"

#define DEDUPE_WINDOW_MAX (1u << 20)
#define STATE_BYTES_MAX (UINT64_C(256) << 20)

typedef struct dedupe {
    uint32_t offset;
    uint32_t length;
    table shape;
} dedupe;

typedef struct dedupe_state {
    uint64_t inserted;
} dedupe_state;

static const char *dedupe_insert(const dedupe *self, byteor_batch *batch, uint32_t hash,
                                 stage_view key) {
    dedupe_state *state = batch->state;
    uint32_t index = (uint32_t)(state->inserted % self->shape.nodes_max);
    if (state->inserted >= self->shape.nodes_max) {
        const char *error = table_unlink(&self->shape, batch, index);
        if (error != NULL) {
            return error;
        }
    }
    if (byteor_touch(batch, &state->inserted, sizeof state->inserted) != 0) {
        return STAGE_TOUCH_FULL;
    }
    state->inserted++;
    return table_link(&self->shape, batch, index, hash, key);
}

static const char *dedupe_one(const dedupe *self, byteor_batch *batch, byteor_slot *slot) {
    stage_view key =
        stage_range(byteor_payload(slot), stage_length(batch, slot), self->offset, self->length);
    uint32_t hash = (uint32_t)stage_hash(key.data, key.bytes, 0);
    uint32_t index = table_find(&self->shape, batch->state, hash, key);
    if (index == TABLE_BAD) {
        return STAGE_BAD_STATE;
    }
    if (index == TABLE_NONE) {
        return dedupe_insert(self, batch, hash, key);
    }
    byteor_drop(slot);
    return NULL;
}

static int dedupe_process(void *self, byteor_batch *batch) {
    const dedupe *me = self;
    if (!stage_has_state(batch, table_bytes(&me->shape))) {
        return stage_fail(batch, 0, STAGE_NO_STATE);
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        const char *error = byteor_live(slot) ? dedupe_one(me, batch, slot) : NULL;
        if (error != NULL) {
            return stage_fail(batch, i, error);
        }
    }
    return BYTEOR_STAGE_OK;
}

static void dedupe_configure(stage_config *from, dedupe *self) {
    uint32_t payload_max = from->config->payload_max;
    self->offset = stage_config_u32(from, "offset", 0, 0, payload_max - 1);
    self->length = stage_config_u32(from, "length", 0, 0, payload_max - self->offset);
    if (self->length == 0) {
        self->length = payload_max - self->offset;
    }
    self->shape =
        table_of(stage_config_u32(from, "window", 1024, 1, DEDUPE_WINDOW_MAX), self->length);
    if (table_bytes(&self->shape) > STATE_BYTES_MAX) {
        stage_config_fail(from, "window", stage_config_text(from, "window"),
                          "a window of keys that fits into 256 MiB of state");
    }
}

static void *dedupe_create(const byteor_config *config, char *error, size_t error_bytes) {
    stage_config from = {config, error, error_bytes, 0};
    dedupe *self = calloc(1, sizeof *self);
    if (self == NULL) {
        stage_config_fail(&from, "dedupe", NULL, "memory for the instance");
        return NULL;
    }
    dedupe_configure(&from, self);
    if (from.failed) {
        free(self);
        return NULL;
    }
    return self;
}

static uint64_t dedupe_state_bytes(const byteor_config *config, char *error, size_t error_bytes) {
    stage_config from = {config, error, error_bytes, 0};
    dedupe self = {0};
    dedupe_configure(&from, &self);
    return from.failed ? UINT64_MAX : table_bytes(&self.shape);
}

static void dedupe_declare(const void *self, byteor_stage_vtable *vtable) {
    const dedupe *me = self;
    int small = table_bytes(&me->shape) <= BYTEOR_STATE_DOUBLE_BYTES_MAX;
    vtable->touch_bytes_max = small ? 0 : TABLE_TOUCH_BYTES + me->length;
}

const byteor_builtin byteor_builtin_dedupe = {
    .vtable = {.abi = BYTEOR_STAGE_ABI,
               .struct_bytes = sizeof(byteor_stage_vtable),
               .name = "dedupe",
               .flags = BYTEOR_STAGE_DROPS,
               .state_bytes = dedupe_state_bytes,
               .create = dedupe_create,
               .process = dedupe_process,
               .destroy = free},
    .declare = dedupe_declare,
};
