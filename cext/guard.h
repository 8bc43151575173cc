/* guard.h: what the data protection stages share: a message as fields, a schema, rules.
 *
 * A reader (JSON, MessagePack, fixed row) turns a payload into pairs that point into it; nothing is
 * copied but text with escapes, into the scratch space of the instance. A writer turns the pairs
 * back. Every length is bounded; nothing is allocated after create.
 */
#ifndef BYTEOR_GUARD_H
#define BYTEOR_GUARD_H

#include <stdint.h>
#include <string.h>

#include "guard_sha256.h"

#define GUARD_SCHEMAS_MAX 32u
#define GUARD_FIELDS_MAX 64u /* of one schema: a bit each */
#define GUARD_PAIRS_MAX 128u /* of one message */
#define GUARD_RULES_MAX 32u
#define GUARD_NAME_MAX 64u
#define GUARD_TEXT_MAX 256u
#define GUARD_DEPTH_MAX 32
#define GUARD_NONE UINT32_MAX

enum guard_format { GUARD_JSON = 0, GUARD_MSGPACK = 1, GUARD_FIXED = 2 };

/* What a value is. A schema's field has one of these as its type; GUARD_ANY is for schemas alone.
 */
enum guard_type {
    GUARD_NULL = 0,
    GUARD_BOOLEAN = 1,
    GUARD_INTEGER = 2,
    GUARD_NUMBER = 3,
    GUARD_STRING = 4,
    GUARD_BYTES = 5,
    GUARD_OBJECT = 6,
    GUARD_ARRAY = 7,
    GUARD_ANY = 8
};

typedef struct guard_slice {
    const uint8_t *data;
    uint32_t bytes;
} guard_slice;

/* A value: as it stands in the payload, and as text (strings without quotes and escapes). */
typedef struct guard_value {
    guard_slice raw;
    guard_slice text;
    uint32_t type;
} guard_value;

typedef struct guard_pair {
    guard_slice raw_key; /* as it stands in the payload */
    guard_slice key;
    guard_value value;
    uint32_t field;   /* index in the schema; GUARD_NONE: not there */
    uint32_t rule;    /* GUARD_NONE: none */
    uint32_t dropped; /* by its rule */
} guard_pair;

typedef struct guard_field {
    char name[GUARD_NAME_MAX + 1];
    uint32_t name_bytes;
    uint32_t type;
    uint32_t required;
    uint32_t offset; /* of a fixed row */
    uint32_t bytes;
    uint32_t rule;
} guard_field;

typedef struct guard_schema {
    char message_type[GUARD_NAME_MAX + 1];
    uint32_t type_bytes;
    uint64_t version; /* newest that this schema is for */
    uint64_t minimum; /* oldest */
    uint32_t additional; /* fields that it does not name are let through */
    uint32_t field_count;
    uint32_t row_bytes;
    uint64_t required_bits;
    uint64_t excused_bits; /* fields that are checked no more: a rule acts on them, or did before */
    guard_field field[GUARD_FIELDS_MAX];
} guard_schema;

enum guard_action {
    GUARD_DROP = 0,
    GUARD_REPLACE = 1,
    GUARD_HASH = 2,
    GUARD_MASK = 3,
    GUARD_TRUNCATE = 4
};

typedef struct guard_rule {
    char field[GUARD_NAME_MAX + 1];
    uint32_t field_bytes;
    uint32_t action;
    char text[GUARD_TEXT_MAX + 1]; /* replace_with; the character of mask */
    uint32_t text_bytes;
    uint32_t prefix, suffix; /* mask: characters that stay */
    uint32_t length;         /* truncate: characters that stay */
} guard_rule;

/* Text made on the way: bounded, and once full it stays full. */
typedef struct guard_text {
    uint8_t *data;
    uint32_t used;
    uint32_t room;
    uint32_t full;
} guard_text;

static inline void guard_put(guard_text *out, const void *data, uint32_t bytes) {
    if (out->full || bytes > out->room - out->used) {
        out->full = 1;
        return;
    }
    memcpy(out->data + out->used, data, bytes);
    out->used += bytes;
}

static inline void guard_put_byte(guard_text *out, uint8_t byte) {
    guard_put(out, &byte, 1);
}

typedef struct guard_message {
    guard_pair pair[GUARD_PAIRS_MAX];
    uint32_t count;
} guard_message;

static inline int guard_same(guard_slice slice, const char *text, uint32_t bytes) {
    return slice.bytes == bytes && memcmp(slice.data, text, bytes) == 0;
}

/* Readers. 0, or -1 when the payload is not one whole, well-formed message. Text with escapes is
 * written to `scratch`. */
int guard_read_json(guard_slice payload, guard_message *message, guard_text *scratch);
int guard_read_msgpack(guard_slice payload, guard_message *message, guard_text *scratch);
int guard_read_fixed(guard_slice payload, const guard_schema *schema, guard_message *message,
                     guard_text *scratch);

/* Writers of whole messages from the pairs that are left. */
void guard_write_json(const guard_message *message, guard_text *out);
void guard_write_msgpack(const guard_message *message, guard_text *out);

/* Writers of one value: into `out`, which becomes its raw form. `as` is the type it should have.
 */
void guard_value_json(guard_text *out, guard_slice text, uint32_t as);
void guard_value_msgpack(guard_text *out, guard_slice text, uint32_t as);

/* Bytes of the UTF-8 character at `at`, within `end`; 1 for a byte that begins none. */
static inline uint32_t guard_character(const uint8_t *at, const uint8_t *end) {
    uint32_t bytes = *at < 0x80 ? 1 : *at >= 0xf0 ? 4 : *at >= 0xe0 ? 3 : *at >= 0xc0 ? 2 : 1;
    return bytes <= (uint32_t)(end - at) ? bytes : 1;
}

#endif
