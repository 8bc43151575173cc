/* sink_packets.c: emit to the run's client, in packets of a SOCK_SEQPACKET pair with the daemon (packets.h). */
#define _GNU_SOURCE
#include "packets.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sink_bytes.h"

/* Send one packet. Returns 1 sent, 0 not now, -1 failed. */
static int byteor_send_packet(byteor_bytes_sink *self, uint32_t type, uint64_t value, const uint8_t *data, size_t bytes) {
    byteor_adapter_common *common = &self->base.common;
    byteor_packet_header header = {type, self->epoch, common->position[0] + self->partial, value};
    struct iovec parts[2] = {{&header, sizeof header}, {(void *)(uintptr_t)data, bytes}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(self->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
        return 1;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS) {
        common->wait_fd = self->fd;
        common->wait_events = POLLOUT;
        return 0;
    }
    byteor_adapter_fail(common, errno, errno == EPIPE || errno == ECONNRESET
                                           ? "the client's output ended early: the daemon or the client went away"
                                           : "sending the client's output failed");
    return -1;
}

static int byteor_packets_resume(byteor_bytes_sink *self) {
    if (self->resumed) {
        return 1;
    }
    self->epoch = (uint32_t)getpid();
    int sent = byteor_send_packet(self, BYTEOR_PACKET_RESUME, 0, NULL, 0);
    self->resumed = sent > 0;
    return sent;
}

ptrdiff_t byteor_emit_packets(byteor_bytes_sink *self, const uint8_t *data, size_t bytes) {
    int sent = byteor_packets_resume(self);
    sent = sent > 0 ? byteor_send_packet(self, BYTEOR_PACKET_DATA, 0, data, bytes) : sent;
    return sent > 0 ? (ptrdiff_t)bytes : sent;
}

void byteor_end_packets(byteor_bytes_sink *self) {
    int sent = byteor_packets_resume(self);
    sent = sent > 0 ? byteor_send_packet(self, BYTEOR_PACKET_END, self->crc_sent, NULL, 0) : sent;
    if (sent > 0) {
        self->base.common.status = BYTEOR_ADAPTER_ENDED;
    } else if (sent == 0) {
        self->base.common.status = BYTEOR_ADAPTER_WAITING;
    }
}
