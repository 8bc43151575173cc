/* sink_bytes.c: framing messages into the output buffer and crediting what was handed over. No system call is made here. */
#include "sink_bytes.h"

#include <stdlib.h>

#include "crc32c.h"

/* A framed message: prefix, payload and suffix follow each other; all 0 for one that is not written. */
typedef struct byteor_framed {
    const uint8_t *payload;
    size_t prefix;
    size_t bytes; /* of the payload */
    size_t suffix;
    int reason; /* enum byteor_reject of a message that cannot be written, else -1 */
} byteor_framed;

static inline size_t byteor_framed_bytes(const byteor_framed *framed) {
    return framed->prefix + framed->bytes + framed->suffix;
}

static inline int byteor_prefix_holds(const byteor_framing_options *options, uint64_t value) {
    return options->length_bytes >= 8 || value >> (8u * options->length_bytes) == 0;
}

static inline byteor_framed byteor_frame(const byteor_framing_options *options, byteor_slot *slot) {
    byteor_framed framed = {byteor_payload(slot), 0, slot->length, 0, -1};
    if ((slot->flags & BYTEOR_SLOT_DROPPED) != 0 || ((slot->flags & BYTEOR_SLOT_END) != 0 && slot->length == 0)) {
        framed.bytes = 0;
        return framed;
    }
    switch (options->kind) {
    case BYTEOR_FRAMING_LINES:
        framed.suffix = 1;
        return framed;
    case BYTEOR_FRAMING_LENGTH_PREFIXED:
        framed.prefix = options->length_bytes;
        if (!byteor_prefix_holds(options, slot->length + (options->counts_itself ? framed.prefix : 0))) {
            framed.reason = BYTEOR_REJECT_OVERSIZE;
            framed.prefix = framed.bytes = 0;
        }
        return framed;
    default:
        if (options->record_bytes != 0 && slot->length != options->record_bytes) {
            framed.reason = BYTEOR_REJECT_MALFORMED;
            framed.bytes = 0;
        }
        return framed;
    }
}

/* Copy bytes [from, from + bytes) of a framed message. */
static inline void byteor_framed_copy(const byteor_framing_options *options, const byteor_framed *framed, uint8_t *into,
                                      size_t from, size_t bytes) {
    uint8_t ends[BYTEOR_PREFIX_BYTES_MAX];
    if (from < framed->prefix) {
        size_t step = framed->prefix - from < bytes ? framed->prefix - from : bytes;
        uint64_t value = framed->bytes + (options->counts_itself ? framed->prefix : 0);
        byteor_store_length(ends, value, options->length_bytes, options->big_endian);
        memcpy(into, ends + from, step);
        into += step;
        from += step;
        bytes -= step;
    }
    size_t at = from - framed->prefix;
    size_t step = at < framed->bytes ? framed->bytes - at : 0;
    step = step < bytes ? step : bytes;
    memcpy(into, framed->payload + at, step);
    if (bytes > step) {
        into[step] = options->delimiter; /* a suffix is one byte */
    }
}

/* Fill the output buffer with whole messages from slot `first` on; of a message larger than the buffer, with a piece. */
static size_t byteor_sink_gather(const byteor_bytes_sink *self, const byteor_batch *batch, uint32_t first) {
    size_t used = 0;
    size_t from = self->partial;
    for (uint32_t i = first; i < batch->count; i++) {
        byteor_framed framed = byteor_frame(&self->framing, byteor_slot_at(batch, i));
        size_t left = byteor_framed_bytes(&framed) - from;
        if (left > self->output_max - used) {
            if (used > 0) {
                break;
            }
            left = self->output_max;
        }
        byteor_framed_copy(&self->framing, &framed, self->output + used, from, left);
        used += left;
        from = 0;
    }
    return used;
}

/* Count as done what `bytes` handed-over bytes complete, from slot `first` on. Returns the first slot not done. */
static uint32_t byteor_sink_credit(byteor_bytes_sink *self, const byteor_batch *batch, uint32_t first, size_t bytes) {
    byteor_adapter_common *common = &self->base.common;
    size_t credited = 0;
    uint32_t done = first;
    for (; done < batch->count; done++) {
        byteor_slot *slot = byteor_slot_at(batch, done);
        byteor_framed framed = byteor_frame(&self->framing, slot);
        size_t whole = byteor_framed_bytes(&framed);
        if (whole - self->partial > bytes - credited) {
            break;
        }
        if (framed.reason >= 0) {
            byteor_reject(common, framed.reason, byteor_payload(slot), slot->length);
        }
        credited += whole - self->partial;
        common->position[0] += whole;
        common->bytes_total += whole;
        self->partial = 0;
    }
    if (self->keeps_crc) {
        self->crc_sent = byteor_crc32c(self->crc_sent, self->output, credited);
        if (done > first) {
            common->position[1] = self->crc_sent;
        }
        self->crc_sent = byteor_crc32c(self->crc_sent, self->output + credited, bytes - credited);
    }
    self->partial += bytes - credited;
    common->position[2] = 1;
    return done;
}

static int byteor_sink_write(byteor_sink *base, const byteor_batch *batch) {
    byteor_bytes_sink *self = (byteor_bytes_sink *)(void *)base;
    uint32_t done = 0;
    base->common.status = BYTEOR_ADAPTER_READY;
    while (done < batch->count) {
        size_t used = byteor_sink_gather(self, batch, done);
        ptrdiff_t taken = used == 0 ? 0 : self->emit(self, self->output, used);
        if (taken == BYTEOR_EMIT_NEW_PEER) {
            self->partial = 0; /* the new peer gets the message from its beginning */
            continue;
        }
        if (taken == BYTEOR_EMIT_FAILED) {
            break;
        }
        done = byteor_sink_credit(self, batch, done, (size_t)taken);
        if (used > 0 && taken == BYTEOR_EMIT_WAIT) {
            base->common.status = BYTEOR_ADAPTER_WAITING;
            break;
        }
    }
    return (int)done;
}

static void byteor_sink_finish(byteor_sink *base) {
    byteor_bytes_sink *self = (byteor_bytes_sink *)(void *)base;
    base->common.status = BYTEOR_ADAPTER_READY;
    self->end(self);
}

byteor_bytes_sink *byteor_bytes_sink_new(const byteor_framing_options *framing) {
    byteor_bytes_sink *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->output = malloc(BYTEOR_OUTPUT_BYTES);
    if (self->output == NULL) {
        free(self);
        return NULL;
    }
    memset(self->output, 0, BYTEOR_OUTPUT_BYTES); /* its pages are touched now, not on the hot path */
    self->base.write = byteor_sink_write;
    self->base.finish = byteor_sink_finish;
    self->base.common.wait_fd = -1;
    self->framing = *framing;
    self->output_max = BYTEOR_OUTPUT_BYTES;
    self->fd = self->listen_fd = -1;
    return self;
}

void byteor_bytes_sink_restore(byteor_bytes_sink *self, const uint64_t position[BYTEOR_POSITION_WORDS]) {
    memcpy(self->base.common.position, position, sizeof self->base.common.position);
    self->crc_sent = (uint32_t)position[1];
}

void byteor_bytes_sink_free(byteor_bytes_sink *self) {
    free(self->output);
    free(self);
}
