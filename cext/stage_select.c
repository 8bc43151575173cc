/* stage_select.c: `select` keeps byte ranges of the payload, in order, and so makes it shorter. */
#include "stage_builtin.h"
#include "stage_config.h"

#define SELECT_RANGES_MAX 64u

typedef struct select_stage {
    uint32_t count;
    uint32_t in_place; /* bytes at the start that stay where they are */
    struct {
        uint32_t offset;
        uint32_t end; /* one past; UINT32_MAX: to the end of the payload */
    } ranges[SELECT_RANGES_MAX];
} select_stage;

/* Ranges ascend and do not overlap, so no byte is overwritten before it has been moved. */
static inline void select_one(const select_stage *self, const byteor_batch *batch,
                              byteor_slot *slot) {
    uint8_t *payload = byteor_payload(slot);
    uint32_t length = stage_length(batch, slot);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < self->count && self->ranges[i].offset < length; i++) {
        uint32_t offset = self->ranges[i].offset;
        uint32_t bytes = (self->ranges[i].end < length ? self->ranges[i].end : length) - offset;
        if (kept != offset) {
            memmove(payload + kept, payload + offset, bytes);
        }
        kept += bytes;
    }
    slot->length = (uint16_t)kept;
}

static int select_process(void *self, byteor_batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        if (byteor_live(slot)) {
            select_one(self, batch, slot);
        }
    }
    return BYTEOR_STAGE_OK;
}

static int select_end(void *self, byteor_batch *batch) {
    byteor_slot *slot = stage_last_message(batch);
    if (slot != NULL) {
        select_one(self, batch, slot);
    }
    return BYTEOR_STAGE_OK;
}

static void select_configure(stage_config *from, select_stage *self) {
    uint32_t payload_max = from->config->payload_max;
    uint32_t after = 0;
    for (uint32_t i = 0; i <= SELECT_RANGES_MAX; i++) {
        char offset_key[32];
        char length_key[32];
        (void)snprintf(offset_key, sizeof offset_key, "ranges.%u.offset", i);
        (void)snprintf(length_key, sizeof length_key, "ranges.%u.length", i);
        if (stage_config_text(from, offset_key) == NULL &&
            stage_config_text(from, length_key) == NULL) {
            break;
        }
        if (i == SELECT_RANGES_MAX || after == UINT32_MAX) {
            stage_config_fail(from, offset_key, NULL,
                              "at most 64 ranges, none after one that goes to the end");
            return;
        }
        uint32_t offset = stage_config_u32(from, offset_key, 0, after, payload_max);
        uint32_t length = stage_config_u32(from, length_key, 0, 0, payload_max - offset);
        after = length == 0 ? UINT32_MAX : offset + length;
        self->ranges[i].offset = offset;
        self->ranges[i].end = after;
        self->in_place = i == 0 && offset == 0 ? after : self->in_place;
        self->count = i + 1;
    }
    if (self->count == 0) {
        stage_config_fail(from, "ranges", NULL, "at least one range with `offset` and `length`");
    }
}

static void *select_create(const byteor_config *config, char *error, size_t error_bytes) {
    stage_config from = {config, error, error_bytes, 0};
    select_stage *self = calloc(1, sizeof *self);
    if (self == NULL) {
        stage_config_fail(&from, "select", NULL, "memory for the instance");
        return NULL;
    }
    select_configure(&from, self);
    if (from.failed) {
        free(self);
        return NULL;
    }
    return self;
}

/* One range at the start only cuts: no payload byte changes. */
static void select_declare(const void *self, byteor_stage_vtable *vtable) {
    const select_stage *me = self;
    if (me->count == 1 && me->in_place > 0) {
        vtable->flags = BYTEOR_STAGE_RESIZES;
    }
}

const byteor_builtin byteor_builtin_select = {
    .vtable = {.abi = BYTEOR_STAGE_ABI,
               .struct_bytes = sizeof(byteor_stage_vtable),
               .name = "select",
               .flags = BYTEOR_STAGE_MUTATES | BYTEOR_STAGE_RESIZES,
               .create = select_create,
               .process = select_process,
               .end = select_end,
               .destroy = free},
    .declare = select_declare,
};
