/* aio_write.h: one write of a file that goes on beside what its caller does, by the kernel's own interface.
 *
 * Holds no memory and no descriptor: both are the caller's, and have to stay until byteor_aio_wait has returned. */
#ifndef BYTEOR_AIO_WRITE_H
#define BYTEOR_AIO_WRITE_H

#include <errno.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A context for one write at a time; 0: the kernel gives none. */
static inline aio_context_t byteor_aio_open(void) {
    aio_context_t context = 0;
    return syscall(SYS_io_setup, 1, &context) == 0 ? context : 0;
}

/* Waits for what is under way. */
static inline void byteor_aio_close(aio_context_t context) {
    if (context) syscall(SYS_io_destroy, context);
}

/* Begin to write; 0, or -1 with errno: nothing has begun. */
static inline int byteor_aio_write(aio_context_t context, int fd, const uint8_t *from, uint64_t bytes, uint64_t at) {
    struct iocb one = {.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = (uint32_t)fd, .aio_buf = (uint64_t)(uintptr_t)from,
                       .aio_nbytes = bytes, .aio_offset = (int64_t)at};
    struct iocb *list[1] = {&one};
    return syscall(SYS_io_submit, context, 1L, list) == 1 ? 0 : -1;
}

/* Bytes that the write which was begun has written, or the negated error. */
static inline int64_t byteor_aio_wait(aio_context_t context) {
    struct io_event event = {.res = -EIO};
    long got;
    do got = syscall(SYS_io_getevents, context, 1L, 1L, &event, NULL);
    while (got < 0 && errno == EINTR);
    return got == 1 ? event.res : -EIO;
}

#endif
