/* stage_sample.c: `sample` keeps the first of every N live messages, or a seeded fraction chosen by
 * sequence or by content. */
#include "stage_builtin.h"
#include "stage_config.h"

#define SAMPLE_WHOLE UINT64_C(1000000000) /* fractions are held in parts of 1e-9 */

typedef struct sample {
    uint64_t every; /* 0: by fraction */
    uint64_t parts;
    uint64_t seed;
    int by_content;
    uint32_t offset;
    uint32_t length;
} sample;

typedef struct sample_state {
    uint64_t to_skip; /* live messages to drop before the next one is kept */
} sample_state;

static void sample_every(const sample *self, byteor_batch *batch, sample_state *state) {
    uint64_t to_skip = state->to_skip;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        if (!byteor_live(slot)) {
            continue;
        }
        if (to_skip == 0) {
            to_skip = self->every;
        } else {
            byteor_drop(slot);
        }
        to_skip--;
    }
    state->to_skip = to_skip;
}

static inline int sample_keeps(const sample *self, uint64_t hash) {
    return (uint64_t)(((unsigned __int128)hash * SAMPLE_WHOLE) >> 64) < self->parts;
}

static void sample_fraction(const sample *self, byteor_batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        uint64_t sequence = batch->first_sequence + i;
        if (!byteor_live(slot)) {
            continue;
        }
        stage_view key = {(const uint8_t *)&sequence, sizeof sequence};
        if (self->by_content) {
            key = stage_range(byteor_payload(slot), stage_length(batch, slot), self->offset,
                              self->length);
        }
        if (!sample_keeps(self, stage_hash(key.data, key.bytes, self->seed))) {
            byteor_drop(slot);
        }
    }
}

static int sample_process(void *self, byteor_batch *batch) {
    const sample *me = self;
    if (me->every == 0) {
        sample_fraction(me, batch);
        return BYTEOR_STAGE_OK;
    }
    if (!stage_has_state(batch, sizeof(sample_state))) {
        return stage_fail(batch, 0, STAGE_NO_STATE);
    }
    sample_every(me, batch, batch->state);
    return BYTEOR_STAGE_OK;
}

/* A decimal fraction from 0 to 1 with at most nine places, in parts of 1e-9: no floating point, the
 * same everywhere. */
static int sample_parse(const char *at, uint64_t *parts) {
    uint64_t unit = SAMPLE_WHOLE;
    if (*at != '0' && *at != '1') {
        return -1;
    }
    *parts = *at++ == '1' ? SAMPLE_WHOLE : 0;
    if (*at == '\0') {
        return 0;
    }
    if (*at++ != '.' || *at == '\0') {
        return -1;
    }
    for (; *at >= '0' && *at <= '9' && unit >= 10; at++) {
        unit /= 10;
        *parts += (uint64_t)(*at - '0') * unit;
    }
    return *at == '\0' && *parts <= SAMPLE_WHOLE ? 0 : -1;
}

static uint64_t sample_parts(stage_config *from) {
    const char *text = stage_config_text(from, "fraction");
    uint64_t parts = 0;
    if (text == NULL || sample_parse(text, &parts) != 0) {
        stage_config_fail(from, "fraction", text, "a decimal from 0 to 1 with at most nine places");
    }
    return parts;
}

static void sample_configure(stage_config *from, sample *self) {
    static const char *const bys[] = {"sequence", "content", NULL};
    uint32_t payload_max = from->config->payload_max;
    self->every = stage_config_u64(from, "every", 0, 1, UINT64_C(1) << 62);
    if (self->every == 0) {
        self->parts = sample_parts(from);
    }
    self->seed = stage_config_u64(from, "seed", 0, 0, UINT64_MAX >> 1);
    self->by_content = stage_config_choice(from, "by", 0, bys);
    self->offset = stage_config_u32(from, "offset", 0, 0, payload_max);
    uint32_t length = stage_config_u32(from, "length", 0, 0, payload_max);
    self->length = length == 0 ? UINT32_MAX : length;
}

static void *sample_create(const byteor_config *config, char *error, size_t error_bytes) {
    stage_config from = {config, error, error_bytes, 0};
    sample *self = calloc(1, sizeof *self);
    if (self == NULL) {
        stage_config_fail(&from, "sample", NULL, "memory for the instance");
        return NULL;
    }
    sample_configure(&from, self);
    if (from.failed) {
        free(self);
        return NULL;
    }
    return self;
}

static uint64_t sample_state_bytes(const byteor_config *config, char *error, size_t error_bytes) {
    stage_config from = {config, error, error_bytes, 0};
    return stage_config_text(&from, "every") != NULL ? sizeof(sample_state) : 0;
}

const byteor_builtin byteor_builtin_sample = {
    .vtable = {.abi = BYTEOR_STAGE_ABI,
               .struct_bytes = sizeof(byteor_stage_vtable),
               .name = "sample",
               .flags = BYTEOR_STAGE_DROPS,
               .state_bytes = sample_state_bytes,
               .create = sample_create,
               .process = sample_process,
               .destroy = free},
};
