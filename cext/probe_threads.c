/* probe_threads.c: the threads behind probe.h. Loops read the clock and memory of their own; no call inside but the one measured. */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "histogram.h"
#include "wait.h"

#define WORDS 6u
#define CLOCK_READS 200000u

static int pin(int cpu) {
    cpu_set_t set;
    if (cpu < 0) return 0;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) ? errno : 0;
}

static uint64_t switches_now(void) {
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) ? 0 : (uint64_t)usage.ru_nivcsw;
}

/* --- interruptions ----------------------------------------------------------------------------------------------- */

typedef struct jitter_thread {
    byteor_jitter *result;
    const byteor_clock *clock;
    uint64_t window_ns, threshold_ns, budget_ns;
    uint32_t *ready, count;
} jitter_thread;

static void watch_gaps(const jitter_thread *job) {
    byteor_jitter *result = job->result;
    uint64_t start = byteor_now_ns(job->clock), last = start, end = start + job->window_ns, now;
    do {
        now = byteor_now_ns(job->clock);
        uint64_t gap = now - last;
        if (__builtin_expect(gap > job->threshold_ns, 0)) {
            byteor_histogram_add(&result->gaps, gap, 1);
            if (gap > job->budget_ns) result->over_budget++;
        }
        last = now;
        result->turns++;
    } while (now < end);
    result->elapsed_ns = now - start;
}

static void *jitter_main(void *argument) {
    const jitter_thread *job = argument;
    job->result->error = pin(job->result->cpu);
    __atomic_fetch_add(job->ready, 1, __ATOMIC_SEQ_CST);
    while (byteor_load_acquire32(job->ready) < job->count) sched_yield();
    if (job->result->error) return NULL;
    uint64_t before = switches_now();
    watch_gaps(job);
    job->result->switches = switches_now() - before;
    return NULL;
}

int byteor_probe_jitter(byteor_jitter *results, uint32_t count, uint64_t window_ns, uint64_t threshold_ns, uint64_t budget_ns,
                        const byteor_clock *clock) {
    pthread_t threads[BYTEOR_PROBE_CPUS_MAX];
    jitter_thread jobs[BYTEOR_PROBE_CPUS_MAX];
    uint32_t ready = 0, made = 0;
    int error = 0;
    if (count > BYTEOR_PROBE_CPUS_MAX) return -EINVAL;
    for (; made < count && !error; made += !error) {
        jobs[made] = (jitter_thread){&results[made], clock, window_ns, threshold_ns, budget_ns, &ready, count};
        error = pthread_create(&threads[made], NULL, jitter_main, &jobs[made]);
    }
    if (error) __atomic_store_n(&ready, count, __ATOMIC_SEQ_CST); /* those that were made do not wait for the others */
    for (uint32_t i = 0; i < made; i++) pthread_join(threads[i], NULL);
    return -error;
}

/* --- hand-over --------------------------------------------------------------------------------------------------- */

typedef struct echo {
    const byteor_ring *there, *back;
    int cpu, error;
    uint32_t started, stop;
} echo;

static void put(const byteor_ring *ring, uint64_t sequence) {
    byteor_slot *slot = byteor_ring_slot(ring, sequence);
    uint64_t *word = (uint64_t *)(void *)byteor_payload(slot);
    byteor_ring_claim(ring, sequence + 1);
    slot->length = WORDS * 8u;
    slot->type = 0;
    slot->flags = 0;
    slot->time_ns = sequence;
    for (uint32_t i = 0; i < WORDS; i++) word[i] = sequence;
    byteor_ring_publish(ring, sequence, sequence + 1);
}

/* The ends meet after every message, so there is always room. */
static void *echo_main(void *argument) {
    echo *side = argument;
    side->error = pin(side->cpu);
    byteor_store_release32(&side->started, 1);
    for (uint64_t sequence = 0; !side->error; sequence++) {
        while (!byteor_ring_published(side->there, sequence)) {
            if (byteor_load_relaxed32(&side->stop)) return NULL;
            byteor_pause();
        }
        byteor_cell_release(side->there, 0, sequence + 1);
        put(side->back, sequence);
    }
    return NULL;
}

static void ping(echo *side, uint64_t window_ns, const byteor_clock *clock, byteor_histogram *one_way) {
    uint64_t start = byteor_now_ns(clock), end = start + window_ns;
    for (uint64_t sequence = 0; start < end; sequence++) {
        put(side->there, sequence);
        while (!byteor_ring_published(side->back, sequence)) byteor_pause();
        uint64_t now = byteor_now_ns(clock);
        byteor_cell_release(side->back, 0, sequence + 1);
        byteor_histogram_add(one_way, (now - start) / 2, 1);
        start = now;
    }
}

typedef struct ping_job {
    echo *side;
    int cpu, error;
    uint64_t window_ns;
    const byteor_clock *clock;
    byteor_histogram *one_way;
} ping_job;

static void *ping_main(void *argument) {
    ping_job *job = argument;
    job->error = pin(job->cpu);
    while (!byteor_load_acquire32(&job->side->started)) sched_yield();
    if (!job->error && !job->side->error) ping(job->side, job->window_ns, job->clock, job->one_way);
    byteor_store_release32(&job->side->stop, 1);
    return NULL;
}

int byteor_probe_hand_over(const byteor_ring *there, const byteor_ring *back, int left_cpu, int right_cpu, uint64_t window_ns,
                           const byteor_clock *clock, byteor_histogram *one_way) {
    echo side = {.there = there, .back = back, .cpu = right_cpu};
    ping_job job = {&side, left_cpu, 0, window_ns, clock, one_way};
    pthread_t left, right;
    int error = pthread_create(&right, NULL, echo_main, &side);
    if (error) return -error;
    error = pthread_create(&left, NULL, ping_main, &job);
    if (error)
        byteor_store_release32(&side.stop, 1);
    else
        pthread_join(left, NULL);
    pthread_join(right, NULL);
    if (error) return -error;
    return job.error ? -job.error : -side.error;
}

/* --- waking up --------------------------------------------------------------------------------------------------- */

typedef struct post {
    _Alignas(64) uint64_t sequence;
    uint64_t at_ns;
    _Alignas(64) uint32_t doorbell;
    _Alignas(64) uint64_t taken;
} post;

typedef struct waiter {
    post *box;
    byteor_wait wait;
    int cpu, error;
    uint32_t posts, started;
    const byteor_clock *clock;
    byteor_histogram *latency;
} waiter;

/* As a role waits (unit_duty.h): turns, then announce, look again, park. */
static void await_post(waiter *me, uint64_t seen) {
    byteor_wait_reset(&me->wait);
    while (byteor_load_acquire64(&me->box->sequence) == seen) {
        if (!byteor_wait_turn(&me->wait, -1, 0)) continue;
        byteor_park_announce(&me->wait);
        if (byteor_load_acquire64(&me->box->sequence) == seen)
            byteor_park(&me->wait, BYTEOR_PARK_NS_MAX);
        else
            byteor_unpark(&me->wait);
    }
}

static void *waiter_main(void *argument) {
    waiter *me = argument;
    me->error = pin(me->cpu);
    if (me->wait.membarrier) me->wait.membarrier = byteor_membarrier_register() == 0;
    byteor_store_release32(&me->started, 1);
    for (uint64_t seen = 0; seen < me->posts && !me->error; seen++) {
        await_post(me, seen);
        byteor_histogram_add(me->latency, byteor_now_ns(me->clock) - me->box->at_ns, 1);
        byteor_store_release64(&me->box->taken, seen + 1);
    }
    return NULL;
}

typedef struct poster {
    waiter *to;
    int cpu, error;
    uint64_t pause_ns;
} poster;

static void *poster_main(void *argument) {
    poster *me = argument;
    post *box = me->to->box;
    me->error = pin(me->cpu);
    while (!byteor_load_acquire32(&me->to->started)) sched_yield();
    int membarrier = (int)me->to->wait.membarrier;
    for (uint64_t next = 1; next <= me->to->posts && !me->to->error; next++) {
        byteor_sleep(-1, 0, me->pause_ns);
        box->at_ns = byteor_now_ns(me->to->clock);
        byteor_store_release64(&box->sequence, next);
        byteor_doorbell_ring(&box->doorbell, membarrier);
        while (byteor_load_acquire64(&box->taken) != next) byteor_sleep(-1, 0, 20000);
    }
    return NULL;
}

int byteor_probe_wake(uint32_t kind, uint64_t sleep_ns_max, int poster_cpu, int waiter_cpu, uint32_t posts, uint64_t pause_ns,
                      const byteor_clock *clock, byteor_histogram *latency) {
    post box;
    memset(&box, 0, sizeof box);
    waiter to = {.box = &box, .cpu = waiter_cpu, .posts = posts, .clock = clock, .latency = latency};
    to.wait = (byteor_wait){.kind = kind, .sleep_ns_max = sleep_ns_max, .membarrier = 1, .doorbell = &box.doorbell};
    poster from = {.to = &to, .cpu = poster_cpu, .pause_ns = pause_ns};
    pthread_t threads[2];
    int error = pthread_create(&threads[0], NULL, waiter_main, &to);
    if (error) return -error;
    error = pthread_create(&threads[1], NULL, poster_main, &from);
    if (error) to.posts = 0, byteor_store_release64(&box.sequence, UINT64_MAX);
    pthread_join(threads[0], NULL);
    if (error) return -error;
    pthread_join(threads[1], NULL);
    return to.error ? -to.error : -from.error;
}

typedef struct sleeper {
    int cpu, error;
    uint64_t sleep_ns;
    uint32_t times;
    const byteor_clock *clock;
    byteor_histogram *late;
} sleeper;

static void *sleeper_main(void *argument) {
    sleeper *me = argument;
    me->error = pin(me->cpu);
    for (uint32_t i = 0; i < me->times && !me->error; i++) {
        uint64_t before = byteor_now_ns(me->clock);
        byteor_sleep(-1, 0, me->sleep_ns);
        uint64_t took = byteor_now_ns(me->clock) - before;
        byteor_histogram_add(me->late, took > me->sleep_ns ? took - me->sleep_ns : 0, 1);
    }
    return NULL;
}

int byteor_probe_timer(int cpu, uint64_t sleep_ns, uint32_t times, const byteor_clock *clock, byteor_histogram *late) {
    sleeper job = {cpu, 0, sleep_ns, times, clock, late};
    pthread_t thread;
    int error = pthread_create(&thread, NULL, sleeper_main, &job);
    if (error) return -error;
    pthread_join(thread, NULL);
    return -job.error;
}

/* --- clock and memory -------------------------------------------------------------------------------------------- */

void byteor_probe_clock(const byteor_clock *clock, double *run_ns, double *clock_ns) {
    volatile uint64_t sink = 0;
    uint64_t start = byteor_monotonic_ns();
    for (uint32_t i = 0; i < CLOCK_READS; i++) sink = byteor_now_ns(clock);
    uint64_t middle = byteor_monotonic_ns();
    for (uint32_t i = 0; i < CLOCK_READS; i++) sink = byteor_monotonic_ns();
    uint64_t end = byteor_monotonic_ns();
    (void)sink;
    *run_ns = (double)(middle - start) / CLOCK_READS;
    *clock_ns = (double)(end - middle) / CLOCK_READS;
}

static uint64_t faults_now(void) {
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) ? 0 : (uint64_t)(usage.ru_minflt + usage.ru_majflt);
}

static double touch(volatile uint8_t *memory, uint64_t bytes, const byteor_clock *clock, uint64_t *faults) {
    uint64_t before = faults_now(), start = byteor_now_ns(clock);
    for (uint64_t at = 0; at < bytes; at += BYTEOR_PAGE) memory[at] = (uint8_t)(memory[at] + 1);
    uint64_t took = byteor_now_ns(clock) - start;
    *faults = faults_now() - before;
    return (double)took / (double)(bytes / BYTEOR_PAGE);
}

int byteor_probe_touch(int fd, uint64_t bytes, const byteor_clock *clock, double *first_ns, double *warm_ns, uint64_t *first_faults,
                       uint64_t *warm_faults) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return -errno;
    *first_ns = touch(memory, bytes, clock, first_faults);
    *warm_ns = touch(memory, bytes, clock, warm_faults);
    munmap(memory, bytes);
    return 0;
}
