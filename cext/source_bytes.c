/* source_bytes.c: the poll function of byte-stream sources. No system call is made here. */
#include "source_bytes.h"

#include <stdio.h>
#include <stdlib.h>

#include "crc32c.h"

static void byteor_bytes_took(byteor_bytes_source *self, const uint8_t *data, size_t bytes) {
    byteor_adapter_common *common = &self->base.common;
    if (self->keeps_crc) {
        common->position[1] = byteor_crc32c((uint32_t)common->position[1], data, bytes);
    }
    common->position[0] += bytes;
    common->bytes_total += bytes;
    self->start += bytes;
    byteor_framing_save(&self->framing, &common->position[2], &common->position[3]);
}

static void byteor_bytes_forget_frame(byteor_bytes_source *self) {
    byteor_framing_restore(&self->framing, 0, 0);
    byteor_framing_save(&self->framing, &self->base.common.position[2], &self->base.common.position[3]);
}

/* Frame boundaries are lost: give up the rest of this peer, or fail. */
static void byteor_bytes_lost(byteor_bytes_source *self) {
    if (self->forgives_loss) {
        byteor_bytes_took(self, self->staging + self->start, self->end - self->start);
        byteor_bytes_forget_frame(self);
        self->boundary = 1;
        return;
    }
    (void)snprintf(self->text, sizeof self->text, "%s, at byte %llu of the input", self->framing.lost,
                   (unsigned long long)self->base.common.position[0]);
    byteor_adapter_fail(&self->base.common, 0, self->text);
}

/* Everything before the boundary or the end is taken. */
static void byteor_bytes_finish_part(byteor_bytes_source *self) {
    if (self->boundary) {
        self->boundary = 0;
        byteor_bytes_forget_frame(self);
        if (self->crossed != NULL) {
            self->crossed(self);
        }
    } else if (self->ending) {
        self->base.common.status = BYTEOR_ADAPTER_ENDED;
    }
}

static void byteor_bytes_make_room(byteor_bytes_source *self) {
    if (self->start == self->end) {
        self->start = self->end = 0;
    } else if (BYTEOR_STAGING_BYTES - self->end < BYTEOR_REFILL_BYTES) {
        memmove(self->staging, self->staging + self->start, self->end - self->start);
        self->end -= self->start;
        self->start = 0;
    }
}

/* One refill. Returns whether it is worth looking for messages again. */
static int byteor_bytes_refill(byteor_bytes_source *self) {
    byteor_bytes_make_room(self);
    ptrdiff_t got = self->refill(self, self->staging + self->end, BYTEOR_REFILL_BYTES);
    if (got > 0) {
        self->end += (size_t)got;
        return 1;
    }
    switch (got) {
    case BYTEOR_REFILL_END:
        self->ending = 1;
        return 1;
    case BYTEOR_REFILL_CUT:
        if (self->start < self->end) {
            byteor_reject(&self->base.common, BYTEOR_REJECT_TRUNCATED, self->staging + self->start, self->end - self->start);
            byteor_bytes_took(self, self->staging + self->start, self->end - self->start);
        }
        self->boundary = 1;
        return 1;
    case BYTEOR_REFILL_BOUNDARY:
        self->boundary = 1;
        return 1;
    case BYTEOR_REFILL_AGAIN:
        return 1;
    case BYTEOR_REFILL_WAIT:
        self->base.common.status = BYTEOR_ADAPTER_WAITING;
        return 0;
    default:
        return 0;
    }
}

static int byteor_bytes_poll(byteor_source *base, byteor_batch *batch) {
    byteor_bytes_source *self = (byteor_bytes_source *)(void *)base;
    byteor_adapter_common *common = &base->common;
    uint32_t filled = 0;
    self->now_ns = batch->now_ns;
    self->committed = common->position[0];
    common->status = BYTEOR_ADAPTER_READY;
    for (int refills = 0;;) {
        const uint8_t *data = self->staging + self->start;
        const int last = self->ending || self->boundary;
        size_t taken = byteor_take(&self->framing, common, batch, &filled, data, self->end - self->start, last);
        byteor_bytes_took(self, data, taken);
        if (filled > 0) {
            break; /* a lost frame is reported at the next poll, behind the messages before it */
        }
        if (self->framing.lost != NULL) {
            byteor_bytes_lost(self);
        }
        if (common->status != BYTEOR_ADAPTER_READY) {
            break;
        }
        if ((self->ending || self->boundary) && self->start == self->end) {
            byteor_bytes_finish_part(self);
        }
        if (common->status != BYTEOR_ADAPTER_READY || refills++ == BYTEOR_REFILLS_PER_POLL || !byteor_bytes_refill(self)) {
            break;
        }
    }
    return (int)filled;
}

byteor_bytes_source *byteor_bytes_source_new(const byteor_framing_options *options) {
    byteor_bytes_source *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->staging = malloc(BYTEOR_STAGING_BYTES);
    if (self->staging == NULL) {
        free(self);
        return NULL;
    }
    memset(self->staging, 0, BYTEOR_STAGING_BYTES); /* its pages are touched now, not on the hot path */
    self->base.poll = byteor_bytes_poll;
    self->base.common.wait_fd = -1;
    self->framing.options = *options;
    self->fd = self->listen_fd = self->pending_fd = self->directory_fd = -1;
    return self;
}

void byteor_bytes_source_restore(byteor_bytes_source *self, const uint64_t position[BYTEOR_POSITION_WORDS]) {
    memcpy(self->base.common.position, position, sizeof self->base.common.position);
    byteor_framing_restore(&self->framing, position[2], position[3]);
    self->acked = position[0];
}

void byteor_bytes_source_free(byteor_bytes_source *self) {
    free(self->staging);
    free(self);
}
