/* stage_json.h: writes JSON into a bounded buffer, for the summary of `count`. What does not fit
 * only makes `used` exceed `room`; nothing is written beyond it. Not on the hot path.
 */
#ifndef BYTEOR_STAGE_JSON_H
#define BYTEOR_STAGE_JSON_H

#include <stdint.h>
#include <string.h>

typedef struct json_text {
    uint8_t *data;
    uint32_t used;
    uint32_t room;
} json_text;

static inline void json_byte(json_text *out, uint8_t byte) {
    if (out->used < out->room) {
        out->data[out->used] = byte;
    }
    out->used++;
}

static inline void json_put(json_text *out, const char *text) {
    for (; *text != '\0'; text++) {
        json_byte(out, (uint8_t)*text);
    }
}

static inline void json_u64(json_text *out, uint64_t value) {
    char digits[21];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    json_put(out, digits + at);
}

static inline void json_hex_byte(json_text *out, uint8_t byte) {
    json_byte(out, (uint8_t)"0123456789abcdef"[byte >> 4]);
    json_byte(out, (uint8_t)"0123456789abcdef"[byte & 15]);
}

/* The string `hex:` and pairs of hex digits: what configuration takes back. */
static inline void json_hex(json_text *out, const uint8_t *data, uint32_t bytes) {
    json_put(out, "\"hex:");
    for (uint32_t i = 0; i < bytes; i++) {
        json_hex_byte(out, data[i]);
    }
    json_put(out, "\"");
}

/* A string of bytes that are UTF-8: quote, backslash and control characters escaped. */
static inline void json_string(json_text *out, const uint8_t *data, uint32_t bytes) {
    json_put(out, "\"");
    for (uint32_t i = 0; i < bytes; i++) {
        if (data[i] < 0x20) {
            json_put(out, "\\u00");
            json_hex_byte(out, data[i]);
        } else {
            json_put(out, data[i] == '"' || data[i] == '\\' ? "\\" : "");
            json_byte(out, data[i]);
        }
    }
    json_put(out, "\"");
}

/* An integer as the string that a JSON key has to be. */
static inline void json_integer_key(json_text *out, const uint8_t *data, uint32_t bytes,
                                    int is_signed, int big_endian) {
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        value = value << 8 | data[big_endian ? i : bytes - 1 - i];
    }
    int negative = is_signed && (value >> (8 * bytes - 1) & 1) != 0;
    if (negative) {
        value = (uint64_t)0 - value;
        value = bytes == 8 ? value : value & ((UINT64_C(1) << (8 * bytes)) - 1);
    }
    json_put(out, negative ? "\"-" : "\"");
    json_u64(out, value);
    json_put(out, "\"");
}

/* Bytes after the first of a UTF-8 sequence that starts with `lead`, and the least code point it
 * may stand for; -1: no lead. */
static inline int json_utf8_more(uint8_t lead, uint32_t *least) {
    if (lead < 0x80) {
        *least = 0;
        return 0;
    }
    if (lead >= 0xc2 && lead < 0xe0) {
        *least = 0x80;
        return 1;
    }
    if (lead >= 0xe0 && lead < 0xf0) {
        *least = 0x800;
        return 2;
    }
    *least = 0x10000;
    return lead >= 0xf0 && lead < 0xf5 ? 3 : -1;
}

/* RFC 3629: shortest form, no surrogates, nothing above U+10FFFF. */
static inline int json_is_utf8(const uint8_t *data, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes;) {
        uint32_t least = 0;
        int more = json_utf8_more(data[i], &least);
        if (more < 0 || bytes - i <= (uint32_t)more) {
            return 0;
        }
        uint32_t point = more == 0 ? data[i] : data[i] & (0x3fu >> more);
        for (int k = 1; k <= more; k++) {
            if ((data[i + (uint32_t)k] & 0xc0) != 0x80) {
                return 0;
            }
            point = point << 6 | (data[i + (uint32_t)k] & 0x3fu);
        }
        if (point < least || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) {
            return 0;
        }
        i += 1 + (uint32_t)more;
    }
    return 1;
}

#endif
