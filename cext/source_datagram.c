/* source_datagram.c: UDP and Unix datagrams: one recvmmsg per poll. */
#define _GNU_SOURCE
#include "source_datagram.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BYTEOR_DATAGRAMS_PER_POLL 256u

typedef union byteor_control {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(sizeof(uint32_t)) + CMSG_SPACE(64)];
} byteor_control;

typedef struct byteor_datagram_source {
    byteor_source base;
    int fd;
    uint32_t kernel_drops; /* of the socket, as last told; wraps */
    uint64_t count;
    struct mmsghdr messages[BYTEOR_DATAGRAMS_PER_POLL];
    struct iovec parts[BYTEOR_DATAGRAMS_PER_POLL];
    byteor_control controls[BYTEOR_DATAGRAMS_PER_POLL];
} byteor_datagram_source;

/* Datagrams that the kernel dropped since the last that told: SO_RXQ_OVFL counts them for the socket. */
static void byteor_note_drops(byteor_datagram_source *self, struct msghdr *message) {
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at != NULL; at = CMSG_NXTHDR(message, at)) {
        if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SO_RXQ_OVFL) {
            uint32_t drops;
            memcpy(&drops, CMSG_DATA(at), sizeof drops);
            self->base.common.rejected[BYTEOR_REJECT_KERNEL] += (uint32_t)(drops - self->kernel_drops);
            self->base.common.rejects++;
            self->kernel_drops = drops;
        }
    }
}

/* Move received datagram `from` to slot `to` if one before it was rejected, and complete the slot. */
static void byteor_keep_datagram(byteor_datagram_source *self, byteor_batch *batch, uint32_t from, uint32_t to) {
    byteor_slot *slot = byteor_slot_at(batch, to);
    const uint32_t bytes = self->messages[from].msg_len;
    if (from != to) {
        memcpy(byteor_payload(slot), self->parts[from].iov_base, bytes);
    }
    slot->length = (uint16_t)bytes;
    slot->type = 0;
    slot->flags = 0;
    self->base.common.bytes_total += bytes;
}

static int byteor_receive(byteor_datagram_source *self, byteor_batch *batch, uint32_t room) {
    for (uint32_t i = 0; i < room; i++) {
        struct msghdr *message = &self->messages[i].msg_hdr;
        self->parts[i].iov_base = byteor_payload(byteor_slot_at(batch, i));
        self->parts[i].iov_len = batch->payload_max;
        message->msg_iov = &self->parts[i];
        message->msg_iovlen = 1;
        message->msg_control = &self->controls[i];
        message->msg_controllen = sizeof self->controls[i];
        message->msg_flags = 0;
    }
    return recvmmsg(self->fd, self->messages, room, MSG_DONTWAIT, NULL);
}

static int byteor_no_datagram(byteor_datagram_source *self, int error_number) {
    byteor_adapter_common *common = &self->base.common;
    switch (error_number) {
    case EAGAIN:
    case EINTR:
    case ENOBUFS:
    case ENOMEM:
    case ECONNREFUSED: /* an ICMP answer to something that this socket never cared about */
        common->status = BYTEOR_ADAPTER_WAITING;
        return 0;
    default:
        return byteor_adapter_fail(common, error_number, "receiving datagrams failed");
    }
}

static int byteor_datagram_poll(byteor_source *base, byteor_batch *batch) {
    byteor_datagram_source *self = (byteor_datagram_source *)(void *)base;
    byteor_adapter_common *common = &base->common;
    uint32_t room = batch->count < BYTEOR_DATAGRAMS_PER_POLL ? batch->count : BYTEOR_DATAGRAMS_PER_POLL;
    uint32_t filled = 0;
    common->status = BYTEOR_ADAPTER_READY;
    if (self->count != 0) {
        const uint64_t left = common->position[0] < self->count ? self->count - common->position[0] : 0;
        if (left == 0) {
            common->status = BYTEOR_ADAPTER_ENDED;
            return 0;
        }
        room = left < room ? (uint32_t)left : room;
    }
    int got = byteor_receive(self, batch, room);
    if (got <= 0) {
        return byteor_no_datagram(self, got < 0 ? errno : EAGAIN);
    }
    for (uint32_t i = 0; i < (uint32_t)got; i++) {
        byteor_note_drops(self, &self->messages[i].msg_hdr);
        if ((self->messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) {
            byteor_reject(common, BYTEOR_REJECT_TRUNCATED, self->parts[i].iov_base, self->messages[i].msg_len);
        } else {
            byteor_keep_datagram(self, batch, i, filled++);
        }
    }
    common->position[0] += (uint32_t)got;
    return (int)filled;
}

byteor_source *byteor_datagram_source_new(int fd, uint64_t count) {
    byteor_datagram_source *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->base.poll = byteor_datagram_poll;
    self->base.common.wait_fd = fd;
    self->base.common.wait_events = POLLIN;
    self->fd = fd;
    self->count = count;
    return &self->base;
}
