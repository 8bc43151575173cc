/* guard_fixed.c: reads messages that are fixed rows: the fields of a schema one after the other,
 * numbers little-endian, texts padded with NUL or spaces. */
#include <inttypes.h>
#include <stdio.h>

#include "guard.h"
#include "stage_json.h"

static int fixed_string(guard_value *value) {
    uint32_t bytes = value->raw.bytes;
    while (bytes > 0 && (value->raw.data[bytes - 1] == 0 || value->raw.data[bytes - 1] == ' ')) {
        bytes--;
    }
    value->text.data = value->raw.data;
    value->text.bytes = bytes;
    return json_is_utf8(value->text.data, bytes) && memchr(value->text.data, 0, bytes) == NULL
               ? 0
               : -1;
}

static void fixed_number(guard_value *value, guard_text *scratch) {
    char made[32];
    int bytes = 0;
    uint64_t word = 0;
    uint32_t first = scratch->used;
    memcpy(&word, value->raw.data, value->raw.bytes);
    if (value->type == GUARD_NUMBER) {
        double wide = 0;
        float narrow = 0;
        memcpy(&narrow, value->raw.data, 4);
        memcpy(&wide, &word, 8);
        bytes = snprintf(made, sizeof made, "%.17g", value->raw.bytes == 4 ? (double)narrow : wide);
    } else {
        unsigned spare = 64 - 8 * value->raw.bytes;
        bytes = snprintf(made, sizeof made, "%" PRId64, (int64_t)(word << spare) >> spare);
    }
    guard_put(scratch, made, (uint32_t)bytes);
    value->text.data = scratch->data + first;
    value->text.bytes = scratch->used - first;
}

static int fixed_value(guard_value *value, guard_text *scratch) {
    value->text = value->raw;
    switch (value->type) {
    case GUARD_STRING:
        return fixed_string(value);
    case GUARD_BOOLEAN:
        value->text.data = (const uint8_t *)(value->raw.data[0] ? "true" : "false");
        value->text.bytes = value->raw.data[0] ? 4 : 5;
        return value->raw.data[0] > 1 ? -1 : 0;
    case GUARD_INTEGER:
    case GUARD_NUMBER:
        fixed_number(value, scratch);
        return 0;
    default:
        return 0;
    }
}

int guard_read_fixed(guard_slice payload, const guard_schema *schema, guard_message *message,
                     guard_text *scratch) {
    message->count = 0;
    if (payload.bytes != schema->row_bytes) {
        return -1;
    }
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const guard_field *field = &schema->field[i];
        guard_pair *pair = &message->pair[i];
        memset(pair, 0, sizeof *pair);
        pair->key.data = (const uint8_t *)field->name;
        pair->key.bytes = field->name_bytes;
        pair->value.type = field->type;
        pair->value.raw.data = payload.data + field->offset;
        pair->value.raw.bytes = field->bytes;
        if (fixed_value(&pair->value, scratch) != 0) {
            return -1;
        }
    }
    message->count = schema->field_count;
    return scratch->full ? -1 : 0;
}
