/* guard_msgpack.c: reads and writes messages that are one MessagePack map (spec of 2017: extension
 * types are passed over whole, and are of no declared type but `any`). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "guard.h"
#include "stage_json.h"

typedef struct pack_reader {
    const uint8_t *at;
    const uint8_t *end;
    guard_text *scratch;
} pack_reader;

/* Big-endian integer of 1, 2, 4 or 8 bytes. */
static int pack_number(pack_reader *in, uint32_t bytes, uint64_t *value) {
    *value = 0;
    if ((uint64_t)(in->end - in->at) < bytes) {
        return -1;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        *value = *value << 8 | *in->at++;
    }
    return 0;
}

static int pack_take(pack_reader *in, uint64_t bytes, guard_slice *slice) {
    if ((uint64_t)(in->end - in->at) < bytes) {
        return -1;
    }
    slice->data = in->at;
    slice->bytes = (uint32_t)bytes;
    in->at += bytes;
    return 0;
}

/* What stands before a value: its type, and its bytes (strings) or how many things are in it. */
typedef struct pack_head {
    uint32_t type;
    uint64_t size;
    uint64_t word; /* of an integer or a float, as stored */
    uint32_t word_bytes;
    uint32_t is_signed;
} pack_head;

static int pack_sized(pack_reader *in, pack_head *head, uint32_t type, uint32_t bytes) {
    head->type = type;
    return pack_number(in, bytes, &head->size);
}

static int pack_word(pack_reader *in, pack_head *head, uint32_t type, uint32_t bytes) {
    head->type = type;
    head->word_bytes = bytes;
    return pack_number(in, bytes, &head->word);
}

/* Tags from 0xc0 to 0xdf: each group counts up in sizes of length or value. */
static int pack_read_tagged(pack_reader *in, pack_head *head, uint8_t tag) {
    if (tag <= 0xc3) {
        head->type = tag == 0xc0 ? GUARD_NULL : GUARD_BOOLEAN;
        head->word = tag & 1u;
        return tag == 0xc1 ? -1 : 0; /* 0xc1 is never used */
    }
    if (tag <= 0xc6) {
        return pack_sized(in, head, GUARD_BYTES, 1u << (tag - 0xc4));
    }
    if (tag <= 0xc9) {
        int status = pack_sized(in, head, GUARD_ANY, 1u << (tag - 0xc7));
        head->size++; /* the type of the extension */
        return status;
    }
    if (tag <= 0xcb) {
        return pack_word(in, head, GUARD_NUMBER, 4u << (tag - 0xca));
    }
    if (tag <= 0xd3) {
        head->is_signed = tag >= 0xd0;
        return pack_word(in, head, GUARD_INTEGER, 1u << ((tag - 0xcc) & 3));
    }
    if (tag <= 0xd8) {
        head->type = GUARD_ANY;
        head->size = (1u << (tag - 0xd4)) + 1u;
        return 0;
    }
    if (tag <= 0xdb) {
        return pack_sized(in, head, GUARD_STRING, 1u << (tag - 0xd9));
    }
    return pack_sized(in, head, tag <= 0xdd ? GUARD_ARRAY : GUARD_OBJECT, 2u << (tag & 1));
}

static int pack_read_head(pack_reader *in, pack_head *head) {
    memset(head, 0, sizeof *head);
    if (in->at >= in->end) {
        return -1;
    }
    uint8_t tag = *in->at++;
    if (tag <= 0x7f || tag >= 0xe0) {
        head->type = GUARD_INTEGER;
        head->word = tag;
        head->word_bytes = 1;
        head->is_signed = 1;
        return 0;
    }
    if (tag <= 0x9f) {
        head->type = tag <= 0x8f ? GUARD_OBJECT : GUARD_ARRAY;
        head->size = tag & 15u;
        return 0;
    }
    if (tag <= 0xbf) {
        head->type = GUARD_STRING;
        head->size = tag & 31u;
        return 0;
    }
    return pack_read_tagged(in, head, tag);
}

/* The text of an integer or a float. */
static void pack_text(const pack_head *head, guard_text *scratch, guard_slice *text) {
    char made[32];
    int bytes = 0;
    uint32_t first = scratch->used;
    if (head->type == GUARD_NUMBER) {
        double wide = 0;
        float narrow = 0;
        uint32_t low = (uint32_t)head->word;
        memcpy(&narrow, &low, 4);
        memcpy(&wide, &head->word, 8);
        bytes = snprintf(made, sizeof made, "%.17g", head->word_bytes == 4 ? (double)narrow : wide);
    } else if (head->is_signed) {
        unsigned spare = 64 - 8 * head->word_bytes;
        int64_t value = (int64_t)(head->word << spare) >> spare;
        bytes = snprintf(made, sizeof made, "%" PRId64, value);
    } else {
        bytes = snprintf(made, sizeof made, "%" PRIu64, head->word);
    }
    guard_put(scratch, made, (uint32_t)bytes);
    text->data = scratch->data + first;
    text->bytes = scratch->used - first;
}

/* Passes over the things that a map or an array holds: counted, so no recursion is needed. Each
 * thing takes a byte at least, so a count that is larger than what is left is refused. */
static int pack_skip(pack_reader *in, uint64_t things) {
    pack_head head;
    guard_slice skipped;
    for (; things > 0; things--) {
        if (things > (uint64_t)(in->end - in->at) || pack_read_head(in, &head) != 0) {
            return -1;
        }
        if (head.type == GUARD_OBJECT || head.type == GUARD_ARRAY) {
            things += head.size * (head.type == GUARD_OBJECT ? 2 : 1);
        } else if (pack_take(in, head.size, &skipped) != 0) {
            return -1;
        }
    }
    return 0;
}

static int pack_read_value(pack_reader *in, guard_value *value) {
    pack_head head;
    const uint8_t *first = in->at;
    int status = pack_read_head(in, &head);
    if (status != 0) {
        return -1;
    }
    value->type = head.type;
    value->text.data = first;
    value->text.bytes = 0;
    switch (head.type) {
    case GUARD_STRING:
        status = pack_take(in, head.size, &value->text);
        status = status == 0 && json_is_utf8(value->text.data, value->text.bytes) ? 0 : -1;
        break;
    case GUARD_BYTES:
    case GUARD_ANY:
        status = pack_take(in, head.size, &value->text);
        break;
    case GUARD_INTEGER:
    case GUARD_NUMBER:
        pack_text(&head, in->scratch, &value->text);
        break;
    case GUARD_BOOLEAN:
        value->text.data = (const uint8_t *)(head.word ? "true" : "false");
        value->text.bytes = head.word ? 4 : 5;
        break;
    case GUARD_NULL:
        value->text.data = (const uint8_t *)"null";
        value->text.bytes = 4;
        break;
    default:
        status = pack_skip(in, head.size * (head.type == GUARD_OBJECT ? 2 : 1));
        value->text.bytes = (uint32_t)(in->at - first);
    }
    value->raw.data = first;
    value->raw.bytes = (uint32_t)(in->at - first);
    return status;
}

int guard_read_msgpack(guard_slice payload, guard_message *message, guard_text *scratch) {
    pack_reader in = {payload.data, payload.data + payload.bytes, scratch};
    pack_head head;
    guard_value key;
    message->count = 0;
    if (pack_read_head(&in, &head) != 0 || head.type != GUARD_OBJECT ||
        head.size > GUARD_PAIRS_MAX) {
        return -1;
    }
    for (uint32_t i = 0; i < head.size; i++) {
        guard_pair *pair = &message->pair[i];
        if (pack_read_value(&in, &key) != 0 || key.type != GUARD_STRING ||
            pack_read_value(&in, &pair->value) != 0) {
            return -1;
        }
        pair->raw_key = key.raw;
        pair->key = key.text;
    }
    message->count = (uint32_t)head.size;
    return in.at == in.end && !scratch->full ? 0 : -1;
}

static void pack_put_number(guard_text *out, uint64_t value, uint32_t bytes) {
    for (uint32_t i = bytes; i > 0; i--) {
        guard_put_byte(out, (uint8_t)(value >> (8 * (i - 1))));
    }
}

void guard_write_msgpack(const guard_message *message, guard_text *out) {
    uint32_t left = 0;
    for (uint32_t i = 0; i < message->count; i++) {
        left += !message->pair[i].dropped;
    }
    if (left < 16) {
        guard_put_byte(out, (uint8_t)(0x80 | left));
    } else {
        guard_put_byte(out, 0xde);
        pack_put_number(out, left, 2);
    }
    for (uint32_t i = 0; i < message->count; i++) {
        const guard_pair *pair = &message->pair[i];
        if (!pair->dropped) {
            guard_put(out, pair->raw_key.data, pair->raw_key.bytes);
            guard_put(out, pair->value.raw.data, pair->value.raw.bytes);
        }
    }
}

static void pack_put_string(guard_text *out, guard_slice text) {
    if (text.bytes < 32) {
        guard_put_byte(out, (uint8_t)(0xa0 | text.bytes));
    } else if (text.bytes < 256) {
        guard_put_byte(out, 0xd9);
        pack_put_number(out, text.bytes, 1);
    } else {
        guard_put_byte(out, 0xda);
        pack_put_number(out, text.bytes, 2);
    }
    guard_put(out, text.data, text.bytes);
}

/* Texts other than strings come from the configuration, checked and short. */
void guard_value_msgpack(guard_text *out, guard_slice text, uint32_t as) {
    char copy[GUARD_TEXT_MAX + 1] = {0};
    if (as == GUARD_STRING) {
        pack_put_string(out, text);
        return;
    }
    memcpy(copy, text.data, text.bytes < GUARD_TEXT_MAX ? text.bytes : GUARD_TEXT_MAX);
    if (as == GUARD_BOOLEAN) {
        guard_put_byte(out, copy[0] == 't' ? 0xc3 : 0xc2);
    } else if (as == GUARD_INTEGER) {
        guard_put_byte(out, 0xd3);
        pack_put_number(out, (uint64_t)strtoll(copy, NULL, 10), 8);
    } else {
        double value = strtod(copy, NULL);
        uint64_t word = 0;
        memcpy(&word, &value, 8);
        guard_put_byte(out, 0xcb);
        pack_put_number(out, word, 8);
    }
}
