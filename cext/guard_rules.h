/* guard_rules.h: what a rule makes of a value: new text, and the value in the form of the message.
 */
#ifndef BYTEOR_GUARD_RULES_H
#define BYTEOR_GUARD_RULES_H

#include <stdlib.h>

#include "guard.h"

static inline uint32_t guard_characters(guard_slice text) {
    uint32_t count = 0;
    for (const uint8_t *at = text.data, *end = at + text.bytes; at < end; count++) {
        at += guard_character(at, end);
    }
    return count;
}

/* Keeps `prefix` and `suffix` characters; a text that has no more than both shows none. */
static inline void guard_mask(const guard_rule *rule, guard_slice text, guard_text *out) {
    uint32_t count = guard_characters(text);
    uint64_t shown = (uint64_t)rule->prefix + rule->suffix;
    uint32_t first = count > shown ? rule->prefix : 0;
    uint32_t last = count > shown ? count - rule->suffix : count;
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.bytes;
    if (count == text.bytes && rule->text_bytes == 1) {
        guard_put(out, at, first); /* ASCII: one byte a character, all at once */
        if (out->full || count - first > out->room - out->used) {
            out->full = 1;
            return;
        }
        memset(out->data + out->used, rule->text[0], last - first);
        memcpy(out->data + out->used + (last - first), at + last, count - last);
        out->used += count - first;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bytes = guard_character(at, end);
        if (i < first || i >= last) {
            guard_put(out, at, bytes);
        } else {
            guard_put(out, rule->text, rule->text_bytes);
        }
        at += bytes;
    }
}

static inline void guard_truncate(const guard_rule *rule, guard_slice text, guard_text *out) {
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.bytes;
    for (uint32_t i = 0; i < rule->length && at < end; i++) {
        at += guard_character(at, end);
    }
    guard_put(out, text.data, (uint32_t)(at - text.data));
}

static inline void guard_hash(const guard_key *key, guard_slice text, guard_text *out) {
    static const char hex[] = "0123456789abcdef";
    uint8_t digest[SHA256_BYTES];
    guard_hmac(key, text.data, text.bytes, digest);
    for (uint32_t i = 0; i < SHA256_BYTES; i++) {
        guard_put_byte(out, (uint8_t)hex[digest[i] >> 4]);
        guard_put_byte(out, (uint8_t)hex[digest[i] & 15]);
    }
}

/* Writes the new text of a value. 0; 1 when the value stays; -1 when the rule cannot be applied. */
static inline int guard_new_text(const guard_rule *rule, const guard_key *key,
                                 const guard_value *value, guard_text *out) {
    if (rule->action == GUARD_REPLACE) {
        guard_put(out, rule->text, rule->text_bytes);
        return 0;
    }
    if (value->type == GUARD_NULL) {
        return 1; /* says nothing */
    }
    if (rule->action == GUARD_HASH) {
        guard_hash(key, value->text, out);
        return 0;
    }
    if (value->type == GUARD_OBJECT || value->type == GUARD_ARRAY || value->type == GUARD_ANY) {
        return -1; /* part of its bytes would show */
    }
    if (rule->action == GUARD_MASK) {
        guard_mask(rule, value->text, out);
    } else {
        guard_truncate(rule, value->text, out);
    }
    return 0;
}

/* Puts new text into the bytes of a field of a fixed row, padded with NUL. */
static inline void guard_fill(const guard_field *field, guard_slice text, uint8_t *row) {
    uint8_t *at = row + field->offset;
    uint32_t bytes = text.bytes < field->bytes ? text.bytes : field->bytes;
    uint64_t word = 0;
    double number = 0;
    float narrow = 0;
    char copy[GUARD_TEXT_MAX + 1] = {0};
    memset(at, 0, field->bytes);
    if (field->type == GUARD_STRING || field->type == GUARD_BYTES) {
        memcpy(at, text.data, bytes);
        return;
    }
    memcpy(copy, text.data, text.bytes < GUARD_TEXT_MAX ? text.bytes : GUARD_TEXT_MAX);
    if (field->type == GUARD_BOOLEAN) {
        *at = copy[0] == 't';
    } else if (field->type == GUARD_INTEGER) {
        word = (uint64_t)strtoll(copy, NULL, 10);
        memcpy(at, &word, field->bytes);
    } else {
        number = strtod(copy, NULL);
        narrow = (float)number;
        memcpy(at, field->bytes == 4 ? (const void *)&narrow : (const void *)&number, field->bytes);
    }
}

#endif
