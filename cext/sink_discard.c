/* sink_discard.c: the write function of the discarding egress. No system call is made here. */
#include "sink_discard.h"

#include <stdio.h>
#include <stdlib.h>

#include "generated.h"

static int byteor_discard_wrong(byteor_discard_sink *self, const uint8_t *message, size_t bytes, uint64_t place) {
    const uint64_t wanted = self->base.common.position[0];
    uint64_t sequence = 0;
    uint32_t crc = 0;
    if (bytes < BYTEOR_CHECKSUMMED_BYTES_MIN) {
        (void)snprintf(self->text, sizeof self->text,
                       "message at sequence %llu of the ring has %zu bytes; a checksummed one has 12 or more",
                       (unsigned long long)place, bytes);
        return 1;
    }
    memcpy(&sequence, message, 8);
    memcpy(&crc, message + 8, 4);
    if (crc != byteor_checksum_of(message, bytes)) {
        byteor_reject(&self->base.common, BYTEOR_REJECT_CORRUPT, message, bytes);
        (void)snprintf(self->text, sizeof self->text,
                       "message at sequence %llu of the ring is corrupt: its CRC32C does not match (message %llu was next)",
                       (unsigned long long)place, (unsigned long long)wanted);
        return 1;
    }
    if (sequence != wanted) {
        (void)snprintf(self->text, sizeof self->text,
                       "message %llu came, %llu was next: lost, repeated or out of order (sequence %llu of the ring)",
                       (unsigned long long)sequence, (unsigned long long)wanted, (unsigned long long)place);
        return 1;
    }
    return 0;
}

static inline int byteor_discard_passes_over(const byteor_slot *slot) {
    return (slot->flags & BYTEOR_SLOT_DROPPED) != 0 || ((slot->flags & BYTEOR_SLOT_END) != 0 && slot->length == 0);
}

static int byteor_discard_verified(byteor_discard_sink *self, const byteor_batch *batch) {
    byteor_adapter_common *common = &self->base.common;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        if (byteor_discard_passes_over(slot)) {
            continue;
        }
        if (byteor_discard_wrong(self, byteor_payload(slot), slot->length, batch->first_sequence + i)) {
            byteor_adapter_fail(common, 0, self->text);
            return (int)i;
        }
        common->position[0]++;
        common->bytes_total += slot->length;
    }
    return (int)batch->count;
}

static int byteor_discard_write(byteor_sink *base, const byteor_batch *batch) {
    byteor_discard_sink *self = (byteor_discard_sink *)(void *)base;
    byteor_adapter_common *common = &base->common;
    uint64_t messages = 0, bytes = 0;
    common->status = BYTEOR_ADAPTER_READY;
    if (self->verify) {
        return byteor_discard_verified(self, batch);
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        const byteor_slot *slot = byteor_slot_at(batch, i);
        const uint64_t taken = !byteor_discard_passes_over(slot);
        messages += taken;
        bytes += taken * slot->length;
    }
    common->position[0] += messages;
    common->bytes_total += bytes;
    return (int)batch->count;
}

static void byteor_discard_finish(byteor_sink *base) { base->common.status = BYTEOR_ADAPTER_ENDED; }

byteor_discard_sink *byteor_discard_sink_new(int verify) {
    byteor_discard_sink *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->base.write = byteor_discard_write;
    self->base.finish = byteor_discard_finish;
    self->base.common.wait_fd = -1;
    self->verify = verify != 0;
    return self;
}
