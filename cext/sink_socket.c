/* sink_socket.c: emit to a stream socket: one that was connected, or the one peer that is accepted at a time.
 *
 * A connection that breaks fails the run; where the sink listens, it waits for the next peer, who gets the message that
 * was under way from its beginning. What a lost peer's kernel had taken is not known here: at most once.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sink_bytes.h"

static ptrdiff_t byteor_wait_writable(byteor_bytes_sink *self, int fd, int16_t events) {
    self->base.common.wait_fd = fd;
    self->base.common.wait_events = events;
    return BYTEOR_EMIT_WAIT;
}

static ptrdiff_t byteor_accept_reader(byteor_bytes_sink *self) {
    int fd = accept4(self->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        self->fd = fd;
        return BYTEOR_EMIT_NEW_PEER;
    }
    switch (errno) {
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EOPNOTSUPP:
    case EFAULT:
        byteor_adapter_fail(&self->base.common, errno, "accepting a peer failed");
        return BYTEOR_EMIT_FAILED;
    default:
        return byteor_wait_writable(self, self->listen_fd, POLLIN);
    }
}

ptrdiff_t byteor_emit_socket(byteor_bytes_sink *self, const uint8_t *data, size_t bytes) {
    if (self->fd < 0) {
        return byteor_accept_reader(self);
    }
    ssize_t taken = send(self->fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken > 0) {
        return taken;
    }
    if (taken == 0 || errno == EAGAIN || errno == EINTR || errno == ENOBUFS) {
        return byteor_wait_writable(self, self->fd, POLLOUT);
    }
    if (self->listen_fd >= 0) {
        close(self->fd);
        self->fd = -1;
        return byteor_accept_reader(self);
    }
    byteor_adapter_fail(&self->base.common, errno, "the peer that is written to closed or lost the connection");
    return BYTEOR_EMIT_FAILED;
}

void byteor_end_socket(byteor_bytes_sink *self) {
    if (self->fd >= 0) {
        (void)shutdown(self->fd, SHUT_WR); /* a peer that is gone already does not matter any more */
    }
    self->base.common.status = BYTEOR_ADAPTER_ENDED;
}
