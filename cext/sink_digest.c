/* sink_digest.c: the write function of the egress of a replay. */
#include "sink_digest.h"

#include <time.h>

static const char byteor_digest_spent[] = "ACTION_LIMIT: the replay has attempted as many actions as it may";
static const char byteor_digest_stop[] = "REPLAY_DIVERGED: what leaves here differs from what left live";

/* Note message `index` of this egress, if it is the first one that differs. */
static void byteor_digest_diverge(byteor_digest_area *area, uint32_t how, const byteor_slot *slot, uint64_t sequence, uint64_t index) {
    if (area->diverged) return;
    area->index = index;
    area->time_ns = slot->time_ns;
    area->sequence = sequence;
    area->length = slot->length;
    area->type = slot->type;
    memcpy(area->payload, (const uint8_t *)slot + BYTEOR_SLOT_HEADER_BYTES, slot->length);
    area->diverged = how;
}

/* Hold a message against the one that left live at the same place. */
static void byteor_digest_compare(byteor_digest_sink *self, const byteor_slot *slot, uint64_t sequence) {
    const byteor_journal_frame *frame = byteor_frames_peek(&self->expected);
    if (frame == NULL) {
        byteor_digest_diverge(self->area, BYTEOR_DIVERGED_EXTRA, slot, sequence, self->area->rolling.count);
        return;
    }
    const uint8_t *payload = (const uint8_t *)slot + BYTEOR_SLOT_HEADER_BYTES;
    byteor_frames_take(&self->expected, frame);
    if (frame->length - 1u != slot->length || memcmp(frame + 1, payload, slot->length) != 0)
        byteor_digest_diverge(self->area, BYTEOR_DIVERGED_MESSAGE, slot, sequence, self->area->rolling.count);
}

/* The digest stands at a place where it is known what it was live. */
static void byteor_digest_mark_reached(byteor_digest_area *area, const byteor_slot *slot, uint64_t sequence) {
    byteor_digest_mark *mark = &byteor_digest_marks(area)[area->next_mark++];
    byteor_rolling_digest(&area->rolling, mark->seen);
    mark->reached = 1;
    if (memcmp(mark->seen, mark->wanted, SHA256_BYTES) != 0)
        byteor_digest_diverge(area, BYTEOR_DIVERGED_MARK, slot, sequence, area->rolling.count - 1);
}

static void byteor_digest_one(byteor_digest_sink *self, const byteor_slot *slot, uint64_t sequence) {
    byteor_digest_area *area = self->area;
    if (self->compares && !area->diverged) byteor_digest_compare(self, slot, sequence);
    byteor_rolling_add(&area->rolling, (const uint8_t *)slot + BYTEOR_SLOT_HEADER_BYTES, slot->length);
    if (area->next_mark < area->marks && byteor_digest_marks(area)[area->next_mark].count == area->rolling.count)
        byteor_digest_mark_reached(area, slot, sequence);
}

static inline int byteor_digest_is_message(const byteor_slot *slot) {
    return !(slot->flags & BYTEOR_SLOT_DROPPED) && !((slot->flags & BYTEOR_SLOT_END) && slot->length == 0);
}

static void byteor_digest_mirror(byteor_digest_sink *self) {
    byteor_adapter_common *common = &self->base.common;
    const byteor_adapter_common *inner = &self->inner->common;
    common->status = inner->status;
    common->wait_fd = inner->wait_fd;
    common->wait_events = inner->wait_events;
    common->error_number = inner->error_number;
    common->error_text = inner->error_text;
}

static uint64_t byteor_digest_now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* answered in user space */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* How many of the first `count` slots are messages. */
static uint64_t byteor_digest_messages(const byteor_batch *batch, uint32_t count) {
    uint64_t messages = 0;
    for (uint32_t i = 0; i < count; i++) messages += (uint64_t)byteor_digest_is_message(byteor_slot_at(batch, i));
    return messages;
}

/* Let out as many messages as the budget allows; returns how many slots are done. */
static int byteor_digest_pass_on(byteor_digest_sink *self, const byteor_batch *batch) {
    if (self->budget == NULL) return self->inner->write(self->inner, batch);
    byteor_batch part = *batch;
    const uint64_t wanted = byteor_digest_messages(batch, batch->count);
    const uint64_t taken = byteor_action_take(self->budget, self->actions_max, wanted);
    while (byteor_digest_messages(&part, part.count) > taken) part.count--;
    if (part.count == 0 && batch->count) return byteor_adapter_fail(&self->inner->common, 0, byteor_digest_spent);
    const int done = self->inner->write(self->inner, &part);
    byteor_action_return(self->budget, taken - byteor_digest_messages(batch, (uint32_t)done));
    return done;
}

static int byteor_digest_write(byteor_sink *base, const byteor_batch *batch) {
    byteor_digest_sink *self = (byteor_digest_sink *)(void *)base;
    byteor_adapter_common *common = &base->common;
    if (self->stops && self->area->diverged) return byteor_adapter_fail(common, 0, byteor_digest_stop);
    const int done = self->inner ? byteor_digest_pass_on(self, batch) : (int)batch->count;
    common->status = BYTEOR_ADAPTER_READY;
    if (self->inner) byteor_digest_mirror(self);
    if (self->area->first_ns == 0) self->area->first_ns = byteor_digest_now_ns();
    for (int i = 0; i < done; i++) {
        const byteor_slot *slot = byteor_slot_at(batch, (uint32_t)i);
        if (!byteor_digest_is_message(slot)) continue;
        byteor_digest_one(self, slot, batch->first_sequence + (uint64_t)i);
        if (self->stops && self->area->diverged) {
            byteor_adapter_fail(common, 0, byteor_digest_stop);
            return i;
        }
    }
    common->position[0] = self->area->rolling.count;
    common->bytes_total = self->area->rolling.bytes;
    self->area->last_ns = byteor_digest_now_ns();
    return done;
}

static void byteor_digest_finish(byteor_sink *base) {
    byteor_digest_sink *self = (byteor_digest_sink *)(void *)base;
    if (self->inner == NULL) {
        base->common.status = BYTEOR_ADAPTER_ENDED;
        return;
    }
    self->inner->finish(self->inner);
    byteor_digest_mirror(self);
}

void byteor_digest_sink_start(byteor_digest_sink *self, byteor_digest_area *area, byteor_sink *inner) {
    self->base.write = byteor_digest_write;
    self->base.finish = byteor_digest_finish;
    self->base.common.wait_fd = -1;
    self->area = area;
    self->inner = inner;
}
