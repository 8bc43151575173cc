/* probe.h: what a host takes from a spinning thread, measured from inside: for doctor, never for a run.
 *
 * Each measurement makes its own threads, pins them, and joins them before it returns. Nothing is written but the caller's
 * result. Results are 0 or -errno of what could not be had. */
#ifndef BYTEOR_PROBE_H
#define BYTEOR_PROBE_H

#include "clock.h"
#include "layout.h"
#include "ring.h"

#define BYTEOR_PROBE_CPUS_MAX 256u

/* One CPU's interruptions: gaps between two turns of a loop that does nothing else. */
typedef struct byteor_jitter {
    int32_t cpu;
    int32_t error;         /* errno: the thread could not be pinned there */
    uint64_t turns;
    uint64_t elapsed_ns;
    uint64_t over_budget;  /* gaps longer than the budget */
    uint64_t switches;     /* involuntary context switches of the thread */
    byteor_histogram gaps; /* of gaps longer than the threshold, ns */
} byteor_jitter;

/* All of `cpus` at once, for `window_ns`. */
int byteor_probe_jitter(byteor_jitter *results, uint32_t count, uint64_t window_ns, uint64_t threshold_ns, uint64_t budget_ns,
                        const byteor_clock *clock);

/* One-way times of a message of 48 bytes that two pinned threads send to and fro through two rings: half of each round
 * trip. The rings are empty and have one cell each. */
int byteor_probe_hand_over(const byteor_ring *there, const byteor_ring *back, int left_cpu, int right_cpu, uint64_t window_ns,
                           const byteor_clock *clock, byteor_histogram *one_way);

/* From a post on one CPU to the waiter's next instruction on the other; `kind` and the bound as in wait.h. The poster
 * sleeps `pause_ns` between posts, so that the waiter is asleep each time. cpu -1: any. */
int byteor_probe_wake(uint32_t kind, uint64_t sleep_ns_max, int poster_cpu, int waiter_cpu, uint32_t posts, uint64_t pause_ns,
                      const byteor_clock *clock, byteor_histogram *latency);

/* How much later than asked a sleep of `sleep_ns` ends, as cyclictest measures it. */
int byteor_probe_timer(int cpu, uint64_t sleep_ns, uint32_t times, const byteor_clock *clock, byteor_histogram *late);

/* Nanoseconds of one read: of the run's clock, and of clock_gettime. */
void byteor_probe_clock(const byteor_clock *clock, double *run_ns, double *clock_ns);

/* First and second touch of `bytes` of shared memory in `fd`, per page, and the faults of the second. */
int byteor_probe_touch(int fd, uint64_t bytes, const byteor_clock *clock, double *first_ns, double *warm_ns, uint64_t *first_faults,
                       uint64_t *warm_faults);

#endif
