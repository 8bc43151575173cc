/* source_replay.c: the poll function of the ingress of a replay. */
#include "source_replay.h"

/* When a message is due by the run's clock. */
static uint64_t byteor_replay_due(const byteor_replay_source *self, uint64_t time_ns) {
    const uint64_t after = time_ns > self->origin_ns ? time_ns - self->origin_ns : 0;
    return self->began_ns + (uint64_t)((double)after / self->speed);
}

/* Whether the next `count` messages are due; those behind the end are. */
static int byteor_replay_all_due(const byteor_replay_source *self, uint32_t count, uint64_t now_ns) {
    byteor_frames ahead = self->frames;
    for (uint32_t i = 0; i < count && ahead.next < self->end; i++) {
        const byteor_journal_frame *frame = byteor_frames_peek(&ahead);
        if (frame == NULL) return 1;
        if (byteor_replay_due(self, frame->time_ns) > now_ns) return 0;
        byteor_frames_take(&ahead, frame);
    }
    return 1;
}

static void byteor_replay_fill(byteor_slot *slot, const byteor_journal_frame *frame, uint32_t length) {
    slot->length = (uint16_t)length;
    slot->type = frame->type;
    slot->flags = 0;
    slot->time_ns = frame->time_ns;
    memcpy(byteor_payload(slot), frame + 1, length);
}

static int byteor_replay_poll(byteor_source *base, byteor_batch *batch) {
    byteor_replay_source *self = (byteor_replay_source *)(void *)base;
    byteor_adapter_common *common = &base->common;
    uint32_t filled = 0;
    if (self->began_ns == 0) self->began_ns = batch->now_ns;
    common->status = BYTEOR_ADAPTER_READY;
    if (self->whole && self->speed > 0.0 && !byteor_replay_all_due(self, batch->count, batch->now_ns)) {
        common->status = BYTEOR_ADAPTER_WAITING;
        return 0;
    }
    while (filled < batch->count) {
        const byteor_journal_frame *frame = self->frames.next < self->end ? byteor_frames_peek(&self->frames) : NULL;
        if (frame == NULL) {
            if (filled == 0) common->status = BYTEOR_ADAPTER_ENDED;
            break;
        }
        if (self->speed > 0.0 && byteor_replay_due(self, frame->time_ns) > batch->now_ns) {
            if (filled == 0) common->status = BYTEOR_ADAPTER_WAITING;
            break;
        }
        const uint32_t length = frame->length - 1u;
        byteor_frames_take(&self->frames, frame);
        if (length > batch->payload_max) {
            byteor_reject(common, BYTEOR_REJECT_OVERSIZE, frame + 1, length);
            continue;
        }
        byteor_replay_fill(byteor_slot_at(batch, filled), frame, length);
        common->bytes_total += length;
        filled++;
    }
    common->position[0] = self->frames.next;
    return (int)filled;
}

void byteor_replay_source_start(byteor_replay_source *self, uint64_t end, uint64_t origin_ns, double speed, int whole) {
    self->base.poll = byteor_replay_poll;
    self->base.common.wait_fd = -1;
    self->base.common.stamps_time = BYTEOR_TIMES_REPLAYED;
    self->base.common.position[0] = self->frames.next;
    self->end = end;
    self->origin_ns = origin_ns;
    self->speed = speed;
    self->whole = (uint32_t)whole;
}
