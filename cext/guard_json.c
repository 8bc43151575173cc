/* guard_json.c: reads and writes messages that are one JSON object (RFC 8259, strictly). */
#include "guard.h"
#include "stage_json.h"

typedef struct json_reader {
    const uint8_t *at;
    const uint8_t *end;
    guard_text *scratch;
    int depth;
} json_reader;

static inline void json_blank(json_reader *in) {
    while (in->at < in->end &&
           (*in->at == ' ' || *in->at == '\n' || *in->at == '\r' || *in->at == '\t')) {
        in->at++;
    }
}

#define JSON_ONES UINT64_C(0x0101010101010101)
#define JSON_HIGH UINT64_C(0x8080808080808080)

/* Nonzero when one of 8 bytes ends a run of plain ASCII: a quote, a backslash, a control character
 * or a byte beyond ASCII. The zero-byte test of "Bit Twiddling Hacks", which errs only after a hit.
 */
static inline uint64_t json_special(uint64_t word) {
    uint64_t quote = word ^ (JSON_ONES * '"');
    uint64_t slash = word ^ (JSON_ONES * '\\');
    return (((quote - JSON_ONES) & ~quote) | ((slash - JSON_ONES) & ~slash) |
            (word - JSON_ONES * 0x20) | word) &
           JSON_HIGH;
}

static int json_hex4(const uint8_t *at, uint32_t *value) {
    *value = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t digit = at[i];
        if (digit >= '0' && digit <= '9') {
            digit -= '0';
        } else if ((digit | 32u) >= 'a' && (digit | 32u) <= 'f') {
            digit = (digit | 32u) - 'a' + 10;
        } else {
            return -1;
        }
        *value = *value << 4 | digit;
    }
    return 0;
}

static void json_utf8(guard_text *out, uint32_t point) {
    if (point < 0x80) {
        guard_put_byte(out, (uint8_t)point);
        return;
    }
    if (point < 0x800) {
        guard_put_byte(out, (uint8_t)(0xc0 | point >> 6));
    } else {
        if (point < 0x10000) {
            guard_put_byte(out, (uint8_t)(0xe0 | point >> 12));
        } else {
            guard_put_byte(out, (uint8_t)(0xf0 | point >> 18));
            guard_put_byte(out, (uint8_t)(0x80 | (point >> 12 & 0x3f)));
        }
        guard_put_byte(out, (uint8_t)(0x80 | (point >> 6 & 0x3f)));
    }
    guard_put_byte(out, (uint8_t)(0x80 | (point & 0x3f)));
}

/* `\uXXXX` at `at`, which points behind the u; a pair of surrogates is one character. */
static const uint8_t *json_unicode(const uint8_t *at, const uint8_t *end, guard_text *out) {
    uint32_t point = 0;
    uint32_t low = 0;
    if (end - at < 4 || json_hex4(at, &point) != 0 || (point >= 0xdc00 && point < 0xe000)) {
        return NULL;
    }
    at += 4;
    if (point >= 0xd800 && point < 0xdc00) {
        if (end - at < 6 || at[0] != '\\' || at[1] != 'u' || json_hex4(at + 2, &low) != 0 ||
            low < 0xdc00 || low > 0xdfff) {
            return NULL;
        }
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        at += 6;
    }
    json_utf8(out, point);
    return at;
}

/* Text between the quotes, with escapes resolved into the scratch space. */
static int json_unescape(guard_slice quoted, guard_text *scratch, guard_slice *text) {
    static const char names[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    const uint8_t *at = quoted.data;
    const uint8_t *end = quoted.data + quoted.bytes;
    uint32_t first = scratch->used;
    while (at < end) {
        const uint8_t *slash = memchr(at, '\\', (size_t)(end - at));
        guard_put(scratch, at, (uint32_t)((slash ? slash : end) - at));
        if (slash == NULL) {
            break;
        }
        at = slash + 2;
        if (slash[1] == 'u') {
            at = json_unicode(at, end, scratch);
            if (at == NULL) {
                return -1;
            }
            continue;
        }
        const char *found = slash[1] ? strchr(names, slash[1]) : NULL;
        if (found == NULL) {
            return -1;
        }
        guard_put_byte(scratch, (uint8_t)meant[found - names]);
    }
    text->data = scratch->data + first;
    text->bytes = scratch->used - first;
    return scratch->full ? -1 : 0;
}

/* A string; `raw` with its quotes. */
static int json_read_string(json_reader *in, guard_slice *raw, guard_slice *text) {
    const uint8_t *first = in->at;
    const uint8_t *at = first + 1;
    int escaped = 0;
    int wide = 0;
    for (;; at++) {
        uint64_t word = 0;
        while (in->end - at >= 8) {
            memcpy(&word, at, 8);
            if (json_special(word) != 0) {
                break;
            }
            at += 8;
        }
        while (at < in->end && *at != '"' && *at != '\\' && *at >= 0x20 && *at < 0x80) {
            at++;
        }
        if (at >= in->end || *at < 0x20) {
            return -1;
        }
        if (*at == '"') {
            break;
        }
        wide |= *at >= 0x80;
        if (*at == '\\') {
            escaped = 1;
            at++; /* what follows is looked at when the escapes are resolved */
            if (at >= in->end || *at < 0x20 || *at >= 0x80) {
                return -1;
            }
        }
    }
    raw->data = first;
    raw->bytes = (uint32_t)(at + 1 - first);
    text->data = first + 1;
    text->bytes = raw->bytes - 2;
    in->at = at + 1;
    if (wide && !json_is_utf8(text->data, text->bytes)) {
        return -1;
    }
    return escaped ? json_unescape(*text, in->scratch, text) : 0;
}

static inline const uint8_t *json_digits(const uint8_t *at, const uint8_t *end) {
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    return at;
}

static int json_read_number(json_reader *in, uint32_t *type) {
    const uint8_t *at = in->at + (*in->at == '-');
    const uint8_t *after = json_digits(at, in->end);
    *type = GUARD_INTEGER;
    if (after == at || (*at == '0' && after != at + 1)) {
        return -1;
    }
    if (after < in->end && *after == '.') {
        *type = GUARD_NUMBER;
        at = after + 1;
        after = json_digits(at, in->end);
        if (after == at) {
            return -1;
        }
    }
    if (after < in->end && (*after | 32) == 'e') {
        *type = GUARD_NUMBER;
        at = after + 1;
        at += at < in->end && (*at == '+' || *at == '-');
        after = json_digits(at, in->end);
        if (after == at) {
            return -1;
        }
    }
    in->at = after;
    return 0;
}

static int json_read_word(json_reader *in, const char *word, uint32_t bytes) {
    if ((uint32_t)(in->end - in->at) < bytes || memcmp(in->at, word, bytes) != 0) {
        return -1;
    }
    in->at += bytes;
    return 0;
}

static int json_read_value(json_reader *in, guard_value *value);

/* An object or an array that is only checked and passed over. Its depth is bounded. */
static int json_skip_nested(json_reader *in, uint8_t closing) {
    guard_value value;
    guard_slice raw;
    guard_slice text;
    uint32_t used = in->scratch->used;
    if (++in->depth > GUARD_DEPTH_MAX) {
        return -1;
    }
    in->at++;
    json_blank(in);
    for (int first = 1; in->at < in->end; first = 0) {
        if (*in->at == closing && first) {
            break;
        }
        if (closing == '}') {
            if (*in->at != '"' || json_read_string(in, &raw, &text) != 0) {
                return -1;
            }
            json_blank(in);
            if (json_read_word(in, ":", 1) != 0) {
                return -1;
            }
            json_blank(in);
        }
        if (in->at >= in->end || json_read_value(in, &value) != 0) {
            return -1;
        }
        json_blank(in);
        if (in->at < in->end && *in->at == closing) {
            break;
        }
        if (json_read_word(in, ",", 1) != 0) {
            return -1;
        }
        json_blank(in);
    }
    in->scratch->used = used; /* nobody looks at texts inside */
    in->depth--;
    return in->at < in->end ? json_read_word(in, (const char[]){(char)closing}, 1) : -1;
}

static int json_read_value(json_reader *in, guard_value *value) { // NOLINT(misc-no-recursion)
    const uint8_t *first = in->at;
    int status = -1;
    switch (*first) {
    case '"':
        value->type = GUARD_STRING;
        return json_read_string(in, &value->raw, &value->text);
    case '{':
        value->type = GUARD_OBJECT;
        status = json_skip_nested(in, '}');
        break;
    case '[':
        value->type = GUARD_ARRAY;
        status = json_skip_nested(in, ']');
        break;
    case 't':
        value->type = GUARD_BOOLEAN;
        status = json_read_word(in, "true", 4);
        break;
    case 'f':
        value->type = GUARD_BOOLEAN;
        status = json_read_word(in, "false", 5);
        break;
    case 'n':
        value->type = GUARD_NULL;
        status = json_read_word(in, "null", 4);
        break;
    default:
        status = *first == '-' || (*first >= '0' && *first <= '9')
                     ? json_read_number(in, &value->type)
                     : -1;
    }
    value->raw.data = first;
    value->raw.bytes = (uint32_t)(in->at - first);
    value->text = value->raw;
    return status;
}

static int json_read_pair(json_reader *in, guard_pair *pair) {
    if (in->at >= in->end || *in->at != '"' ||
        json_read_string(in, &pair->raw_key, &pair->key) != 0) {
        return -1;
    }
    json_blank(in);
    if (json_read_word(in, ":", 1) != 0) {
        return -1;
    }
    json_blank(in);
    return in->at < in->end ? json_read_value(in, &pair->value) : -1;
}

int guard_read_json(guard_slice payload, guard_message *message, guard_text *scratch) {
    json_reader in = {payload.data, payload.data + payload.bytes, scratch, 0};
    message->count = 0;
    json_blank(&in);
    if (json_read_word(&in, "{", 1) != 0) {
        return -1;
    }
    json_blank(&in);
    while (message->count > 0 || in.at >= in.end || *in.at != '}') {
        if (message->count == GUARD_PAIRS_MAX ||
            json_read_pair(&in, &message->pair[message->count]) != 0) {
            return -1;
        }
        message->count++;
        json_blank(&in);
        if (in.at < in.end && *in.at == '}') {
            break;
        }
        if (json_read_word(&in, ",", 1) != 0) {
            return -1;
        }
        json_blank(&in);
    }
    in.at++;
    json_blank(&in);
    return in.at == in.end ? 0 : -1;
}

void guard_write_json(const guard_message *message, guard_text *out) {
    uint8_t before = '{';
    for (uint32_t i = 0; i < message->count; i++) {
        const guard_pair *pair = &message->pair[i];
        if (!pair->dropped) {
            guard_put_byte(out, before);
            guard_put(out, pair->raw_key.data, pair->raw_key.bytes);
            guard_put_byte(out, ':');
            guard_put(out, pair->value.raw.data, pair->value.raw.bytes);
            before = ',';
        }
    }
    if (before == '{') {
        guard_put_byte(out, '{');
    }
    guard_put_byte(out, '}');
}

void guard_value_json(guard_text *out, guard_slice text, uint32_t as) {
    static const char hex[] = "0123456789abcdef";
    if (as != GUARD_STRING) {
        guard_put(out, text.data, text.bytes);
        return;
    }
    guard_put_byte(out, '"');
    for (uint32_t i = 0; i < text.bytes; i++) {
        uint8_t byte = text.data[i];
        if (byte < 0x20) {
            guard_put(out, "\\u00", 4);
            guard_put_byte(out, (uint8_t)hex[byte >> 4]);
            guard_put_byte(out, (uint8_t)hex[byte & 15]);
        } else {
            if (byte == '"' || byte == '\\') {
                guard_put_byte(out, '\\');
            }
            guard_put_byte(out, byte);
        }
    }
    guard_put_byte(out, '"');
}
