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
static inline uint64_t byteor_generator_due(byteor_generator_source *self, uint64_t now_ns, uint64_t room) {
    const byteor_generator_options *options = &self->options;
    const uint64_t next = self->base.common.position[0];
    const uint64_t left = next < self->end ? self->end - next : 0;
    room = left < room ? left : room;
    room = self->most < room ? self->most : room;
    if (__builtin_expect(options->rate == 0, 1)) return room;
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
    const size_t stride = batch->slot_bytes;
    const uint32_t payload_max = batch->payload_max;
    uint8_t *at = batch->slots;
    uint64_t bytes_made = 0;
    for (uint32_t i = 0; i < due; i++, at += stride) {
        byteor_slot *slot = (byteor_slot *)(void *)at;
        const size_t bytes = byteor_generator_make(self, content, at + BYTEOR_SLOT_HEADER_BYTES, payload_max, first + i);
        byteor_slot_begin(slot, (uint32_t)bytes);
        bytes_made += bytes;
    }
    if (self->options.rate != 0) {
        for (uint32_t i = 0; i < due; i++)
            byteor_slot_at(batch, i)->time_ns = i == 0 ? self->intended_ns : byteor_generator_intended_ns(self, first + i);
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
        common->status = first >= self->end ? BYTEOR_ADAPTER_ENDED : BYTEOR_ADAPTER_WAITING;
        return 0;
    }
    common->bytes_total += byteor_generator_fill_any(self, batch, first, due);
    common->position[0] = first + due;
    if (common->status != BYTEOR_ADAPTER_READY) common->status = BYTEOR_ADAPTER_READY;
    return (int)due;
}

/* The same for the generator as it is by default, as fast as possible: `counter` of a size that stands when this is compiled.
 * It is asked for one message at a time too, so it does nothing else. */
#define BYTEOR_PLAIN_BYTES 48u

static int byteor_generator_poll_plain(byteor_source *base, byteor_batch *batch) {
    byteor_generator_source *self = (byteor_generator_source *)(void *)base;
    uint64_t next = base->common.position[0], due = next < self->end ? self->end - next : 0;
    uint8_t *at = batch->slots;
    due = batch->count < due ? batch->count : due;
    due = self->most < due ? self->most : due;
    if (__builtin_expect(due == 0 || batch->payload_max < BYTEOR_PLAIN_BYTES, 0)) return byteor_generator_poll(base, batch);
    for (const uint64_t end = next + due; next != end; next++, at += batch->slot_bytes) {
        byteor_make_counter(at + BYTEOR_SLOT_HEADER_BYTES, BYTEOR_PLAIN_BYTES, self->filler, next);
        byteor_slot_begin((byteor_slot *)(void *)at, BYTEOR_PLAIN_BYTES);
    }
    base->common.bytes_total += due * BYTEOR_PLAIN_BYTES;
    base->common.position[0] = next;
    if (base->common.status != BYTEOR_ADAPTER_READY) base->common.status = BYTEOR_ADAPTER_READY;
    return (int)due;
}

byteor_generator_source *byteor_generator_source_new(const byteor_generator_options *options) {
    byteor_generator_source *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    const int plain = options->content == BYTEOR_CONTENT_COUNTER && options->rate == 0 && options->size == BYTEOR_PLAIN_BYTES &&
                      options->size_max <= BYTEOR_PLAIN_BYTES;
    self->base.poll = plain ? byteor_generator_poll_plain : byteor_generator_poll;
    self->base.common.wait_fd = -1;
    self->base.common.stamps_time = options->rate != 0;
    self->options = *options;
    self->end = options->count ? options->count : UINT64_MAX;
    self->most = options->at_once ? options->at_once : UINT32_MAX;
    byteor_make_random(self->filler, sizeof self->filler, options->seed, UINT64_MAX);
    return self;
}
