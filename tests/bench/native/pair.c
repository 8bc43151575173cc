/* pair.c: the two pinned sides as a small server for the Python runner.
 *
 *   pair CPU_LEFT CPU_RIGHT process|thread
 * reads one command per line and answers each with one line of `key=value` words:
 *   list               names of all candidates
 *   probe MS           both anchors, MS milliseconds together
 *   sample NAME MS     anchors, candidate, anchors, in one burst of SCHED_FIFO (where allowed)
 * Between commands both sides block, so that guests (JVM, Python, workers) have the CPUs to themselves.
 * A burst is bounded by RLIMIT_RTTIME: a candidate that hangs is killed by the kernel instead of stopping the machine.
 */
#define _GNU_SOURCE
#include "pair.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define BURST_US_MAX 780000u
#define PROBE_MS 2.0
#define STEPS_MAX 8

typedef struct step {
    const candidate *what;
    uint64_t ticks;
} step;

typedef struct shared {
    _Alignas(128) _Atomic uint64_t arrived[2]; /* the meeting point of both sides, before and after each step */
    _Alignas(128) outcome left, right;
} shared;

typedef struct command {
    uint32_t steps;
    uint32_t index[STEPS_MAX];
    uint64_t ticks[STEPS_MAX];
} command;

static const candidate *candidates[128];
static uint32_t candidate_count;
static shared *common;
static void *arena;
static int to_right[2];
static double ticks_per_ns;
static uint32_t step_ticks = 1;
static int fifo_allowed;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set)) fail("sched_setaffinity");
}

/* The kernel's count towards RLIMIT_RTTIME starts anew when a real-time thread wakes up, hence the tiny sleep. */
static int set_burst(int on) {
    struct sched_param param = {.sched_priority = on ? 10 : 0};
    struct timespec moment = {.tv_nsec = 100000};
    if (sched_setscheduler(0, on ? SCHED_FIFO : SCHED_OTHER, &param)) return 0;
    if (on) nanosleep(&moment, NULL);
    return 1;
}

static void meet(int side, uint64_t turn) {
    atomic_store_explicit(&common->arrived[side], turn, memory_order_release);
    while (atomic_load_explicit(&common->arrived[!side], memory_order_acquire) < turn) _mm_pause();
}

static void run_right(void) {
    uint64_t turn = 0;
    command todo;
    while (read(to_right[0], &todo, sizeof todo) == (ssize_t)sizeof todo) {
        set_burst(1);
        for (uint32_t i = 0; i < todo.steps; i++) {
            meet(1, ++turn);
            candidates[todo.index[i]]->right(arena, &common->right);
            meet(1, ++turn);
        }
        set_burst(0);
    }
}

static void *right_thread(void *cpu) {
    pin(*(int *)cpu);
    run_right();
    return NULL;
}

static uint32_t find(const char *name) {
    for (uint32_t i = 0; i < candidate_count; i++)
        if (strcmp(candidates[i]->name, name) == 0) return i;
    return UINT32_MAX;
}

/* The counter may advance in steps of many ticks (10 ns on some hosts): each count is spread over one step, so that a
 * percentile is interpolated between two steps instead of jumping from one to the next. */
static double percentile_ns(const histogram *h, double share) {
    double below = 0, wanted = (double)h->count * share;
    uint32_t bin = 0, from = 0;
    uint64_t mass = 0;
    for (; bin < HISTOGRAM_TICKS; bin++) {
        mass = 0;
        for (from = 0; from < step_ticks && from <= bin; from++) mass += h->bins[bin - from];
        if (below + (double)mass / step_ticks >= wanted) break;
        below += (double)mass / step_ticks;
    }
    double inside = mass ? (wanted - below) * step_ticks / (double)mass : 0;
    return (bin + inside - step_ticks / 2.0) / ticks_per_ns;
}

static void report(const char *prefix, const outcome *left, const outcome *right) {
    const histogram *trips = left->round_trips.count ? &left->round_trips : &right->round_trips;
    if (trips->count) {
        printf(" %srtt_p50_ns=%.2f %srtt_p99_ns=%.2f %sround_trips=%lu", prefix, percentile_ns(trips, 0.5), prefix,
               percentile_ns(trips, 0.99), prefix, trips->count);
    } else {
        double seconds = (double)(right->end_ticks - left->begin_ticks) / ticks_per_ns * 1e-9;
        printf(" %srate=%.0f %smessages=%lu", prefix, (double)right->messages / seconds, prefix, right->messages);
    }
    printf(" %serrors=%lu", prefix, right->errors);
}

/* Runs the steps in one burst; the outcome of each is printed with its prefix once the burst is over. */
static void burst(const command *todo, const char *const *prefixes) {
    static uint64_t turn;
    static outcome results[STEPS_MAX][2];
    if (write(to_right[1], todo, sizeof *todo) != (ssize_t)sizeof *todo) fail("write to the right side");
    set_burst(1);
    for (uint32_t i = 0; i < todo->steps; i++) {
        memset(&common->left, 0, sizeof common->left);
        memset(&common->right, 0, sizeof common->right);
        candidates[todo->index[i]]->prepare(arena);
        meet(0, ++turn);
        candidates[todo->index[i]]->left(arena, todo->ticks[i], &common->left);
        meet(0, ++turn);
        results[i][0] = common->left;
        results[i][1] = common->right;
    }
    set_burst(0);
    printf("ok=1 fifo=%d", fifo_allowed);
    for (uint32_t i = 0; i < todo->steps; i++) report(prefixes[i], &results[i][0], &results[i][1]);
    printf("\n");
}

static uint64_t ms_to_ticks(double ms) { return (uint64_t)(ms * 1e6 * ticks_per_ns); }

static void do_probe(double ms) {
    command todo = {.steps = 2, .index = {find("anchor.ping"), find("anchor.stream")}};
    todo.ticks[0] = todo.ticks[1] = ms_to_ticks(ms / 2);
    const char *prefixes[] = {"ping_", "stream_"};
    burst(&todo, prefixes);
}

static void do_sample(const char *name, double ms) {
    uint32_t index = find(name), ping = find("anchor.ping"), stream = find("anchor.stream");
    if (index == UINT32_MAX) {
        printf("ok=0 error=unknown_candidate_%s\n", name);
        return;
    }
    uint64_t probe = ms_to_ticks(PROBE_MS);
    command todo = {.steps = 5, .index = {ping, stream, index, ping, stream}};
    uint64_t ticks[] = {probe, probe, ms_to_ticks(ms), probe, probe};
    memcpy(todo.ticks, ticks, sizeof ticks);
    const char *prefixes[] = {"before_ping_", "before_stream_", "", "after_ping_", "after_stream_"};
    burst(&todo, prefixes);
}

static void calibrate(void) {
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    uint64_t from = now_ticks();
    do clock_gettime(CLOCK_MONOTONIC, &b);
    while ((b.tv_sec - a.tv_sec) * 1000000000L + (b.tv_nsec - a.tv_nsec) < 20000000L);
    ticks_per_ns = (double)(now_ticks() - from) / (double)((b.tv_sec - a.tv_sec) * 1000000000L + (b.tv_nsec - a.tv_nsec));
    uint64_t least = HISTOGRAM_TICKS / 64, last = now_ticks(), now;
    for (int i = 0; i < 10000; i++, last = now) {
        now = now_ticks();
        if (now != last && now - last < least) least = now - last;
    }
    step_ticks = (uint32_t)least;
}

static void add(const candidate *list) {
    for (; list->name; list++) candidates[candidate_count++] = list;
}

static void serve(void) {
    char line[256], name[128];
    double ms;
    while (fgets(line, sizeof line, stdin)) {
        if (strncmp(line, "list", 4) == 0) {
            printf("ok=1");
            for (uint32_t i = 0; i < candidate_count; i++) printf(" name=%s", candidates[i]->name);
            printf("\n");
        } else if (sscanf(line, "probe %lf", &ms) == 1) {
            do_probe(ms);
        } else if (sscanf(line, "sample %127s %lf", name, &ms) == 2) {
            do_sample(name, ms);
        } else {
            printf("ok=0 error=unknown_command\n");
        }
        fflush(stdout);
    }
}

static void *map_shared(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) fail("mmap");
    return memory;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: pair CPU_LEFT CPU_RIGHT process|thread\n");
        return 2;
    }
    int left_cpu = atoi(argv[1]), right_cpu = atoi(argv[2]);
    struct rlimit limit = {BURST_US_MAX, BURST_US_MAX};
    setrlimit(RLIMIT_RTTIME, &limit);
    add(anchor_candidates);
    add(boost_candidates);
    add(byteor_candidates);
    add(unit_candidates);
    common = map_shared(sizeof *common);
    arena = map_shared(ARENA_BYTES);
    calibrate();
    if (pipe(to_right)) fail("pipe");
    fifo_allowed = set_burst(1);
    set_burst(0);
    if (strcmp(argv[3], "thread") == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, right_thread, &right_cpu)) fail("pthread_create");
    } else if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(to_right[1]);
        right_thread(&right_cpu);
        _exit(0);
    }
    pin(left_cpu);
    serve();
    return 0;
}
