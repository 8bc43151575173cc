/* timekeeping.h: how somebody else says for a publisher that is there, and silent, that time has passed. A merge by time
 * need not wait then for a process that is stopped, or that keeps its interpreter busy.
 *
 * A publisher announces what it is about to write before it reads the clock for it (byteor_client_begin). So: read the
 * clock, have a barrier run in every process, look at what was announced. If all of it is published, whatever comes
 * later was announced after the barrier, and its time was read after that: it is not before the clock read here. */
#ifndef BYTEOR_TIMEKEEPING_H
#define BYTEOR_TIMEKEEPING_H

#include "clock.h"
#include "ring.h"
#include "wait.h"

/* 1: time was kept. 0: the publisher does so itself, or has announced something that it has not published; then only it
 * knows the time of that. -1: the input has ended. */
static inline int byteor_keep_time(const byteor_ring *ring, uint64_t silent_ns) {
    byteor_ring_producer *producer = ring->producer;
    if (byteor_load_acquire64(&producer->end_sequence) != BYTEOR_NO_SEQUENCE) return -1;
    uint64_t now = byteor_now_ns(&ring->header->clock), said = byteor_load_acquire64(&producer->progress_ns);
    if (now - said < silent_ns || now <= said) return 0;
    if (!(ring->header->flags & BYTEOR_RUN_MEMBARRIER)) return 0; /* publishers have not registered for it */
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) != 0) return 0;
    uint64_t claimed = byteor_load_acquire64(&producer->claimed); /* before the cursor: a later claim has a later time */
    if (byteor_load_acquire64(&producer->cursor) - claimed >= (uint64_t)1 << 63) return 0;
    byteor_store_release64(&producer->progress_ns, now - 1); /* a message of this very nanosecond may still come */
    return 1;
}

#endif
