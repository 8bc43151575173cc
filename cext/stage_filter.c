/* stage_filter.c: `filter` keeps the messages that match one test: an integer field, bytes at an
 * offset, a prefix, or bytes anywhere. A field that the payload is too short for does not match.
 */
#include "stage_builtin.h"
#include "stage_config.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define FILTER_VALUES_MAX 64u
#define FILTER_BYTES_MAX 1024u
#define SIGN_BIT (UINT64_C(1) << 63)

/* A range test is one kind for each width, so that each has its own loop. */
typedef enum {
    FILTER_RANGE_1,
    FILTER_RANGE_2,
    FILTER_RANGE_4,
    FILTER_RANGE_8,
    FILTER_IN,
    FILTER_EQUALS,
    FILTER_CONTAINS
} filter_kind;

/* Integers are compared as unsigned keys: the sign bit of a signed one is flipped, which keeps
 * their order. */
typedef struct filter {
    filter_kind kind;
    uint32_t offset;
    uint32_t width;
    int big_endian;
    int is_signed;
    int invert;
    int never; /* the range is empty, as in `lt 0` of an unsigned field */
    uint64_t low;
    uint64_t span;
    uint32_t values_count;
    uint32_t needle_bytes;
    uint64_t values[FILTER_VALUES_MAX];
    uint8_t needle[FILTER_BYTES_MAX];
} filter;

/* `width` is a constant where this is inlined into a loop. */
__attribute__((always_inline)) static inline uint64_t
filter_key(const filter *self, const uint8_t *at, uint32_t width) {
    uint64_t value = 0;
    memcpy(&value, at, width);
    if (width > 1 && self->big_endian) {
        value = __builtin_bswap64(value) >> (64 - 8 * width);
    }
    if (self->is_signed) { /* the sign bit goes to the top, then flips */
        value = (uint64_t)((int64_t)(value << (64 - 8 * width)) >> (64 - 8 * width)) ^ SIGN_BIT;
    }
    return value;
}

static inline int filter_has(const filter *self, uint32_t length, uint32_t bytes) {
    return self->offset <= length && length - self->offset >= bytes;
}

__attribute__((always_inline)) static inline int
match_range(const filter *self, const uint8_t *payload, uint32_t length, uint32_t width) {
    return filter_has(self, length, width) &&
           filter_key(self, payload + self->offset, width) - self->low <= self->span &&
           !self->never;
}

static inline int match_range_1(const filter *self, const uint8_t *payload, uint32_t length) {
    return match_range(self, payload, length, 1);
}

static inline int match_range_2(const filter *self, const uint8_t *payload, uint32_t length) {
    return match_range(self, payload, length, 2);
}

static inline int match_range_4(const filter *self, const uint8_t *payload, uint32_t length) {
    return match_range(self, payload, length, 4);
}

static inline int match_range_8(const filter *self, const uint8_t *payload, uint32_t length) {
    return match_range(self, payload, length, 8);
}

static inline int match_in(const filter *self, const uint8_t *payload, uint32_t length) {
    if (!filter_has(self, length, self->width)) {
        return 0;
    }
    uint64_t key = filter_key(self, payload + self->offset, self->width);
    for (uint32_t i = 0; i < self->values_count; i++) {
        if (self->values[i] == key) {
            return 1;
        }
    }
    return 0;
}

static inline int match_equals(const filter *self, const uint8_t *payload, uint32_t length) {
    return filter_has(self, length, self->needle_bytes) &&
           memcmp(payload + self->offset, self->needle, self->needle_bytes) == 0;
}

#ifdef __SSE2__
/* Sixteen places at once: those where both the first and the last byte of the needle fit are looked
 * at in full. */
static inline int contains_block(const filter *self, const uint8_t *at) {
    uint32_t last = self->needle_bytes - 1;
    __m128i head = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i tail = _mm_loadu_si128((const __m128i *)(const void *)(at + last));
    __m128i both = _mm_and_si128(_mm_cmpeq_epi8(head, _mm_set1_epi8((char)self->needle[0])),
                                 _mm_cmpeq_epi8(tail, _mm_set1_epi8((char)self->needle[last])));
    for (uint32_t mask = (uint32_t)_mm_movemask_epi8(both); mask != 0; mask &= mask - 1) {
        if (memcmp(at + __builtin_ctz(mask), self->needle, self->needle_bytes) == 0) {
            return 1;
        }
    }
    return 0;
}
#endif

static inline int match_contains(const filter *self, const uint8_t *payload, uint32_t length) {
    uint32_t at = 0;
    if (length < self->needle_bytes) {
        return 0;
    }
    uint32_t places = length - self->needle_bytes + 1;
#ifdef __SSE2__
    for (; at + 16 <= places; at += 16) {
        if (contains_block(self, payload + at)) {
            return 1;
        }
    }
    if (places >= 16) {
        return at < places && contains_block(self, payload + places - 16);
    }
#endif
    for (; at < places; at++) {
        if (payload[at] == self->needle[0] &&
            memcmp(payload + at, self->needle, self->needle_bytes) == 0) {
            return 1;
        }
    }
    return 0;
}

typedef int filter_match(const filter *self, const uint8_t *payload, uint32_t length);

__attribute__((always_inline)) static inline void
filter_each(const filter *self, byteor_batch *batch, filter_match *match) {
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        if (byteor_live(slot) &&
            match(self, byteor_payload(slot), stage_length(batch, slot)) == self->invert) {
            byteor_drop(slot);
        }
    }
}

static int filter_process(void *self, byteor_batch *batch) {
    const filter *me = self;
    switch (me->kind) {
    case FILTER_RANGE_1:
        filter_each(me, batch, match_range_1);
        break;
    case FILTER_RANGE_2:
        filter_each(me, batch, match_range_2);
        break;
    case FILTER_RANGE_4:
        filter_each(me, batch, match_range_4);
        break;
    case FILTER_RANGE_8:
        filter_each(me, batch, match_range_8);
        break;
    case FILTER_IN:
        filter_each(me, batch, match_in);
        break;
    case FILTER_EQUALS:
        filter_each(me, batch, match_equals);
        break;
    default:
        filter_each(me, batch, match_contains);
    }
    return BYTEOR_STAGE_OK;
}

/* A last message that does not match is taken out; the end slot itself stays. */
static int filter_end(void *self, byteor_batch *batch) {
    static filter_match *const matches[] = {match_range_1, match_range_2, match_range_4,
                                            match_range_8, match_in,      match_equals,
                                            match_contains};
    const filter *me = self;
    byteor_slot *slot = stage_last_message(batch);
    if (slot != NULL &&
        matches[me->kind](me, byteor_payload(slot), stage_length(batch, slot)) == me->invert) {
        slot->length = 0;
    }
    return BYTEOR_STAGE_OK;
}

/* The key of a configured integer; anything outside the field is a problem, since it could never
 * match. */
static uint64_t filter_value(stage_config *from, const filter *self, const char *key) {
    const char *text = stage_config_text(from, key);
    uint32_t bits = 8 * self->width;
    uint64_t limit = self->is_signed ? UINT64_C(1) << (bits - 1) : UINT64_MAX >> (64 - bits);
    int negative = text != NULL && self->is_signed && *text == '-';
    uint64_t value = 0;
    if (self->is_signed && !negative) {
        limit--;
    }
    if (text == NULL || stage_parse_u64(text + negative, &value) != 0 || value > limit) {
        stage_config_fail(from, key, text, "an integer that the field of `width` bytes can hold");
        return 0;
    }
    value = negative ? (uint64_t)0 - value : value;
    return self->is_signed ? value ^ SIGN_BIT : value;
}

static void filter_values(stage_config *from, filter *self) {
    char key[24] = "values.0";
    while (self->values_count < FILTER_VALUES_MAX && stage_config_text(from, key) != NULL) {
        self->values[self->values_count++] = filter_value(from, self, key);
        (void)snprintf(key, sizeof key, "values.%u", self->values_count);
    }
    if (self->values_count == 0 || stage_config_text(from, key) != NULL) {
        stage_config_fail(from, "values", NULL, "1 to 64 integers");
    }
}

static void filter_integer(stage_config *from, filter *self) {
    static const char *const widths[] = {"1", "2", "4", "8", NULL};
    static const char *const endians[] = {"little", "big", NULL};
    static const char *const ops[] = {"eq", "ne", "lt", "le", "gt", "ge", "in", NULL};
    enum { EQ, NE, LT, LE, GT, GE, IN };
    int width = stage_config_choice(from, "width", 0, widths);
    self->width = 1u << width;
    self->is_signed = stage_config_bool(from, "signed", 0);
    self->big_endian = stage_config_choice(from, "endian", 0, endians);
    int op =
        stage_config_choice(from, "op", stage_config_text(from, "values.0") != NULL ? IN : EQ, ops);
    if (op == IN) {
        self->kind = FILTER_IN;
        filter_values(from, self);
        return;
    }
    uint64_t value = filter_value(from, self, "value");
    /* The range may wrap: `ne` is all but one, from the next value round to the one before. */
    uint64_t low = op == LT || op == LE ? 0 : op == GT || op == NE ? value + 1 : value;
    uint64_t high = op == GT || op == GE ? UINT64_MAX : op == LT || op == NE ? value - 1 : value;
    self->kind = (filter_kind)(FILTER_RANGE_1 + width);
    self->never = (op == LT && value == 0) || (op == GT && value == UINT64_MAX);
    self->low = low;
    self->span = high - low;
}

static int filter_bytes(stage_config *from, filter *self, const char *key, filter_kind kind) {
    if (stage_config_text(from, key) == NULL) {
        return 0;
    }
    self->kind = kind;
    self->needle_bytes = (uint32_t)stage_config_bytes(from, key, self->needle, FILTER_BYTES_MAX);
    return 1;
}

static void filter_configure(stage_config *from, filter *self) {
    self->invert = stage_config_bool(from, "invert", 0);
    if (filter_bytes(from, self, "contains", FILTER_CONTAINS) ||
        filter_bytes(from, self, "prefix", FILTER_EQUALS)) {
        return;
    }
    self->offset = stage_config_u32(from, "offset", 0, 0, from->config->payload_max);
    if (!filter_bytes(from, self, "equals", FILTER_EQUALS)) {
        filter_integer(from, self);
    }
}

static void *filter_create(const byteor_config *config, char *error, size_t error_bytes) {
    stage_config from = {config, error, error_bytes, 0};
    filter *self = calloc(1, sizeof *self);
    if (self == NULL) {
        stage_config_fail(&from, "filter", NULL, "memory for the instance");
        return NULL;
    }
    filter_configure(&from, self);
    if (from.failed) {
        free(self);
        return NULL;
    }
    return self;
}

const byteor_builtin byteor_builtin_filter = {
    .vtable = {.abi = BYTEOR_STAGE_ABI,
               .struct_bytes = sizeof(byteor_stage_vtable),
               .name = "filter",
               .flags = BYTEOR_STAGE_DROPS,
               .create = filter_create,
               .process = filter_process,
               .end = filter_end,
               .destroy = free},
};
