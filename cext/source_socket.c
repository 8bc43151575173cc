/* source_socket.c: refill from a stream socket: one that was connected, or peers that are accepted one after the other.
 *
 * A peer that closes ends its part of the input: what it sent last is a whole message. A peer that is cut off leaves a
 * truncated one. Then the next peer is waited for, or, with a number of peers given, the input ends after the last.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "source_bytes.h"

static ptrdiff_t byteor_wait_readable(byteor_bytes_source *self, int fd) {
    self->base.common.wait_fd = fd;
    self->base.common.wait_events = POLLIN;
    return BYTEOR_REFILL_WAIT;
}

static ptrdiff_t byteor_accept_peer(byteor_bytes_source *self) {
    int fd = accept4(self->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        self->fd = fd;
        return BYTEOR_REFILL_AGAIN;
    }
    switch (errno) {
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EOPNOTSUPP:
    case EFAULT:
        byteor_adapter_fail(&self->base.common, errno, "accepting a peer failed");
        return BYTEOR_REFILL_FAILED;
    default: /* nobody there, or the one who was has gone again; out of descriptors or memory passes */
        return byteor_wait_readable(self, self->listen_fd);
    }
}

ptrdiff_t byteor_refill_socket(byteor_bytes_source *self, uint8_t *into, size_t room) {
    if (self->fd < 0) {
        return self->listen_fd >= 0 ? byteor_accept_peer(self) : BYTEOR_REFILL_END;
    }
    ssize_t got = recv(self->fd, into, room, MSG_DONTWAIT);
    if (got > 0) {
        return got;
    }
    if (got == 0) {
        return self->listen_fd >= 0 ? BYTEOR_REFILL_BOUNDARY : BYTEOR_REFILL_END;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return byteor_wait_readable(self, self->fd);
    }
    if (self->listen_fd >= 0) {
        return BYTEOR_REFILL_CUT;
    }
    byteor_adapter_fail(&self->base.common, errno, "the connection that is read from broke");
    return BYTEOR_REFILL_FAILED;
}

void byteor_crossed_socket(byteor_bytes_source *self) {
    if (self->fd >= 0) {
        close(self->fd);
        self->fd = -1;
    }
    if (self->peers_left > 0 && --self->peers_left == 0) {
        close(self->listen_fd);
        self->listen_fd = -1;
    }
}
