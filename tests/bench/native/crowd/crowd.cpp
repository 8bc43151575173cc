// crowd.cpp: the server of the shapes with more than two sides: `QUEUE SHAPE WIDTH BATCH MS` in, one line of key=value out.
//
//     crowd CPU CPU
//
// Its threads block between samples, so that a probe can have the CPUs.
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>

#include "queues.h"

namespace {

using namespace crowd;
using maker = std::vector<side> (*)(const std::string &, uint32_t, uint32_t, uint64_t, tally &);

// Threads pinned in turn, each with an inbox of one.
class pool {
  public:
    explicit pool(const int cpus[2]) {
        for (uint32_t i = 0; i < SIDES_MAX; i++) std::thread([this, i, cpu = cpus[i % 2]] { loop(i, cpu); }).detach();
    }

    void run(std::vector<side> sides) {
        std::unique_lock<std::mutex> hold(lock);
        open = sides.size();
        for (size_t i = 0; i < sides.size(); i++) inbox[i] = std::move(sides[i]);
        changed.notify_all();
        changed.wait(hold, [this] { return open == 0; });
    }

  private:
    void loop(uint32_t index, int cpu) {
        cpu_set_t only;
        CPU_ZERO(&only);
        CPU_SET(cpu, &only);
        pthread_setaffinity_np(pthread_self(), sizeof only, &only);
        (void)setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), -20);
        for (;;) {
            side work;
            {
                std::unique_lock<std::mutex> hold(lock);
                changed.wait(hold, [&] { return static_cast<bool>(inbox[index]); });
                work = std::move(inbox[index]);
                inbox[index] = nullptr;
            }
            work();
            work = nullptr;
            std::lock_guard<std::mutex> hold(lock);
            open--;
            changed.notify_all();
        }
    }

    std::mutex lock;
    std::condition_variable changed;
    side inbox[SIDES_MAX];
    size_t open = 0;
};

// Queues with one producer have no shape with several; those with many are no match in the others.
template <class Queue>
std::vector<side> spsc(const std::string &shape, uint32_t width, uint32_t batch, uint64_t ticks, tally &found) {
    if (shape == "fanout") return fanout<Queue>(width, batch, ticks, found);
    if (shape == "chain") return chain<Queue>(width, batch, ticks, found);
    if (shape == "diamond") return diamond<Queue>(batch, ticks, found);
    return {};
}

template <class Queue>
std::vector<side> many(const std::string &shape, uint32_t width, uint32_t batch, uint64_t ticks, tally &found) {
    if (shape == "producers") return producers<Queue>(width, batch, ticks, found);
    return {};
}

struct entry {
    const char *name;
    const char *shapes;
    maker make;
};

const entry QUEUES[] = {
    {"boost.spsc", "fanout,chain,diamond", spsc<boost_spsc>},
    {"boost.queue", "producers", many<boost_queue>},
#ifdef HAVE_CONCURRENTQUEUE
    {"moodycamel.many", "producers", many<moodycamel_many>},
#endif
#ifdef HAVE_READERWRITERQUEUE
    {"moodycamel.spsc", "fanout,chain,diamond", spsc<moodycamel_spsc>},
#endif
};

double ticks_per_ms() {
    timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    uint64_t first = now_ticks();
    double ms;
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
        ms = (now.tv_sec - begin.tv_sec) * 1e3 + (now.tv_nsec - begin.tv_nsec) / 1e6;
    } while (ms < 20);
    return (now_ticks() - first) / ms;
}

void list() {
    printf("ok=1");
    for (const entry &each : QUEUES) printf(" %s=%s", each.name, each.shapes);
    printf("\n");
}

}  // namespace

int main(int count, char **words) {
    if (count != 3) return fprintf(stderr, "usage: crowd CPU CPU\n"), 2;
    const int cpus[2] = {atoi(words[1]), atoi(words[2])};
    const double per_ms = ticks_per_ms();
    pool *threads = new pool(cpus);  // never ended: its threads block until the process ends
    char line[256], queue[64], shape[64];
    unsigned width, batch;
    double ms;
    setvbuf(stdout, nullptr, _IOLBF, 0);
    list();
    while (fgets(line, sizeof line, stdin)) {
        tally found;
        if (sscanf(line, "%63s %63s %u %u %lf", queue, shape, &width, &batch, &ms) != 5 || batch < 1 || batch > BATCH_MAX || width < 1 || width > WIDTH_MAX) {
            printf("error=usage\n");
            continue;
        }
        std::vector<side> sides;
        for (const entry &each : QUEUES)
            if (strcmp(each.name, queue) == 0) sides = each.make(shape, width, batch, static_cast<uint64_t>(ms * per_ms), found);
        if (sides.empty()) {
            printf("error=unknown_%s_%s\n", queue, shape);
            continue;
        }
        threads->run(std::move(sides));
        double seconds = static_cast<double>(found.end - found.begin) / per_ms / 1e3;
        printf("ok=1 rate=%.0f sent=%llu arrived=%llu errors=%llu\n", static_cast<double>(found.sent) / seconds,
               static_cast<unsigned long long>(found.sent.load()), static_cast<unsigned long long>(found.arrived.load()),
               static_cast<unsigned long long>(found.errors.load()));
    }
}
