/* stage_dataguard.c: `dataguard_check`, `dataguard_redact` and `dataguard_fused`, which is both in
 * one pass: it reads a message once. Configuration is `guard_config.h`'s.
 *
 * What it counts is a report in the state area: totals, which are taken back with a batch that is
 * not kept, and what made it fail, which stays. */
#include <stdlib.h>

#include "guard_config.h"
#include "guard_rules.h"

enum guard_count {
    COUNT_SEEN,
    COUNT_ACCEPTED,
    COUNT_REJECTED,
    COUNT_DECODE,
    COUNT_MISSING,
    COUNT_INCOMPATIBLE,
    COUNT_FORWARDED,
    COUNT_DROPPED,
    COUNTS
};

typedef struct guard_report {
    uint64_t failed[COUNTS]; /* by messages that made the stage fail: never taken back */
    uint64_t total[COUNTS];
    uint64_t redacted[GUARD_RULES_MAX];
} guard_report;

_Static_assert(sizeof(guard_report) <= GUARD_STATE_BYTES, "the report fits its state");
_Static_assert(GUARD_STATE_BYTES > BYTEOR_STATE_DOUBLE_BYTES_MAX, "one buffer: failures stay");

typedef struct guard_verdict {
    uint32_t count; /* enum guard_count of what is wrong; COUNT_ACCEPTED: nothing */
    const char *text;
} guard_verdict;

static const char guard_no_schema[] = "the registry has no schema for the message's type";
static const guard_verdict guard_ok = {COUNT_ACCEPTED, NULL};

static inline guard_verdict guard_bad(uint32_t count, const char *text) {
    guard_verdict verdict = {count, text};
    return verdict;
}

static const guard_pair *guard_named(const guard_message *message, const char *name,
                                     uint32_t bytes) {
    for (uint32_t i = 0; i < message->count; i++) {
        if (guard_same(message->pair[i].key, name, bytes)) {
            return &message->pair[i];
        }
    }
    return NULL;
}

/* A version: decimal digits, however the message writes integers. */
static int guard_version(guard_slice text, uint64_t *version) {
    *version = 0;
    if (text.bytes == 0 || text.bytes > 18) {
        return -1;
    }
    for (uint32_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return -1;
        }
        *version = *version * 10 + (text.data[i] - '0');
    }
    return 0;
}

static guard_verdict guard_find_schema(const guard_stage *self, const guard_message *message,
                                       const guard_schema **found) {
    const guard_pair *type = NULL;
    const guard_pair *said = NULL;
    uint64_t version = self->version;
    int known = 0;
    if (self->type_bytes == 0) {
        type = guard_named(message, self->type_field, self->type_field_bytes);
        if (type == NULL || type->value.type != GUARD_STRING) {
            return guard_bad(COUNT_MISSING, "the message does not say its type: no schema for it");
        }
    }
    if (self->version_field_bytes > 0) {
        said = guard_named(message, self->version_field, self->version_field_bytes);
        if (said == NULL || said->value.type != GUARD_INTEGER ||
            guard_version(said->value.text, &version) != 0) {
            return guard_bad(COUNT_INCOMPATIBLE, "the message does not say its schema's version");
        }
    }
    guard_slice name = {(const uint8_t *)self->message_type, self->type_bytes};
    name = type != NULL ? type->value.text : name;
    for (uint32_t i = 0; i < self->schema_count; i++) {
        const guard_schema *schema = &self->schema[i];
        if (!guard_same(name, schema->message_type, schema->type_bytes)) {
            continue;
        }
        if (version >= schema->minimum && version <= schema->version) {
            *found = schema;
            return guard_ok;
        }
        known = 1;
    }
    return known ? guard_bad(COUNT_INCOMPATIBLE,
                             "the registry takes no such version of the message's schema")
                 : guard_bad(COUNT_MISSING, guard_no_schema);
}

static uint32_t guard_rule_of(const guard_stage *self, guard_slice key) {
    for (uint32_t i = 0; i < self->rule_count; i++) {
        if (guard_same(key, self->rule[i].field, self->rule[i].field_bytes)) {
            return i;
        }
    }
    return GUARD_NONE;
}

static uint32_t guard_field_of(const guard_schema *schema, guard_slice key, uint32_t guess) {
    for (uint32_t i = 0; i < schema->field_count; i++) {
        uint32_t at = guess + i < schema->field_count ? guess + i : guess + i - schema->field_count;
        if (guard_same(key, schema->field[at].name, schema->field[at].name_bytes)) {
            return at;
        }
    }
    return GUARD_NONE;
}

/* Which field of the schema each pair is. -1: a name stands twice. */
static int guard_match(const guard_stage *self, const guard_schema *schema, guard_message *message,
                       uint64_t *present) {
    uint32_t guess = 0;
    *present = 0;
    for (uint32_t i = 0; i < message->count; i++) {
        guard_pair *pair = &message->pair[i];
        pair->dropped = 0;
        pair->field = guard_field_of(schema, pair->key, guess);
        if (pair->field != GUARD_NONE) {
            uint64_t bit = (uint64_t)1 << pair->field;
            pair->rule = schema->field[pair->field].rule;
            if (*present & bit) {
                return -1;
            }
            *present |= bit;
            guess = pair->field + 1 < schema->field_count ? pair->field + 1 : 0;
            continue;
        }
        pair->rule = guard_rule_of(self, pair->key);
        for (uint32_t j = 0; j < i; j++) {
            if (message->pair[j].field == GUARD_NONE &&
                guard_same(pair->key, (const char *)message->pair[j].key.data,
                           message->pair[j].key.bytes)) {
                return -1;
            }
        }
    }
    return 0;
}

static int guard_type_fits(const guard_field *field, const guard_value *value) {
    if (field->type == GUARD_ANY || field->type == value->type) {
        return 1;
    }
    if (value->type == GUARD_NULL) {
        return !field->required;
    }
    return field->type == GUARD_NUMBER && value->type == GUARD_INTEGER;
}

static int guard_is_header(const guard_stage *self, guard_slice key) {
    return (self->type_bytes == 0 && guard_same(key, self->type_field, self->type_field_bytes)) ||
           (self->version_field_bytes > 0 &&
            guard_same(key, self->version_field, self->version_field_bytes));
}

static guard_verdict guard_check(const guard_stage *self, const guard_schema *schema,
                                 const guard_message *message, uint64_t present) {
    if ((schema->required_bits & ~present & ~schema->excused_bits) != 0) {
        return guard_bad(COUNT_REJECTED, "a field that the schema requires is missing");
    }
    for (uint32_t i = 0; i < message->count; i++) {
        const guard_pair *pair = &message->pair[i];
        if (pair->field == GUARD_NONE) {
            if (!schema->additional && !guard_is_header(self, pair->key)) {
                return guard_bad(COUNT_REJECTED, "a field that the schema does not have");
            }
        } else if (!(schema->excused_bits >> pair->field & 1) &&
                   !guard_type_fits(&schema->field[pair->field], &pair->value)) {
            return guard_bad(COUNT_REJECTED, "a field is not of the type that the schema says");
        }
    }
    return guard_ok;
}

static guard_slice guard_since(const guard_text *text, uint32_t first) {
    guard_slice slice = {text->data + first, text->used - first};
    return slice;
}

/* The new form of one value. 1: changed, 0: as it was, -1: the rule cannot be applied to it. */
static int guard_apply(guard_stage *self, const guard_schema *schema, guard_pair *pair,
                       uint8_t *row) {
    const guard_rule *rule = &self->rule[pair->rule];
    uint32_t declared =
        pair->field == GUARD_NONE ? (uint32_t)GUARD_STRING : schema->field[pair->field].type;
    uint32_t as = rule->action == GUARD_REPLACE && declared <= GUARD_NUMBER ? declared
                                                                            : (uint32_t)GUARD_STRING;
    uint32_t first = self->scratch.used;
    if (rule->action == GUARD_DROP) {
        pair->dropped = 1;
        if (row != NULL) {
            memset(row + schema->field[pair->field].offset, 0, schema->field[pair->field].bytes);
        }
        return 1;
    }
    int status = guard_new_text(rule, &self->key, &pair->value, &self->scratch);
    guard_slice text = guard_since(&self->scratch, first);
    if (status != 0) {
        return status < 0 ? -1 : 0;
    }
    if (row != NULL) {
        guard_fill(&schema->field[pair->field], text, row);
        return 1;
    }
    first = self->scratch.used;
    if (self->format == GUARD_JSON) {
        guard_value_json(&self->scratch, text, as);
    } else {
        guard_value_msgpack(&self->scratch, text, as);
    }
    pair->value.raw = guard_since(&self->scratch, first);
    return self->scratch.full ? -1 : 1;
}

static guard_verdict guard_redact(guard_stage *self, const guard_schema *schema,
                                  guard_slice payload, guard_report *report) {
    guard_message *message = &self->message;
    uint8_t *row = self->format == GUARD_FIXED ? self->out.data : NULL;
    int changed = 0;
    self->out.used = 0;
    self->out.full = 0;
    if (row != NULL) {
        guard_put(&self->out, payload.data, payload.bytes);
    }
    for (uint32_t i = 0; i < message->count; i++) {
        guard_pair *pair = &message->pair[i];
        if (pair->rule == GUARD_NONE) {
            continue;
        }
        int status = guard_apply(self, schema, pair, row);
        if (status < 0) {
            return guard_bad(COUNT_REJECTED, "a rule cannot be applied to the value it found");
        }
        changed |= status;
        report->redacted[pair->rule] += (uint64_t)status;
    }
    if (!changed) {
        self->out.used = 0;
        return guard_ok;
    }
    if (self->format == GUARD_JSON) {
        guard_write_json(message, &self->out);
    } else if (self->format == GUARD_MSGPACK) {
        guard_write_msgpack(message, &self->out);
    }
    return self->out.full ? guard_bad(COUNT_REJECTED, "redacted, the message fits no slot")
                          : guard_ok;
}

static int guard_read(guard_stage *self, guard_slice payload) {
    self->scratch.used = 0;
    self->scratch.full = 0;
    if (self->format == GUARD_JSON) {
        return guard_read_json(payload, &self->message, &self->scratch);
    }
    if (self->format == GUARD_MSGPACK) {
        return guard_read_msgpack(payload, &self->message, &self->scratch);
    }
    return guard_read_fixed(payload, &self->schema[0], &self->message, &self->scratch);
}

/* What to make of one payload. A redacted one is in `out`, `used` bytes of it; 0: unchanged. */
static guard_verdict guard_one(guard_stage *self, guard_slice payload, guard_report *report) {
    const guard_schema *schema = NULL;
    uint64_t present = 0;
    self->out.used = 0;
    if (guard_read(self, payload) != 0) {
        return guard_bad(COUNT_DECODE, "the payload is not one well-formed message");
    }
    guard_verdict verdict = guard_find_schema(self, &self->message, &schema);
    if (verdict.text != NULL) {
        return verdict;
    }
    if (guard_match(self, schema, &self->message, &present) != 0) {
        return guard_bad(COUNT_DECODE, "a field stands twice in the message");
    }
    if (self->mode & GUARD_CHECKS) {
        verdict = guard_check(self, schema, &self->message, present);
    }
    if (verdict.text == NULL && (self->mode & GUARD_REDACTS)) {
        uint64_t before[GUARD_RULES_MAX];
        memcpy(before, report->redacted, sizeof before);
        verdict = guard_redact(self, schema, payload, report);
        if (verdict.text != NULL) {
            memcpy(report->redacted, before, sizeof before);
        }
    }
    return verdict;
}

enum guard_passing guard_pass(guard_stage *self, guard_slice payload, guard_slice *left) {
    guard_report report;
    memset(&report, 0, sizeof report);
    guard_verdict verdict = guard_one(self, payload, &report);
    *left = payload;
    if (self->out.used > 0) {
        left->data = self->out.data;
        left->bytes = self->out.used;
    }
    if (verdict.text == NULL) {
        return GUARD_PASSED;
    }
    if (verdict.text == guard_no_schema) {
        return GUARD_UNKNOWN;
    }
    return verdict.count == COUNT_DECODE ? GUARD_UNREADABLE : GUARD_REFUSED;
}

static void guard_count_bad(uint64_t *counts, uint32_t what) {
    counts[COUNT_SEEN]++;
    counts[COUNT_REJECTED]++;
    if (what != COUNT_REJECTED) {
        counts[what]++;
    }
}

static int guard_slot(guard_stage *self, byteor_batch *batch, uint32_t index,
                      guard_report *report) {
    byteor_slot *slot = byteor_slot_at(batch, index);
    guard_slice payload = {byteor_payload(slot), stage_length(batch, slot)};
    guard_verdict verdict = guard_one(self, payload, report);
    int is_schema = verdict.count == COUNT_MISSING || verdict.count == COUNT_INCOMPATIBLE;
    if (verdict.text == NULL) {
        report->total[COUNT_SEEN]++;
        report->total[COUNT_ACCEPTED]++;
        report->total[COUNT_FORWARDED]++;
        if (self->out.used > 0) {
            memcpy(byteor_payload(slot), self->out.data, self->out.used);
            slot->length = (uint16_t)self->out.used;
        }
        return BYTEOR_STAGE_OK;
    }
    if (self->drops && !is_schema) {
        guard_count_bad(report->total, verdict.count);
        report->total[COUNT_DROPPED]++;
        byteor_drop(slot);
        return BYTEOR_STAGE_OK;
    }
    guard_count_bad(report->failed, verdict.count);
    return stage_fail(batch, index, verdict.text);
}

static int guard_process(void *instance, byteor_batch *batch) {
    guard_stage *self = instance;
    guard_report *report = batch->state;
    if (!stage_has_state(batch, GUARD_STATE_BYTES)) {
        return stage_fail(batch, 0, STAGE_NO_STATE);
    }
    if (byteor_touch(batch, report->total, GUARD_TOUCH_BYTES) != 0) {
        return stage_fail(batch, 0, STAGE_TOUCH_FULL);
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        if (byteor_live(byteor_slot_at(batch, i)) &&
            guard_slot(self, batch, i, report) != BYTEOR_STAGE_OK) {
            return BYTEOR_STAGE_ERROR;
        }
    }
    return BYTEOR_STAGE_OK;
}

static int guard_end(void *instance, byteor_batch *batch) {
    byteor_slot *slot = stage_last_message(batch);
    if (slot == NULL) {
        return BYTEOR_STAGE_OK;
    }
    slot->flags = 0; /* the last message of an earlier stage is held to the same */
    int outcome = guard_process(instance, batch);
    if (slot->flags & BYTEOR_SLOT_DROPPED) {
        slot->length = 0;
    }
    slot->flags = BYTEOR_SLOT_END;
    return outcome;
}

static uint64_t guard_state_bytes(const byteor_config *config, char *error, size_t error_bytes) {
    (void)config;
    (void)error;
    (void)error_bytes;
    return GUARD_STATE_BYTES;
}

static void guard_declare(const void *instance, byteor_stage_vtable *vtable) {
    const guard_stage *self = instance;
    uint32_t changes = BYTEOR_STAGE_MUTATES;
    changes |= self->format == GUARD_FIXED ? 0 : BYTEOR_STAGE_RESIZES;
    vtable->flags = (self->mode & GUARD_REDACTS ? changes : 0) |
                    (self->drops ? BYTEOR_STAGE_DROPS : 0);
}

static void guard_destroy(void *instance) {
    guard_free(instance);
}

#define GUARD_BUILTIN(suffix, what)                                                              \
    static void *guard_create_##suffix(const byteor_config *config, char *error, size_t bytes) { \
        guard_stage *self = guard_create(config, what, error, bytes);                            \
        return self;                                                                             \
    }                                                                                            \
    const byteor_builtin byteor_builtin_dataguard_##suffix = {                                   \
        .vtable = {.abi = BYTEOR_STAGE_ABI,                                                      \
                   .struct_bytes = sizeof(byteor_stage_vtable),                                  \
                   .name = "dataguard_" #suffix,                                                 \
                   .flags = BYTEOR_STAGE_MUTATES | BYTEOR_STAGE_RESIZES | BYTEOR_STAGE_DROPS,    \
                   .touch_bytes_max = GUARD_TOUCH_BYTES,                                         \
                   .state_bytes = guard_state_bytes,                                             \
                   .create = guard_create_##suffix,                                              \
                   .process = guard_process,                                                     \
                   .end = guard_end,                                                             \
                   .destroy = guard_destroy},                                                    \
        .declare = guard_declare,                                                                \
    };

GUARD_BUILTIN(check, GUARD_CHECKS)
GUARD_BUILTIN(redact, GUARD_REDACTS)
GUARD_BUILTIN(fused, GUARD_CHECKS | GUARD_REDACTS)
