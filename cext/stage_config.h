/* stage_config.h: reads the configuration of a built-in stage, with messages that name key, seen
 * and wanted.
 *
 * For create and state_bytes only, never on the hot path. The first problem is kept; later reads
 * then change nothing.
 */
#ifndef BYTEOR_STAGE_CONFIG_H
#define BYTEOR_STAGE_CONFIG_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "byteor_stage.h"

typedef struct stage_config {
    const byteor_config *config;
    char *error;
    size_t error_bytes;
    int failed;
} stage_config;

static inline const char *stage_config_text(const stage_config *from, const char *key) {
    for (size_t i = 0; i < from->config->count; i++) {
        if (strcmp(from->config->items[i].key, key) == 0) {
            return from->config->items[i].value;
        }
    }
    return NULL;
}

static inline void stage_config_fail(stage_config *from, const char *key, const char *seen,
                                     const char *wanted) {
    if (!from->failed && from->error_bytes > 0) {
        (void)snprintf(from->error, from->error_bytes, "`%s` is %s%.80s%s: wanted %s", key,
                       seen ? "`" : "", seen ? seen : "missing", seen ? "`" : "", wanted);
    }
    from->failed = 1;
}

static inline void stage_config_fail_range(stage_config *from, const char *key, const char *seen,
                                           uint64_t min, uint64_t max) {
    char wanted[80];
    (void)snprintf(wanted, sizeof wanted, "an integer from %llu to %llu", (unsigned long long)min,
                   (unsigned long long)max);
    stage_config_fail(from, key, seen, wanted);
}

/* Decimal, no sign, no blanks. 0, or -1 when it is not a number or does not fit. */
static inline int stage_parse_u64(const char *text, uint64_t *value) {
    uint64_t sum = 0;
    if (*text == '\0') {
        return -1;
    }
    for (; *text != '\0'; text++) {
        uint64_t digit = (uint64_t)(uint8_t)*text - '0';
        if (digit > 9 || __builtin_mul_overflow(sum, UINT64_C(10), &sum) ||
            __builtin_add_overflow(sum, digit, &sum)) {
            return -1;
        }
    }
    *value = sum;
    return 0;
}

static inline uint64_t stage_config_u64(stage_config *from, const char *key, uint64_t fallback,
                                        uint64_t min, uint64_t max) {
    const char *text = stage_config_text(from, key);
    uint64_t value = fallback;
    if (text == NULL) {
        return fallback;
    }
    if (stage_parse_u64(text, &value) != 0 || value < min || value > max) {
        stage_config_fail_range(from, key, text, min, max);
        return fallback;
    }
    return value;
}

static inline uint32_t stage_config_u32(stage_config *from, const char *key, uint32_t fallback,
                                        uint32_t min, uint32_t max) {
    return (uint32_t)stage_config_u64(from, key, fallback, min, max);
}

/* Index of the text among `names` (ended by NULL). */
static inline int stage_config_choice(stage_config *from, const char *key, int fallback,
                                      const char *const *names) {
    const char *text = stage_config_text(from, key);
    char wanted[160] = "one of";
    if (text == NULL) {
        return fallback;
    }
    for (int i = 0; names[i] != NULL; i++) {
        size_t used = strlen(wanted);
        if (strcmp(text, names[i]) == 0) {
            return i;
        }
        (void)snprintf(wanted + used, sizeof wanted - used, " %s", names[i]);
    }
    stage_config_fail(from, key, text, wanted);
    return fallback;
}

static inline int stage_config_bool(stage_config *from, const char *key, int fallback) {
    static const char *const names[] = {"false", "true", NULL};
    return stage_config_choice(from, key, fallback, names);
}

static inline int stage_hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* Bytes given as text, or as `hex:` and pairs of hex digits. Returns how many (1 to `max`), 0 when
 * it failed. */
static inline size_t stage_config_bytes(stage_config *from, const char *key, uint8_t *out,
                                        size_t max) {
    const char *text = stage_config_text(from, key);
    size_t bytes = text == NULL ? 0 : strlen(text);
    int hex = text != NULL && strncmp(text, "hex:", 4) == 0;
    if (hex) {
        bytes = (bytes - 4) % 2 == 0 ? (bytes - 4) / 2 : 0;
        text += 4;
    }
    if (bytes == 0 || bytes > max) {
        stage_config_fail(
            from, key, text,
            "text, or hex: and pairs of hex digits, not empty and not longer than the limit");
        return 0;
    }
    for (size_t i = 0; i < bytes; i++) {
        int high = hex ? stage_hex_digit(text[2 * i]) : 0;
        int low = hex ? stage_hex_digit(text[2 * i + 1]) : 0;
        if (high < 0 || low < 0) {
            stage_config_fail(from, key, text, "pairs of hex digits after hex:");
            return 0;
        }
        out[i] = hex ? (uint8_t)(high * 16 + low) : (uint8_t)text[i];
    }
    return bytes;
}

#endif
