/* framing.h: how messages are found in a stream of bytes: lines, fixed records, length prefixes, pcap records.
 *
 * A frame is taken from a staging buffer into claimed slots. Pure: no system call, no allocation. What does not fit or
 * makes no sense is counted by reason and passed over where the format allows; where it does not, `lost` says why.
 * The same bytes give the same frames whatever the pieces they come in.
 */
#ifndef BYTEOR_FRAMING_H
#define BYTEOR_FRAMING_H

#include "adapter.h"

enum byteor_framing_kind {
    BYTEOR_FRAMING_LINES = 0,
    BYTEOR_FRAMING_FIXED = 1,
    BYTEOR_FRAMING_LENGTH_PREFIXED = 2,
    BYTEOR_FRAMING_PCAP = 3
};

#define BYTEOR_PREFIX_BYTES_MAX 8u

/* What was asked for; never changes while the adapter is open. */
typedef struct byteor_framing_options {
    uint32_t kind;         /* enum byteor_framing_kind */
    uint32_t record_bytes; /* fixed */
    uint32_t length_bytes; /* length_prefixed: 1, 2, 4 or 8 */
    uint8_t big_endian;    /* length_prefixed */
    uint8_t counts_itself; /* length_prefixed: the value includes the prefix */
    uint8_t delimiter;     /* lines */
    uint8_t strip_cr;      /* lines: a CR right before the delimiter belongs to it */
    uint8_t skip_empty;    /* lines */
    uint8_t whole_frames;  /* pcap: the captured frame instead of the UDP payload */
    uint16_t port;         /* pcap: destination port wanted, 0: any */
} byteor_framing_options;

/* Where in the stream we are; all of it but `scanned` and `lost` is part of the adapter's position. */
typedef struct byteor_framing {
    byteor_framing_options options;
    uint8_t skipping;    /* lines: inside an oversize line, until its delimiter */
    uint8_t has_header;  /* pcap: the file header was read */
    uint8_t swapped;     /* pcap: written in the other byte order */
    uint16_t link_type;  /* pcap */
    uint64_t skip_left;  /* bytes of a rejected frame still to pass over */
    size_t scanned;      /* lines: leading bytes of the open frame known to hold no delimiter */
    const char *lost;    /* set when frame boundaries cannot be found any more */
} byteor_framing;

static inline uint16_t byteor_load_be16(const uint8_t *at) { return (uint16_t)((at[0] << 8) | at[1]); }

static inline uint64_t byteor_load_length(const uint8_t *at, uint32_t bytes, int big_endian) {
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        value = (value << 8) | at[big_endian ? i : bytes - 1u - i];
    }
    return value;
}

static inline void byteor_store_length(uint8_t *at, uint64_t value, uint32_t bytes, int big_endian) {
    for (uint32_t i = 0; i < bytes; i++) {
        at[big_endian ? bytes - 1u - i : i] = (uint8_t)(value >> (8u * i));
    }
}

/* Put one message into slot `*filled`; `bytes` is known to fit. */
static inline void byteor_fill_slot(byteor_batch *batch, uint32_t *filled, const uint8_t *data, size_t bytes) {
    byteor_slot *slot = byteor_slot_at(batch, (*filled)++);
    slot->length = (uint16_t)bytes;
    slot->type = 0;
    slot->flags = 0;
    memcpy(byteor_payload(slot), data, bytes);
}

/* Pass over what is left of a rejected frame. Returns the bytes passed; skip_left is 0 when the frame is behind. */
static inline size_t byteor_framing_skip(byteor_framing *framing, size_t bytes, int last) {
    size_t step = framing->skip_left < bytes ? (size_t)framing->skip_left : bytes;
    framing->skip_left = last && step == bytes ? 0 : framing->skip_left - step;
    return step;
}

static inline void byteor_take_line(byteor_framing *framing, byteor_adapter_common *common, byteor_batch *batch,
                                    uint32_t *filled, const uint8_t *line, size_t bytes) {
    if (bytes > batch->payload_max) {
        byteor_reject(common, BYTEOR_REJECT_OVERSIZE, line, bytes);
    } else if (bytes > 0 || !framing->options.skip_empty) {
        byteor_fill_slot(batch, filled, line, bytes);
    }
}

/* Each byteor_take_* takes frames from data[0..bytes) until the batch is full or a frame is not whole yet, and returns the
 * bytes taken. `last`: nothing follows these bytes, so what is left over is a last line, or truncated. */
static inline size_t byteor_take_lines(byteor_framing *framing, byteor_adapter_common *common, byteor_batch *batch,
                                       uint32_t *filled, const uint8_t *data, size_t bytes, int last) {
    const int strip = framing->options.strip_cr != 0;
    const size_t line_max = (size_t)batch->payload_max + (strip ? 1u : 0u);
    size_t at = 0;
    while (*filled < batch->count && at < bytes) {
        const uint8_t *from = data + at;
        size_t room = bytes - at;
        const uint8_t *end = memchr(from + framing->scanned, framing->options.delimiter, room - framing->scanned);
        if (end != NULL) {
            size_t length = (size_t)(end - from);
            at += length + 1;
            framing->scanned = 0;
            if (framing->skipping) {
                framing->skipping = 0;
                continue;
            }
            byteor_take_line(framing, common, batch, filled, from, strip && length > 0 && end[-1] == '\r' ? length - 1 : length);
            continue;
        }
        if (last) {
            at = bytes;
            framing->scanned = 0;
            if (!framing->skipping) {
                byteor_take_line(framing, common, batch, filled, from, room);
            }
            framing->skipping = 0;
        } else if (framing->skipping || room > line_max) {
            if (!framing->skipping) {
                byteor_reject(common, BYTEOR_REJECT_OVERSIZE, from, room);
            }
            framing->skipping = 1;
            framing->scanned = 0;
            at = bytes;
        } else {
            framing->scanned = room;
            break;
        }
    }
    return at;
}

static inline size_t byteor_take_fixed(byteor_framing *framing, byteor_adapter_common *common, byteor_batch *batch,
                                       uint32_t *filled, const uint8_t *data, size_t bytes, int last) {
    const size_t record = framing->options.record_bytes;
    size_t at = 0;
    while (*filled < batch->count && bytes - at >= record) {
        byteor_fill_slot(batch, filled, data + at, record);
        at += record;
    }
    if (last && at < bytes && bytes - at < record) {
        byteor_reject(common, BYTEOR_REJECT_TRUNCATED, data + at, bytes - at);
        at = bytes;
    }
    return at;
}

static inline size_t byteor_take_length_prefixed(byteor_framing *framing, byteor_adapter_common *common,
                                                 byteor_batch *batch, uint32_t *filled, const uint8_t *data, size_t bytes,
                                                 int last) {
    const byteor_framing_options *options = &framing->options;
    const size_t prefix = options->length_bytes;
    size_t at = 0;
    while (*filled < batch->count && at < bytes && framing->lost == NULL) {
        const uint8_t *from = data + at;
        size_t room = bytes - at;
        if (framing->skip_left > 0) {
            at += byteor_framing_skip(framing, room, last);
            continue;
        }
        uint64_t body = room < prefix ? 0 : byteor_load_length(from, options->length_bytes, options->big_endian);
        if (room >= prefix && options->counts_itself) {
            if (body < prefix) {
                byteor_reject(common, BYTEOR_REJECT_MALFORMED, from, room);
                framing->lost = "a length prefix is smaller than itself";
                break;
            }
            body -= prefix;
        }
        if (room >= prefix && body > batch->payload_max) {
            byteor_reject(common, BYTEOR_REJECT_OVERSIZE, from, room);
            framing->skip_left = body;
            at += prefix;
        } else if (room >= prefix && room - prefix >= body) {
            byteor_fill_slot(batch, filled, from + prefix, (size_t)body);
            at += prefix + (size_t)body;
        } else if (last) {
            byteor_reject(common, BYTEOR_REJECT_TRUNCATED, from, room);
            at = bytes;
        } else {
            break;
        }
    }
    return at;
}

/* Words of the position that belong to the framing. */
static inline void byteor_framing_save(const byteor_framing *framing, uint64_t *flags, uint64_t *skip_left) {
    *flags = (uint64_t)framing->skipping | (uint64_t)framing->has_header << 1 | (uint64_t)framing->swapped << 2 |
             (uint64_t)framing->link_type << 16;
    *skip_left = framing->skip_left;
}

static inline void byteor_framing_restore(byteor_framing *framing, uint64_t flags, uint64_t skip_left) {
    framing->skipping = (uint8_t)(flags & 1u);
    framing->has_header = (uint8_t)(flags >> 1 & 1u);
    framing->swapped = (uint8_t)(flags >> 2 & 1u);
    framing->link_type = (uint16_t)(flags >> 16 & 0xffffu);
    framing->skip_left = skip_left;
    framing->scanned = 0;
    framing->lost = NULL;
}

#endif
