// crowd.h: shapes with more than two sides, for queues of other projects: fan-out, several producers, chain, diamond.
//
// Queues are adapters with `put(messages, count)` and `get(messages, count)`, both returning how many they moved; a
// producer or consumer of a queue that wants one brings a token. Every side is a thread of the pool, pinned in turn to the
// two CPUs; one that finds nothing to do pauses, then gives its CPU to others, since there are more sides than CPUs.
#ifndef BYTEOR_BENCH_CROWD_H
#define BYTEOR_BENCH_CROWD_H

#include <sched.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "../pair.h"

namespace crowd {

constexpr uint32_t CAPACITY = 4096;
constexpr uint32_t BATCH_MAX = 16;
constexpr uint32_t SPINS = 200;
constexpr uint32_t SIDES_MAX = 10;
constexpr uint32_t WIDTH_MAX = 8;

struct alignas(64) message {
    uint64_t word[PAYLOAD_WORDS];
};

using side = std::function<void()>;

// What a shape's sides have found.
struct tally {
    std::atomic<uint64_t> begin{UINT64_MAX};  // earliest start of a producer
    std::atomic<uint64_t> end{0};             // latest end of a last consumer
    std::atomic<uint64_t> sent{0}, arrived{0}, errors{0};
};

struct patience {
    uint32_t idle = 0;
    void worked() { idle = 0; }
    void wait() {
        if (++idle <= SPINS)
            _mm_pause();
        else
            sched_yield();
    }
};

inline void earliest(std::atomic<uint64_t> &cell, uint64_t value) {
    uint64_t seen = cell.load();
    while (value < seen && !cell.compare_exchange_weak(seen, value)) {
    }
}

inline void latest(std::atomic<uint64_t> &cell, uint64_t value) {
    uint64_t seen = cell.load();
    while (value > seen && !cell.compare_exchange_weak(seen, value)) {
    }
}

template <class Put>
void put_all(Put &put, const message *from, uint32_t count) {
    patience slow;
    for (uint32_t done = 0; done < count;) {
        uint32_t moved = put(from + done, count - done);
        if (moved == 0)
            slow.wait();
        else
            slow.worked();
        done += moved;
    }
}

// Send numbered messages of producer `who` for `ticks`, then the end mark.
template <class Put>
void produce(Put put, uint32_t batch, uint64_t ticks, uint64_t who, tally &found) {
    message out[BATCH_MAX];
    uint64_t sequence = 0, begin = now_ticks();
    earliest(found.begin, begin);
    do {
        for (uint32_t i = 0; i < CHUNK; i += batch) {
            for (uint32_t k = 0; k < batch; k++) {
                fill(out[k].word, sequence++);
                out[k].word[1] = who;
            }
            put_all(put, out, batch);
        }
    } while (now_ticks() < begin + ticks);
    out[0].word[0] = END_MARK;
    out[0].word[1] = who;
    put_all(put, out, 1);
    found.sent += sequence;
}

// Take until `ends` producers have ended; each message is the next one of its producer, or an error. `pass` hands it on.
template <class Get, class Pass>
void consume(Get get, Pass pass, uint32_t batch, uint32_t ends, tally &found, bool last) {
    message in[BATCH_MAX];
    uint64_t expected[WIDTH_MAX] = {0}, taken = 0, errors = 0;
    patience slow;
    while (ends) {
        uint32_t got = get(in, batch);
        if (got == 0) {
            slow.wait();
            continue;
        }
        slow.worked();
        for (uint32_t i = 0; i < got; i++) {
            uint64_t who = in[i].word[1] % WIDTH_MAX;
            if (in[i].word[0] == END_MARK) {
                ends--;
                continue;
            }
            errors += (in[i].word[0] != expected[who]) | (in[i].word[PAYLOAD_WORDS - 1] != ~in[i].word[0]);
            expected[who]++;
            taken++;
        }
        pass(in, got);
    }
    found.errors += errors;
    if (!last) return;
    latest(found.end, now_ticks());
    found.arrived += taken;
}

inline void keep(const message *, uint32_t) {}

// One producer, `width` queues with a consumer each; every message goes into all of them.
template <class Queue>
std::vector<side> fanout(uint32_t width, uint32_t batch, uint64_t ticks, tally &found) {
    auto queues = std::make_shared<std::vector<std::unique_ptr<Queue>>>();
    for (uint32_t i = 0; i < width; i++) queues->push_back(std::make_unique<Queue>(1));
    std::vector<side> sides;
    sides.push_back([=, &found] {
        auto put = [&](const message *from, uint32_t count) {
            for (auto &queue : *queues) {
                auto one = queue->producer();
                put_all(one, from, count);
            }
            return count;
        };
        produce(put, batch, ticks, 0, found);
    });
    for (uint32_t i = 0; i < width; i++)
        sides.push_back([=, &found] { consume((*queues)[i]->consumer(), keep, batch, 1, found, true); });
    return sides;
}

// `width` producers of one queue with one consumer.
template <class Queue>
std::vector<side> producers(uint32_t width, uint32_t batch, uint64_t ticks, tally &found) {
    auto queue = std::make_shared<Queue>(width);
    std::vector<side> sides;
    for (uint32_t i = 0; i < width; i++)
        sides.push_back([=, &found] { produce(queue->producer(), batch, ticks, i, found); });
    sides.push_back([=, &found] { consume(queue->consumer(), keep, batch, width, found, true); });
    return sides;
}

// One producer and `width` sides in a row, a queue before each.
template <class Queue>
std::vector<side> chain(uint32_t width, uint32_t batch, uint64_t ticks, tally &found) {
    auto queues = std::make_shared<std::vector<std::unique_ptr<Queue>>>();
    for (uint32_t i = 0; i < width; i++) queues->push_back(std::make_unique<Queue>(1));
    std::vector<side> sides;
    sides.push_back([=, &found] { produce((*queues)[0]->producer(), batch, ticks, 0, found); });
    for (uint32_t i = 0; i + 1 < width; i++)
        sides.push_back([=, &found] {
            auto put = (*queues)[i + 1]->producer();
            consume((*queues)[i]->consumer(), [&](const message *from, uint32_t n) { put_all(put, from, n); }, batch, 1, found, false);
        });
    sides.push_back([=, &found] { consume((*queues)[width - 1]->consumer(), keep, batch, 1, found, true); });
    return sides;
}

// One producer, two sides that each get everything, one that takes a message of each in turn.
template <class Queue>
std::vector<side> diamond(uint32_t batch, uint64_t ticks, tally &found) {
    auto queues = std::make_shared<std::vector<std::unique_ptr<Queue>>>();
    for (int i = 0; i < 4; i++) queues->push_back(std::make_unique<Queue>(1));
    std::vector<side> sides = fanout<Queue>(0, batch, ticks, found);
    sides[0] = [=, &found] {
        auto left = (*queues)[0]->producer(), right = (*queues)[1]->producer();
        auto put = [&](const message *from, uint32_t count) {
            put_all(left, from, count);
            put_all(right, from, count);
            return count;
        };
        produce(put, batch, ticks, 0, found);
    };
    for (uint32_t i = 0; i < 2; i++)
        sides.push_back([=, &found] {
            auto put = (*queues)[2 + i]->producer();
            consume((*queues)[i]->consumer(), [&](const message *from, uint32_t n) { put_all(put, from, n); }, batch, 1, found, false);
        });
    sides.push_back([=, &found] {
        auto left = (*queues)[2]->consumer(), right = (*queues)[3]->consumer();
        message other[BATCH_MAX];
        patience slow;
        auto pass = [&](const message *from, uint32_t count) {
            for (uint32_t done = 0; done < count;) {
                uint32_t got = right(other, count - done);
                if (got == 0) slow.wait();
                else slow.worked();
                for (uint32_t k = 0; k < got; k++) found.errors += other[k].word[0] != from[done + k].word[0];
                done += got;
            }
        };
        consume(left, pass, batch, 1, found, true);
    });
    return sides;
}

}  // namespace crowd

#endif
