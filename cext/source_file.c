/* source_file.c: refills from regular files, to their end or following their growth.
 *
 * Following is by name, as `tail -F`: when another file has taken the path's place and the old one has been read to its
 * end, the new one is read from its beginning; a file that shrank is read again from its beginning.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source_bytes.h"

#define BYTEOR_LOOK_EVERY_NS 100000000u /* compare the path with the file every 100 ms at the end of the file */
#define BYTEOR_TRUNCATED (-2)

ptrdiff_t byteor_refill_read(byteor_bytes_source *self, uint8_t *into, size_t room) {
    ssize_t got = read(self->fd, into, room);
    if (got >= 0) {
        return got;
    }
    if (errno == EINTR || errno == EAGAIN) {
        return BYTEOR_REFILL_WAIT;
    }
    byteor_adapter_fail(&self->base.common, errno, "reading the input file failed");
    return BYTEOR_REFILL_FAILED;
}

/* At the end of the file: is the path still this file, and is the file as long as what was read of it? */
static ptrdiff_t byteor_follow_look(byteor_bytes_source *self) {
    struct stat open_file;
    struct stat named;
    if (fstat(self->fd, &open_file) != 0) {
        byteor_adapter_fail(&self->base.common, errno, "looking at the followed file failed");
        return BYTEOR_REFILL_FAILED;
    }
    uint64_t read_to = self->base.common.position[0] + (self->end - self->start);
    if ((uint64_t)open_file.st_size < read_to) {
        self->pending_fd = BYTEOR_TRUNCATED;
        return BYTEOR_REFILL_CUT;
    }
    int there = fstatat(self->directory_fd, self->base_name, &named, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(named.st_mode);
    if (!there || (named.st_ino == open_file.st_ino && named.st_dev == open_file.st_dev)) {
        self->seen_changed = 0;
        return BYTEOR_REFILL_WAIT;
    }
    if (self->seen_changed++ == 0) {
        return BYTEOR_REFILL_WAIT; /* its writer may not have changed over yet: look once more */
    }
    self->pending_fd = openat(self->directory_fd, self->base_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (self->pending_fd < 0) {
        self->pending_fd = -1;
        if (errno == ENOENT || errno == EMFILE || errno == ENFILE) {
            return BYTEOR_REFILL_WAIT;
        }
        byteor_adapter_fail(&self->base.common, errno, "opening the file that took the followed file's place failed");
        return BYTEOR_REFILL_FAILED;
    }
    return BYTEOR_REFILL_BOUNDARY;
}

ptrdiff_t byteor_refill_follow(byteor_bytes_source *self, uint8_t *into, size_t room) {
    ptrdiff_t got = byteor_refill_read(self, into, room);
    if (got != 0) {
        self->seen_changed = got > 0 ? 0 : self->seen_changed;
        return got;
    }
    if (self->now_ns - self->looked_ns < BYTEOR_LOOK_EVERY_NS) {
        return BYTEOR_REFILL_WAIT;
    }
    self->looked_ns = self->now_ns;
    return byteor_follow_look(self);
}

void byteor_crossed_follow(byteor_bytes_source *self) {
    struct stat named;
    if (self->pending_fd == BYTEOR_TRUNCATED) {
        if (lseek(self->fd, 0, SEEK_SET) != 0) {
            byteor_adapter_fail(&self->base.common, errno, "going back to the beginning of the truncated file failed");
            return;
        }
    } else {
        close(self->fd);
        self->fd = self->pending_fd;
    }
    if (fstat(self->fd, &named) != 0) {
        byteor_adapter_fail(&self->base.common, errno, "looking at the followed file failed");
        return;
    }
    self->pending_fd = -1;
    self->seen_changed = 0;
    self->base.common.position[0] = 0;
    self->base.common.position[1] = named.st_ino;
}
