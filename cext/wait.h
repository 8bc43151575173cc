/* wait.h: what a role does while there is nothing to do, and how it is woken.
 *
 * park: the parker sets its doorbell word, makes every other CPU's earlier stores and later loads orderly with one
 * membarrier(GLOBAL_EXPEDITED), looks again, then sleeps on a futex with a bound. A waker pays one load after its release
 * stores. Without membarrier (flag in the region) the waker uses a full fence instead. */
#ifndef BYTEOR_WAIT_H
#define BYTEOR_WAIT_H

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "atomics.h"
#include "layout.h"

enum byteor_wait_kind { BYTEOR_WAIT_SPIN = 0, BYTEOR_WAIT_BACKOFF = 1, BYTEOR_WAIT_PARK = 2 };

#define BYTEOR_WAIT_SPINS 200u
#define BYTEOR_WAIT_YIELDS 20u
#define BYTEOR_WAIT_TRUSTS 8u /* waits in haste for each one that asks whether others still want this CPU */
#define BYTEOR_RUSAGE_THREAD 1 /* RUSAGE_THREAD, whose name is there with _GNU_SOURCE only */
#define BYTEOR_WAIT_SLEEP_NS_MIN 1000u
#define BYTEOR_PARK_NS_MAX 10000000u /* a parked role looks again at least this often */

typedef struct byteor_wait {
    uint32_t kind;
    uint32_t idle_turns;
    uint32_t haste; /* idle turns less than BYTEOR_WAIT_SPINS before the first yield: others want this CPU too */
    uint32_t trusted; /* waits in haste since one asked whether they still do */
    uint64_t sleep_ns;
    uint64_t sleep_ns_max;
    uint32_t membarrier; /* parkers use it */
    uint32_t *doorbell;  /* own, NULL: cannot park */
} byteor_wait;

/* Once per process; 0 when membarrier(GLOBAL_EXPEDITED) is to be had. */
static inline int byteor_membarrier_register(void) {
    return (int)syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
}

static inline void byteor_wait_reset(byteor_wait *wait) {
    wait->idle_turns = 0;
    wait->sleep_ns = BYTEOR_WAIT_SLEEP_NS_MIN;
}

/* Ring a doorbell if its owner is parked. Call after the stores that it waits for. */
static inline void byteor_doorbell_ring(uint32_t *doorbell, int membarrier) {
    if (membarrier)
        byteor_fence_signal(); /* partner: the parker's membarrier */
    else
        byteor_fence_full();
    if (byteor_load_relaxed32(doorbell) != 0 && byteor_exchange32(doorbell, 0) != 0)
        syscall(SYS_futex, doorbell, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* First half of parking: after it the caller looks for work once more, then calls byteor_park or byteor_unpark. */
static inline void byteor_park_announce(byteor_wait *wait) {
    byteor_exchange32(wait->doorbell, 1);
    if (wait->membarrier)
        syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
    else
        byteor_fence_full(); /* partner: the waker's. The exchange alone does not hold back the look that follows it */
}

static inline void byteor_unpark(byteor_wait *wait) { byteor_exchange32(wait->doorbell, 0); }

static inline void byteor_park(byteor_wait *wait, uint64_t bound_ns) {
    struct timespec bound = {.tv_sec = (time_t)(bound_ns / 1000000000u), .tv_nsec = (long)(bound_ns % 1000000000u)};
    syscall(SYS_futex, wait->doorbell, FUTEX_WAIT, 1, &bound, NULL, 0);
    byteor_exchange32(wait->doorbell, 0);
}

/* Sleep until one of `count` descriptors is ready or the bound has passed; none: only the bound. */
static inline void byteor_sleep_on(struct pollfd *watched, uint32_t count, uint64_t bound_ns) {
    struct timespec bound = {.tv_sec = (time_t)(bound_ns / 1000000000u), .tv_nsec = (long)(bound_ns % 1000000000u)};
    if (count == 0) nanosleep(&bound, NULL);
    else syscall(SYS_ppoll, watched, count, &bound, NULL, 0);
}

/* The same for one; fd -1: only the bound. */
static inline void byteor_sleep(int fd, short events, uint64_t bound_ns) {
    struct pollfd watched = {.fd = fd, .events = events, .revents = 0};
    byteor_sleep_on(&watched, fd >= 0, bound_ns);
}

/* Idle turns before the first yield. */
static inline uint32_t byteor_wait_spins(const byteor_wait *wait) { return BYTEOR_WAIT_SPINS - wait->haste; }

/* Whether a wait that yields has done with it: the next idle turn sleeps or parks. */
static inline int byteor_wait_yielded(const byteor_wait *wait) {
    return wait->kind != BYTEOR_WAIT_SPIN && wait->idle_turns >= byteor_wait_spins(wait) + BYTEOR_WAIT_YIELDS;
}

/* How often this thread has given way to another. */
static inline uint64_t byteor_gave_way(void) {
    struct rusage usage;
    if (getrusage(BYTEOR_RUSAGE_THREAD, &usage) != 0) return 0;
    return (uint64_t)usage.ru_nvcsw + (uint64_t)usage.ru_nivcsw;
}

/* Whether this yield asks if there was somebody to give way to: the first of a wait does. Asking takes as long as a switch
 * to another thread does, and roles that take turns on a CPU switch for each wait: what was so a moment ago is trusted. */
static inline int byteor_yield_asks(byteor_wait *wait) {
    if (wait->idle_turns != byteor_wait_spins(wait) + 1) return 0;
    if (wait->haste == BYTEOR_WAIT_SPINS && ++wait->trusted < BYTEOR_WAIT_TRUSTS) return 0;
    wait->trusted = 0;
    return 1;
}

/* Let others run. Where the first yield of a wait finds somebody to give way to, spinning would only have kept him waiting:
 * the next wait begins with a yield. Where it finds nobody, spinning answers sooner: the next wait spins longer. */
static inline void byteor_yield(byteor_wait *wait) {
    int first = byteor_yield_asks(wait);
    uint64_t before = first ? byteor_gave_way() : 0;
    sched_yield();
    if (!first) return;
    wait->haste = byteor_gave_way() != before ? BYTEOR_WAIT_SPINS : wait->haste / 2;
    wait->idle_turns = byteor_wait_spins(wait) + 1; /* this was the first yield still */
}

/* One idle turn of a thread that waits for `count` descriptors as well. Returns 1 when the caller should park (announce,
 * look again, park); else it has waited already. */
static inline int byteor_wait_turn_on(byteor_wait *wait, struct pollfd *watched, uint32_t count) {
    wait->idle_turns++;
    if (wait->kind == BYTEOR_WAIT_SPIN) {
        byteor_pause();
        return 0;
    }
    if (wait->idle_turns <= byteor_wait_spins(wait)) {
        byteor_pause();
        return 0;
    }
    if (wait->idle_turns <= byteor_wait_spins(wait) + BYTEOR_WAIT_YIELDS) {
        byteor_yield(wait);
        return 0;
    }
    if (wait->kind == BYTEOR_WAIT_PARK && wait->doorbell && count == 0) return 1;
    byteor_sleep_on(watched, count, wait->sleep_ns);
    if (wait->sleep_ns < wait->sleep_ns_max) wait->sleep_ns *= 2;
    if (wait->sleep_ns > wait->sleep_ns_max) wait->sleep_ns = wait->sleep_ns_max;
    return 0;
}

/* The same for one descriptor; fd -1: none. */
static inline int byteor_wait_turn(byteor_wait *wait, int fd, short events) {
    struct pollfd watched = {.fd = fd, .events = events, .revents = 0};
    return byteor_wait_turn_on(wait, &watched, fd >= 0);
}

#endif
