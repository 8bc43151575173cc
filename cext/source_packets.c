/* source_packets.c: the run's client as a stream of bytes, in packets of a SOCK_SEQPACKET pair with the daemon.
 *
 * The worker says where to begin (RESUME) and how far its commits reach (ACK); the daemon keeps what is not acknowledged.
 * Only an END whose length and CRC32C hold is the end of the input.
 */
#define _GNU_SOURCE
#include "packets.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crc32c.h"
#include "source_bytes.h"

#define BYTEOR_ACK_EVERY_BYTES (256u * 1024u)

static ptrdiff_t byteor_packets_fail(byteor_bytes_source *self, int error_number, const char *text) {
    byteor_adapter_fail(&self->base.common, error_number, text);
    return BYTEOR_REFILL_FAILED;
}

/* Send RESUME first, later an ACK when it is due. Returns 0, or why to stop for now. */
static ptrdiff_t byteor_packets_tell(byteor_bytes_source *self) {
    /* The first time bytes may not have been taken, so `committed` is also where to begin. */
    const uint64_t committed = self->committed;
    byteor_packet_header header = {BYTEOR_PACKET_ACK, self->epoch, committed, 0};
    if (!self->resumed) {
        header.epoch = self->epoch = (uint32_t)getpid();
        header.type = BYTEOR_PACKET_RESUME;
    } else if (committed - self->acked < BYTEOR_ACK_EVERY_BYTES) {
        return 0;
    }
    ssize_t sent = send(self->fd, &header, sizeof header, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)) {
        return self->resumed ? 0 : BYTEOR_REFILL_WAIT;
    }
    if (sent < 0 && !(self->resumed && errno == EPIPE)) { /* what was sent before the other side left can still be read */
        return byteor_packets_fail(self, errno, "the daemon cannot be told where the client's input goes on");
    }
    self->resumed = 1;
    self->acked = committed;
    return 0;
}

static ptrdiff_t byteor_packets_end(byteor_bytes_source *self, const byteor_packet_header *header) {
    const byteor_adapter_common *common = &self->base.common;
    const size_t staged = self->end - self->start;
    uint32_t crc = byteor_crc32c((uint32_t)common->position[1], self->staging + self->start, staged);
    if (header->offset != common->position[0] + staged) {
        (void)snprintf(self->text, sizeof self->text, "the client's input ended at byte %llu, but %llu bytes arrived",
                       (unsigned long long)header->offset, (unsigned long long)(common->position[0] + staged));
        return byteor_packets_fail(self, 0, self->text);
    }
    if (header->value != crc) {
        (void)snprintf(self->text, sizeof self->text,
                       "the client's input was changed on its way: CRC32C %08x arrived, %08llx was sent", crc,
                       (unsigned long long)header->value);
        return byteor_packets_fail(self, 0, self->text);
    }
    return BYTEOR_REFILL_END;
}

static ptrdiff_t byteor_packets_data(byteor_bytes_source *self, const byteor_packet_header *header, size_t bytes) {
    uint64_t wanted = self->base.common.position[0] + (self->end - self->start);
    if (header->offset != wanted) {
        (void)snprintf(self->text, sizeof self->text, "the client's input has a gap: byte %llu came, %llu was next",
                       (unsigned long long)header->offset, (unsigned long long)wanted);
        return byteor_packets_fail(self, 0, self->text);
    }
    return bytes > 0 ? (ptrdiff_t)bytes : BYTEOR_REFILL_WAIT;
}

static ptrdiff_t byteor_packets_failed(byteor_bytes_source *self, const uint8_t *text, size_t bytes) {
    int kept = bytes < 160 ? (int)bytes : 160;
    (void)snprintf(self->text, sizeof self->text, "the client's input ended before its end mark, at byte %llu: %.*s",
                   (unsigned long long)self->base.common.position[0], kept, (const char *)text);
    return byteor_packets_fail(self, 0, self->text);
}

ptrdiff_t byteor_refill_packets(byteor_bytes_source *self, uint8_t *into, size_t room) {
    byteor_packet_header header;
    struct iovec parts[2] = {{&header, sizeof header}, {into, room}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ptrdiff_t told = byteor_packets_tell(self);
    if (told != 0) {
        return told;
    }
    ssize_t got = recvmsg(self->fd, &message, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return BYTEOR_REFILL_WAIT;
    }
    if (got < 0 && errno == ECONNRESET) {
        return BYTEOR_REFILL_AGAIN; /* it left without reading everything; what it sent before is still to come */
    }
    if (got < 0) {
        return byteor_packets_fail(self, errno, "receiving the client's input failed");
    }
    if (got == 0) {
        static const char gone[] = "the daemon or the client went away";
        return byteor_packets_failed(self, (const uint8_t *)gone, sizeof gone - 1);
    }
    if ((size_t)got < sizeof header || (message.msg_flags & MSG_TRUNC) != 0) {
        return byteor_packets_fail(self, 0, "a packet of the client's input has an impossible size");
    }
    if (header.epoch != self->epoch) {
        return BYTEOR_REFILL_AGAIN; /* meant for the worker that was here before */
    }
    switch (header.type) {
    case BYTEOR_PACKET_DATA:
        return byteor_packets_data(self, &header, (size_t)got - sizeof header);
    case BYTEOR_PACKET_END:
        return byteor_packets_end(self, &header);
    case BYTEOR_PACKET_FAILED:
        return byteor_packets_failed(self, into, (size_t)got - sizeof header);
    default:
        return byteor_packets_fail(self, 0, "a packet of the client's input is of an unknown type");
    }
}
