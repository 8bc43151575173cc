/* clock.h: the run's clock. One line through the TSC that all processes of a run share, or CLOCK_MONOTONIC. */
#ifndef BYTEOR_CLOCK_H
#define BYTEOR_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "layout.h"

static inline uint64_t byteor_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t byteor_tsc(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return 0;
#endif
}

static inline uint64_t byteor_now_ns(const byteor_clock *clock) {
    if (__builtin_expect(clock->mult == 0, 0)) return byteor_monotonic_ns();
    uint64_t ticks = byteor_tsc() - clock->base_tsc;
    return clock->base_ns + (uint64_t)(((unsigned __int128)ticks * clock->mult) >> 32);
}

/* TSC and CLOCK_MONOTONIC of one moment: of several pairs the one whose two TSC readings lie closest together. A process
 * that is preempted between the readings of a pair (a slice is milliseconds) would else be out by that. */
#define BYTEOR_CLOCK_PAIRS 32

static inline void byteor_clock_pair(uint64_t *tsc, uint64_t *ns) {
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < BYTEOR_CLOCK_PAIRS; i++) {
        uint64_t before = byteor_tsc(), between = byteor_monotonic_ns(), after = byteor_tsc();
        if (after - before >= least) continue;
        least = after - before;
        *tsc = before + least / 2;
        *ns = between;
    }
}

/* Anchor `clock` now. `mult` (ns per tick, 32 fractional bits) comes from byteor_clock_calibrate, 0 for no TSC. */
static inline void byteor_clock_anchor(byteor_clock *clock, uint64_t mult) {
    struct timespec wall;
    clock->mult = mult;
    byteor_clock_pair(&clock->base_tsc, &clock->base_ns);
    clock_gettime(CLOCK_REALTIME, &wall);
    clock->unix_offset_ns = (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec - clock->base_ns;
}

/* Spin for `window_ns` and return ns per tick with 32 fractional bits; 0 where there is no TSC. */
static inline uint64_t byteor_clock_calibrate(uint64_t window_ns) {
    uint64_t tsc_0 = byteor_tsc(), ns_0 = 0, tsc_1 = 0, ns_1 = 0;
    if (tsc_0 == 0) return 0;
    byteor_clock_pair(&tsc_0, &ns_0);
    while (byteor_monotonic_ns() - ns_0 < window_ns) {}
    byteor_clock_pair(&tsc_1, &ns_1);
    if (tsc_1 <= tsc_0) return 0;
    return (uint64_t)(((unsigned __int128)(ns_1 - ns_0) << 32) / (tsc_1 - tsc_0));
}

#endif
