/* guard_config.c: reads the compiled configuration of a data protection stage. */
#include "guard_config.h"

#include <stdarg.h>

#define KEY_BYTES 64

static const char *const format_names[] = {"json", "msgpack", "fixed", NULL};
static const char *const reject_names[] = {"fail", "drop", NULL};
static const char *const action_names[] = {"drop", "replace_with", "hash", "mask", "truncate", NULL};
static const char *const type_names[] = {"null",  "boolean", "integer", "number", "string",
                                         "bytes", "object",  "array",   "any",    NULL};

typedef char key_text[KEY_BYTES];

__attribute__((format(printf, 2, 3))) static const char *name_key(key_text key, const char *form,
                                                                   ...) {
    va_list values;
    va_start(values, form);
    (void)vsnprintf(key, KEY_BYTES, form, values);
    va_end(values);
    return key;
}

/* A text of at most `max` bytes, ended by NUL in `out`, which has one byte more. */
static uint32_t read_text(stage_config *from, const char *key, char *out, size_t max) {
    const char *text = stage_config_text(from, key);
    size_t bytes = text == NULL ? 0 : strlen(text);
    if (bytes > max) {
        stage_config_fail(from, key, NULL, "a shorter text");
        bytes = 0;
    }
    memcpy(out, text == NULL ? "" : text, bytes);
    out[bytes] = '\0';
    return (uint32_t)bytes;
}

static void read_rule(stage_config *from, guard_stage *self, uint32_t index) {
    key_text key;
    guard_rule *rule = &self->rule[index];
    rule->field_bytes =
        read_text(from, name_key(key, "rules.%u.field", index), rule->field, GUARD_NAME_MAX);
    rule->action =
        (uint32_t)stage_config_choice(from, name_key(key, "rules.%u.action", index), 0, action_names);
    rule->text_bytes =
        read_text(from, name_key(key, "rules.%u.text", index), rule->text, GUARD_TEXT_MAX);
    rule->prefix = stage_config_u32(from, name_key(key, "rules.%u.prefix", index), 0, 0, 65535);
    rule->suffix = stage_config_u32(from, name_key(key, "rules.%u.suffix", index), 0, 0, 65535);
    rule->length = stage_config_u32(from, name_key(key, "rules.%u.length", index), 0, 0, 65535);
}

static void read_field(stage_config *from, guard_stage *self, uint32_t of, uint32_t index) {
    key_text key;
    guard_schema *schema = &self->schema[of];
    guard_field *field = &schema->field[index];
    field->name_bytes = read_text(from, name_key(key, "schemas.%u.fields.%u.name", of, index),
                                  field->name, GUARD_NAME_MAX);
    field->type = (uint32_t)stage_config_choice(
        from, name_key(key, "schemas.%u.fields.%u.type", of, index), GUARD_ANY, type_names);
    field->required = (uint32_t)stage_config_bool(
        from, name_key(key, "schemas.%u.fields.%u.required", of, index), 0);
    field->bytes = stage_config_u32(from, name_key(key, "schemas.%u.fields.%u.bytes", of, index), 0,
                                    0, 65535);
    field->offset = schema->row_bytes;
    schema->row_bytes += field->bytes;
    schema->required_bits |= field->required ? (uint64_t)1 << index : 0;
    for (uint32_t i = 0; i < self->excused_count; i++) {
        guard_slice name = {(const uint8_t *)field->name, field->name_bytes};
        if (guard_same(name, self->excused[i], (uint32_t)strlen(self->excused[i]))) {
            schema->excused_bits |= (uint64_t)1 << index;
        }
    }
    field->rule = GUARD_NONE;
    for (uint32_t i = 0; i < self->rule_count; i++) {
        guard_slice name = {(const uint8_t *)field->name, field->name_bytes};
        if (guard_same(name, self->rule[i].field, self->rule[i].field_bytes)) {
            field->rule = i;
        }
    }
}

static void read_schema(stage_config *from, guard_stage *self, uint32_t index) {
    key_text key;
    guard_schema *schema = &self->schema[index];
    schema->type_bytes = read_text(from, name_key(key, "schemas.%u.message_type", index),
                                   schema->message_type, GUARD_NAME_MAX);
    schema->version =
        stage_config_u64(from, name_key(key, "schemas.%u.version", index), 1, 0, INT64_MAX);
    schema->minimum =
        stage_config_u64(from, name_key(key, "schemas.%u.minimum", index), 1, 0, INT64_MAX);
    schema->additional =
        (uint32_t)stage_config_bool(from, name_key(key, "schemas.%u.additional", index), 0);
    for (uint32_t i = 0; i < GUARD_FIELDS_MAX; i++) {
        if (stage_config_text(from, name_key(key, "schemas.%u.fields.%u.name", index, i)) == NULL) {
            break;
        }
        read_field(from, self, index, i);
        schema->field_count = i + 1;
    }
}

static void read_key(stage_config *from, guard_stage *self) {
    static const uint8_t none[1] = {0};
    uint8_t secret[GUARD_KEY_MAX];
    size_t bytes = 0;
    const char *text = stage_config_text(from, "hash_key");
    for (; text != NULL && text[0] != '\0' && text[1] != '\0' && bytes < GUARD_KEY_MAX; text += 2) {
        int high = stage_hex_digit(text[0]);
        int low = stage_hex_digit(text[1]);
        if (high < 0 || low < 0) {
            break;
        }
        secret[bytes++] = (uint8_t)(high * 16 + low);
    }
    for (uint32_t i = 0; i < self->rule_count; i++) {
        if (self->rule[i].action == GUARD_HASH && bytes == 0) {
            stage_config_fail(from, "hash_key", NULL, "the key that `hash` rules need");
        }
    }
    guard_key_set(&self->key, bytes > 0 ? secret : none, bytes);
    explicit_bzero(secret, sizeof secret);
}

static void read_all(stage_config *from, guard_stage *self) {
    key_text key;
    self->format = (uint32_t)stage_config_choice(from, "format", 0, format_names);
    self->drops = (uint32_t)stage_config_choice(from, "on_reject", 0, reject_names);
    self->type_bytes = read_text(from, "message_type", self->message_type, GUARD_NAME_MAX);
    self->type_field_bytes = read_text(from, "type_field", self->type_field, GUARD_NAME_MAX);
    self->version_field_bytes =
        read_text(from, "version_field", self->version_field, GUARD_NAME_MAX);
    self->version = stage_config_u64(from, "version", 1, 0, INT64_MAX);
    for (; self->mode & GUARD_REDACTS && self->rule_count < GUARD_RULES_MAX; self->rule_count++) {
        if (stage_config_text(from, name_key(key, "rules.%u.field", self->rule_count)) == NULL) {
            break;
        }
        read_rule(from, self, self->rule_count);
    }
    for (; self->mode & GUARD_SHOWS && self->excused_count < GUARD_EXCUSED_MAX;
         self->excused_count++) {
        name_key(key, "excused.%u", self->excused_count);
        if (stage_config_text(from, key) == NULL) {
            break;
        }
        (void)read_text(from, key, self->excused[self->excused_count], GUARD_NAME_MAX);
    }
    for (; self->schema_count < GUARD_SCHEMAS_MAX; self->schema_count++) {
        if (stage_config_text(from, name_key(key, "schemas.%u.message_type", self->schema_count)) ==
            NULL) {
            break;
        }
        read_schema(from, self, self->schema_count);
    }
    if (self->schema_count == 0 || (self->format == GUARD_FIXED && self->schema_count != 1)) {
        stage_config_fail(from, "schemas", NULL,
                          "a schema from the registry (fixed rows: exactly one)");
    }
    read_key(from, self);
}

guard_stage *guard_create(const byteor_config *config, uint32_t mode, char *error,
                          size_t error_bytes) {
    stage_config from = {config, error, error_bytes, 0};
    guard_stage *self = calloc(1, sizeof *self);
    uint32_t room = 16 * config->payload_max + (64u << 10);
    if (self != NULL) {
        self->mode = mode;
        self->scratch.data = malloc(room);
        self->scratch.room = room;
        self->out.data = malloc(config->payload_max);
        self->out.room = config->payload_max;
    }
    if (self == NULL || self->scratch.data == NULL || self->out.data == NULL) {
        stage_config_fail(&from, "dataguard", NULL, "memory for the instance");
    } else {
        read_all(&from, self);
    }
    if (!from.failed) {
        return self;
    }
    guard_free(self);
    return NULL;
}

void guard_free(guard_stage *self) {
    if (self != NULL) {
        explicit_bzero(&self->key, sizeof self->key);
        free(self->scratch.data);
        free(self->out.data);
        free(self);
    }
}
