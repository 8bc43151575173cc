/* sink_datagram.c: UDP and Unix datagrams: sendmmsg over the live messages of a batch. */
#define _GNU_SOURCE
#include "sink_datagram.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BYTEOR_DATAGRAMS_PER_WRITE 256u

typedef struct byteor_datagram_sink {
    byteor_sink base;
    int fd;
    uint8_t unheard_is_lost;
    struct mmsghdr messages[BYTEOR_DATAGRAMS_PER_WRITE];
    struct iovec parts[BYTEOR_DATAGRAMS_PER_WRITE];
    uint32_t places[BYTEOR_DATAGRAMS_PER_WRITE]; /* slot of each */
} byteor_datagram_sink;

static int byteor_is_message(const byteor_slot *slot) {
    return (slot->flags & BYTEOR_SLOT_DROPPED) == 0 && ((slot->flags & BYTEOR_SLOT_END) == 0 || slot->length > 0);
}

/* Gather the messages from slot `first` on; `*next` is the first slot not looked at. */
static uint32_t byteor_gather_datagrams(byteor_datagram_sink *self, const byteor_batch *batch, uint32_t first, uint32_t *next) {
    uint32_t count = 0;
    uint32_t at = first;
    for (; at < batch->count && count < BYTEOR_DATAGRAMS_PER_WRITE; at++) {
        byteor_slot *slot = byteor_slot_at(batch, at);
        if (byteor_is_message(slot)) {
            self->parts[count].iov_base = byteor_payload(slot);
            self->parts[count].iov_len = slot->length;
            self->messages[count].msg_hdr.msg_iov = &self->parts[count];
            self->messages[count].msg_hdr.msg_iovlen = 1;
            self->places[count++] = at;
        }
    }
    *next = at;
    return count;
}

enum { BYTEOR_SEND_STOP = 0, BYTEOR_SEND_LEAVE_OUT = 1, BYTEOR_SEND_AGAIN = 2 };

/* The first gathered message could not be sent: what now? */
static int byteor_datagram_refused(byteor_datagram_sink *self, int error_number) {
    byteor_adapter_common *common = &self->base.common;
    switch (error_number) {
    case EAGAIN:
    case EINTR:
    case ENOBUFS:
    case ENOMEM:
        common->status = BYTEOR_ADAPTER_WAITING;
        return BYTEOR_SEND_STOP;
    case EMSGSIZE:
        byteor_reject(common, BYTEOR_REJECT_OVERSIZE, self->parts[0].iov_base, self->parts[0].iov_len);
        return BYTEOR_SEND_LEAVE_OUT;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
        if (self->unheard_is_lost) { /* refused: the answer to an earlier datagram; else no way for this one */
            byteor_reject(common, BYTEOR_REJECT_KERNEL, self->parts[0].iov_base, self->parts[0].iov_len);
            return error_number == ECONNREFUSED ? BYTEOR_SEND_AGAIN : BYTEOR_SEND_LEAVE_OUT;
        }
        break;
    default:
        break;
    }
    return byteor_adapter_fail(common, error_number, "sending datagrams failed: the receiver is gone or not allowed");
}

static int byteor_datagram_write(byteor_sink *base, const byteor_batch *batch) {
    byteor_datagram_sink *self = (byteor_datagram_sink *)(void *)base;
    byteor_adapter_common *common = &base->common;
    uint32_t done = 0;
    int refused = 0;
    common->status = BYTEOR_ADAPTER_READY;
    while (done < batch->count) {
        uint32_t next;
        const uint32_t count = byteor_gather_datagrams(self, batch, done, &next);
        int sent = count == 0 ? 0 : sendmmsg(self->fd, self->messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            const int what = byteor_datagram_refused(self, errno);
            if (what == BYTEOR_SEND_STOP) {
                return (int)self->places[0];
            }
            done = self->places[0] + (what == BYTEOR_SEND_LEAVE_OUT || refused ? 1u : 0u);
            refused = done == self->places[0];
            continue;
        }
        refused = 0;
        for (uint32_t i = 0; i < (uint32_t)sent; i++) {
            common->bytes_total += self->messages[i].msg_len;
        }
        common->position[0] += (uint32_t)sent;
        done = (uint32_t)sent < count ? self->places[sent] : next;
    }
    return (int)done;
}

static void byteor_datagram_finish(byteor_sink *base) { base->common.status = BYTEOR_ADAPTER_ENDED; }

byteor_sink *byteor_datagram_sink_new(int fd, int unheard_is_lost) {
    byteor_datagram_sink *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->base.write = byteor_datagram_write;
    self->base.finish = byteor_datagram_finish;
    self->base.common.wait_fd = fd;
    self->base.common.wait_events = POLLOUT;
    self->fd = fd;
    self->unheard_is_lost = unheard_is_lost != 0;
    return &self->base;
}
