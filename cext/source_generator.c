/* source_generator.c: the poll function of the generator. No system call is made here. */
#include "source_generator.h"

#include <stdlib.h>

#define BYTEOR_NS_PER_S 1000000000u

__extension__ typedef unsigned __int128 byteor_u128;

static uint64_t byteor_generator_intended_ns(const byteor_generator_source *self, uint64_t sequence) {
    const byteor_u128 made = sequence - self->first_sequence;
    return self->start_ns + (uint64_t)(made * BYTEOR_NS_PER_S / self->options.rate);
}

static void byteor_generator_start(byteor_generator_source *self, uint64_t now_ns, uint64_t next) {
    self->started = 1;
    self->start_ns = now_ns;
    self->first_sequence = next;
    self->due_sequence = next - 1;
    self->period_ns = BYTEOR_NS_PER_S / self->options.rate;
}

/* When message `next` is due; worked out once for each message that is waited for. */
static void byteor_generator_await(byteor_generator_source *self, uint64_t next) {
    const byteor_u128 scaled = (byteor_u128)(next - self->first_sequence) * BYTEOR_NS_PER_S;
    const uint64_t rate = self->options.rate;
    const int small = scaled <= UINT64_MAX;
    const uint64_t after_ns = small ? (uint64_t)scaled / rate : (uint64_t)(scaled / rate);
    self->due_sequence = next;
    self->intended_ns = self->start_ns + after_ns;
    self->due_ns = self->intended_ns + ((byteor_u128)after_ns * rate != scaled);
}

/* How many messages may be made now: what is left of the count, and with a rate what is due. */
static uint64_t byteor_generator_due(byteor_generator_source *self, uint64_t now_ns, uint64_t room) {
    const byteor_generator_options *options = &self->options;
    const uint64_t next = self->base.common.position[0];
    if (options->count != 0) {
        const uint64_t left = next < options->count ? options->count - next : 0;
        room = left < room ? left : room;
    }
    if (options->rate == 0) return room;
    if (!self->started) byteor_generator_start(self, now_ns, next);
    if (self->due_sequence != next) byteor_generator_await(self, next);
    if (now_ns < self->due_ns) return 0;
    if (now_ns - self->due_ns < self->period_ns) return room ? 1 : 0;
    const byteor_u128 due = (byteor_u128)(now_ns - self->start_ns) * options->rate / BYTEOR_NS_PER_S + 1u;
    const byteor_u128 owed = due - (next - self->first_sequence);
    return owed < room ? (uint64_t)owed : room;
}

static size_t byteor_generator_size(const byteor_generator_options *options, uint64_t sequence) {
    if (options->size_max <= options->size) {
        return options->size;
    }
    return options->size + byteor_mix(options->seed + sequence) % (options->size_max - options->size + 1u);
}

static inline __attribute__((always_inline)) size_t byteor_generator_make(const byteor_generator_source *self, uint32_t content, uint8_t *into,
                                                                         uint32_t payload_max, uint64_t sequence) {
    const byteor_generator_options *options = &self->options;
    size_t bytes = byteor_generator_size(options, sequence);
    bytes = bytes < payload_max ? bytes : payload_max;
    switch (content) {
    case BYTEOR_CONTENT_COUNTER:
        byteor_make_counter(into, bytes, self->filler, sequence);
        return bytes;
    case BYTEOR_CONTENT_RANDOM:
        byteor_make_random(into, bytes, options->seed, sequence);
        return bytes;
    case BYTEOR_CONTENT_CHECKSUMMED:
        byteor_make_checksummed(into, bytes, options->seed, sequence);
        return bytes;
    case BYTEOR_CONTENT_TRADES:
        byteor_make_trade(into, options->seed, sequence);
        return BYTEOR_TRADES_RECORD_BYTES;
    default: {
        uint8_t line[BYTEOR_LOG_LINE_BYTES_MAX];
        bytes = byteor_make_text(line, options->seed, sequence);
        bytes = bytes < payload_max ? bytes : payload_max;
        memcpy(into, line, bytes);
        return bytes;
    }
    }
}

/* Make `due` messages; one instance of this loop for each content, so that the content is no question inside it. */
static inline __attribute__((always_inline)) uint64_t byteor_generator_fill(const byteor_generator_source *self,
                                                                            uint32_t content, byteor_batch *batch,
                                                                            uint64_t first, uint32_t due) {
    uint64_t bytes_made = 0;
    for (uint32_t i = 0; i < due; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        const size_t bytes = byteor_generator_make(self, content, byteor_payload(slot), batch->payload_max, first + i);
        slot->length = (uint16_t)bytes;
        slot->type = 0;
        slot->flags = 0;
        if (self->options.rate != 0) {
            slot->time_ns = i == 0 ? self->intended_ns : byteor_generator_intended_ns(self, first + i);
        }
        bytes_made += bytes;
    }
    return bytes_made;
}

static uint64_t byteor_generator_fill_any(const byteor_generator_source *self, byteor_batch *batch, uint64_t first, uint32_t due) {
    switch (self->options.content) {
    case BYTEOR_CONTENT_COUNTER:
        return byteor_generator_fill(self, BYTEOR_CONTENT_COUNTER, batch, first, due);
    case BYTEOR_CONTENT_RANDOM:
        return byteor_generator_fill(self, BYTEOR_CONTENT_RANDOM, batch, first, due);
    case BYTEOR_CONTENT_CHECKSUMMED:
        return byteor_generator_fill(self, BYTEOR_CONTENT_CHECKSUMMED, batch, first, due);
    case BYTEOR_CONTENT_TRADES:
        return byteor_generator_fill(self, BYTEOR_CONTENT_TRADES, batch, first, due);
    default:
        return byteor_generator_fill(self, BYTEOR_CONTENT_TEXT, batch, first, due);
    }
}

static int byteor_generator_poll(byteor_source *base, byteor_batch *batch) {
    byteor_generator_source *self = (byteor_generator_source *)(void *)base;
    byteor_adapter_common *common = &base->common;
    const uint64_t first = common->position[0];
    const uint32_t due = (uint32_t)byteor_generator_due(self, batch->now_ns, batch->count);
    if (due == 0) {
        const int done = self->options.count != 0 && first >= self->options.count;
        common->status = done ? BYTEOR_ADAPTER_ENDED : BYTEOR_ADAPTER_WAITING;
        return 0;
    }
    common->bytes_total += byteor_generator_fill_any(self, batch, first, due);
    common->position[0] = first + due;
    common->status = BYTEOR_ADAPTER_READY;
    return (int)due;
}

byteor_generator_source *byteor_generator_source_new(const byteor_generator_options *options) {
    byteor_generator_source *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->base.poll = byteor_generator_poll;
    self->base.common.wait_fd = -1;
    self->base.common.stamps_time = options->rate != 0;
    self->options = *options;
    byteor_make_random(self->filler, sizeof self->filler, options->seed, UINT64_MAX);
    return self;
}
