/* sink_file.c: emit to a regular file. A message that did not go whole is cut off again; after a failed sync: no retry. */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "sink_bytes.h"

static ptrdiff_t byteor_file_failed(byteor_bytes_sink *self, int error_number, const char *text) {
    byteor_adapter_fail(&self->base.common, error_number, text);
    if (ftruncate(self->fd, (off_t)self->base.common.position[0]) != 0) {
        self->base.common.error_text = "writing the output file failed, and its last message could not be cut off again";
    }
    return BYTEOR_EMIT_FAILED;
}

ptrdiff_t byteor_emit_file(byteor_bytes_sink *self, const uint8_t *data, size_t bytes) {
    ssize_t taken = write(self->fd, data, bytes);
    if (taken < 0) {
        switch (errno) {
        case EINTR:
        case EAGAIN:
            return BYTEOR_EMIT_WAIT;
        case ENOSPC:
        case EDQUOT:
            return byteor_file_failed(self, errno, "no room left for the output file; it ends at its last whole message");
        case EFBIG:
            return byteor_file_failed(self, errno, "the output file may not grow further (file size limit)");
        default:
            return byteor_file_failed(self, errno, "writing the output file failed");
        }
    }
    if (self->sync == BYTEOR_SYNC_EVERY_BATCH && fdatasync(self->fd) != 0) {
        byteor_adapter_fail(&self->base.common, errno, "syncing the output file failed; what it holds is uncertain");
        return BYTEOR_EMIT_FAILED;
    }
    return taken;
}

void byteor_end_file(byteor_bytes_sink *self) {
    if (self->sync != BYTEOR_SYNC_NONE && fsync(self->fd) != 0) {
        byteor_adapter_fail(&self->base.common, errno, "syncing the output file at its end failed; what it holds is uncertain");
        return;
    }
    self->base.common.status = BYTEOR_ADAPTER_ENDED;
}
