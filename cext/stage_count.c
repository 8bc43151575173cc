/* stage_count.c: `count` counts messages, in all and by key, and leaves a JSON object with the
 * figures at the end of the input.
 *
 * At most `keys_max` different keys have a count of their own; messages of further keys are counted
 * as `other`. The summary lists keys by falling count (ties: first seen first), as many as the slot
 * has room for; the rest goes into `other` too.
 */
#include "stage_config.h"
#include "stage_json.h"
#include "stage_table.h"

#define COUNT_KEYS_MAX (1u << 16)
#define SUMMARY_TAIL_BYTES 31u /* `},"other":`, 20 digits, `}` */
#define STATE_BYTES_MAX (UINT64_C(256) << 20)

typedef enum { FORMAT_TEXT, FORMAT_HEX, FORMAT_INTEGER } count_format;

typedef struct count_stage {
    int forward;
    int by_key;
    count_format format;
    int is_signed;
    int big_endian;
    uint32_t offset;
    uint32_t length;
    table shape;
    uint32_t *order; /* scratch of the summary, one index per key */
} count_stage;

typedef struct count_state {
    uint64_t messages;
    uint64_t other;
    uint64_t keys;
} count_state;

static uint64_t count_wanted_bytes(const count_stage *self) {
    return self->by_key ? table_bytes(&self->shape) : sizeof(count_state);
}

static stage_view count_key(const count_stage *self, const byteor_batch *batch, byteor_slot *slot) {
    stage_view key =
        stage_range(byteor_payload(slot), stage_length(batch, slot), self->offset, self->length);
    if (self->format == FORMAT_TEXT) {
        while (key.bytes > 0 &&
               (key.data[key.bytes - 1] == ' ' || key.data[key.bytes - 1] == '\0')) {
            key.bytes--;
        }
    }
    return key;
}

static const char *count_add(byteor_batch *batch, uint64_t *cell) {
    if (byteor_touch(batch, cell, sizeof *cell) != 0) {
        return STAGE_TOUCH_FULL;
    }
    ++*cell;
    return NULL;
}

static const char *count_one_key(const count_stage *self, byteor_batch *batch, byteor_slot *slot) {
    count_state *state = batch->state;
    stage_view key = count_key(self, batch, slot);
    uint32_t hash = (uint32_t)stage_hash(key.data, key.bytes, 0);
    uint32_t index = table_find(&self->shape, state, hash, key);
    if (index == TABLE_NONE) {
        if (state->keys >= self->shape.nodes_max) {
            return count_add(batch, &state->other);
        }
        index = (uint32_t)state->keys;
        const char *error = table_link(&self->shape, batch, index, hash, key);
        error = error == NULL ? count_add(batch, &state->keys) : error;
        if (error != NULL) {
            return error;
        }
    }
    return index == TABLE_BAD ? STAGE_BAD_STATE
                              : count_add(batch, &table_node_at(&self->shape, state, index)->count);
}

static const char *count_batch(const count_stage *self, byteor_batch *batch, uint32_t *index,
                               uint64_t *messages) {
    for (; *index < batch->count; ++*index) {
        byteor_slot *slot = byteor_slot_at(batch, *index);
        if (!byteor_live(slot)) {
            continue;
        }
        const char *error = self->by_key ? count_one_key(self, batch, slot) : NULL;
        if (error != NULL) {
            return error;
        }
        ++*messages;
        if (!self->forward) {
            byteor_drop(slot);
        }
    }
    return NULL;
}

static int count_process(void *self, byteor_batch *batch) {
    const count_stage *me = self;
    count_state *state = batch->state;
    uint32_t index = 0;
    uint64_t messages = 0;
    if (!stage_has_state(batch, count_wanted_bytes(me))) {
        return stage_fail(batch, 0, STAGE_NO_STATE);
    }
    const char *error = count_batch(me, batch, &index, &messages);
    if (error == NULL && messages > 0 &&
        byteor_touch(batch, &state->messages, sizeof state->messages) != 0) {
        error = STAGE_TOUCH_FULL;
    }
    if (error != NULL) {
        return stage_fail(batch, index, error);
    }
    state->messages += messages;
    return BYTEOR_STAGE_OK;
}

/* Whether key `a` comes after key `b` in the summary. */
static int count_after(const count_stage *self, void *state, uint32_t a, uint32_t b) {
    uint64_t count_a = table_node_at(&self->shape, state, a)->count;
    uint64_t count_b = table_node_at(&self->shape, state, b)->count;
    return count_a != count_b ? count_a < count_b : a > b;
}

static void count_sift(const count_stage *self, void *state, uint32_t at, uint32_t count) {
    uint32_t *order = self->order;
    for (uint32_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && count_after(self, state, order[child + 1], order[child])) {
            child++;
        }
        if (!count_after(self, state, order[child], order[at])) {
            return;
        }
        uint32_t index = order[at];
        order[at] = order[child];
        order[child] = index;
        at = child;
    }
}

/* Heap sort: no memory of its own, unlike qsort. */
static void count_sort(const count_stage *self, void *state, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        self->order[i] = i;
    }
    for (uint32_t i = count / 2; i-- > 0;) {
        count_sift(self, state, i, count);
    }
    for (uint32_t left = count; left-- > 1;) {
        uint32_t index = self->order[0];
        self->order[0] = self->order[left];
        self->order[left] = index;
        count_sift(self, state, 0, left);
    }
}

static void count_write_key(const count_stage *self, json_text *out, table_node *node) {
    const uint8_t *key = table_key(node);
    uint32_t bytes = node->key_bytes < self->length ? node->key_bytes : self->length;
    if (self->format == FORMAT_INTEGER && bytes == self->length) {
        json_integer_key(out, key, bytes, self->is_signed, self->big_endian);
    } else if (self->format == FORMAT_TEXT && json_is_utf8(key, bytes)) {
        json_string(out, key, bytes);
    } else {
        json_hex(out, key, bytes);
    }
    json_put(out, ":");
    json_u64(out, node->count);
}

/* Writes the keys that fit, with room for what follows them; returns the sum of the others. */
static uint64_t count_write_keys(const count_stage *self, count_state *state, json_text *out) {
    uint32_t keys = (uint32_t)state->keys;
    uint64_t rest = 0;
    uint32_t i = 0;
    count_sort(self, state, keys);
    for (; i < keys; i++) {
        uint32_t before = out->used;
        json_put(out, i > 0 ? "," : "");
        count_write_key(self, out, table_node_at(&self->shape, state, self->order[i]));
        if (out->used + SUMMARY_TAIL_BYTES > out->room) {
            out->used = before;
            break;
        }
    }
    for (; i < keys; i++) {
        rest += table_node_at(&self->shape, state, self->order[i])->count;
    }
    return rest;
}

static void count_summary(const count_stage *self, count_state *state, json_text *out) {
    json_put(out, "{\"messages\":");
    json_u64(out, state->messages);
    if (self->by_key) {
        json_put(out, ",\"keys\":{");
        uint64_t rest = count_write_keys(self, state, out);
        json_put(out, "},\"other\":");
        json_u64(out, state->other + rest);
    }
    json_put(out, "}");
}

static int count_end(void *self, byteor_batch *batch) {
    const count_stage *me = self;
    count_state *state = batch->state;
    byteor_slot *slot = byteor_slot_at(batch, 0);
    json_text out = {byteor_payload(slot), 0, batch->payload_max};
    if (!stage_has_state(batch, count_wanted_bytes(me))) {
        return stage_fail(batch, 0, STAGE_NO_STATE);
    }
    if (me->by_key && state->keys > me->shape.nodes_max) {
        return stage_fail(batch, 0, STAGE_BAD_STATE);
    }
    count_summary(me, state, &out);
    if (out.used > out.room) { /* small slot, large figures: the total alone always fits */
        count_stage total = {.by_key = 0};
        out.used = 0;
        count_summary(&total, state, &out);
    }
    slot->length = (uint16_t)out.used;
    return BYTEOR_STAGE_OK;
}

static void count_configure_key(stage_config *from, count_stage *self) {
    static const char *const formats[] = {"text", "hex", "integer", NULL};
    static const char *const endians[] = {"little", "big", NULL};
    uint32_t payload_max = from->config->payload_max;
    self->offset = stage_config_u32(from, "offset", 0, 0, payload_max - 1);
    self->length = stage_config_u32(from, "length", 0, 0, payload_max - self->offset);
    if (self->length == 0) {
        self->length = payload_max - self->offset;
    }
    self->format = (count_format)stage_config_choice(from, "format", FORMAT_TEXT, formats);
    self->is_signed = stage_config_bool(from, "signed", 0);
    self->big_endian = stage_config_choice(from, "endian", 0, endians);
    if (self->format == FORMAT_INTEGER &&
        (self->length > 8 || (self->length & (self->length - 1)) != 0)) {
        stage_config_fail(from, "length", stage_config_text(from, "length"),
                          "1, 2, 4 or 8 for an integer");
    }
    self->shape =
        table_of(stage_config_u32(from, "keys_max", 1024, 1, COUNT_KEYS_MAX), self->length);
    if (table_bytes(&self->shape) > STATE_BYTES_MAX) {
        stage_config_fail(from, "keys_max", stage_config_text(from, "keys_max"),
                          "keys that fit into 256 MiB of state");
    }
}

static void count_configure(stage_config *from, count_stage *self) {
    self->forward = stage_config_bool(from, "forward", 0);
    self->by_key = stage_config_text(from, "length") != NULL;
    if (self->by_key) {
        count_configure_key(from, self);
    }
}

static void count_destroy(void *self) {
    count_stage *me = self;
    free(me->order);
    free(me);
}

static void *count_create(const byteor_config *config, char *error, size_t error_bytes) {
    stage_config from = {config, error, error_bytes, 0};
    count_stage *self = calloc(1, sizeof *self);
    if (self == NULL) {
        stage_config_fail(&from, "count", NULL, "memory for the instance");
        return NULL;
    }
    count_configure(&from, self);
    if (!from.failed && self->by_key) {
        self->order = calloc(self->shape.nodes_max, sizeof *self->order);
        if (self->order == NULL) {
            stage_config_fail(&from, "keys_max", stage_config_text(&from, "keys_max"),
                              "keys that there is memory for");
        }
    }
    if (from.failed) {
        count_destroy(self);
        return NULL;
    }
    return self;
}

static uint64_t count_state_bytes(const byteor_config *config, char *error, size_t error_bytes) {
    stage_config from = {config, error, error_bytes, 0};
    count_stage self = {0};
    count_configure(&from, &self);
    return from.failed ? UINT64_MAX : count_wanted_bytes(&self);
}

static void count_declare(const void *self, byteor_stage_vtable *vtable) {
    const count_stage *me = self;
    int small = count_wanted_bytes(me) <= BYTEOR_STATE_DOUBLE_BYTES_MAX;
    vtable->touch_bytes_max = small ? 0 : TABLE_TOUCH_BYTES + me->length;
    vtable->flags = me->forward ? 0 : BYTEOR_STAGE_DROPS;
}

const byteor_builtin byteor_builtin_count = {
    .vtable = {.abi = BYTEOR_STAGE_ABI,
               .struct_bytes = sizeof(byteor_stage_vtable),
               .name = "count",
               .flags = BYTEOR_STAGE_DROPS,
               .state_bytes = count_state_bytes,
               .create = count_create,
               .process = count_process,
               .end = count_end,
               .destroy = count_destroy},
    .declare = count_declare,
};
