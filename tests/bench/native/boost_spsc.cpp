// boost_spsc.cpp: Boost.Lockfree's spsc_queue in the bench's shapes: one by one, its batch interface, and a ping-pong.
//
// Fixed capacity, so that the queue holds no pointer and lives in the arena between two processes. Elements of 48 bytes
// carry the payload alone; those of 64 fill a cache line, as a 64-byte slot does. Both are run, the better one counts.
#include <boost/lockfree/spsc_queue.hpp>
#include <new>

#include "pair.h"

namespace {

struct bare {
    uint64_t word[PAYLOAD_WORDS];
};
struct alignas(64) padded {
    uint64_t word[PAYLOAD_WORDS];
};

template <class Element, size_t Capacity>
using queue = boost::lockfree::spsc_queue<Element, boost::lockfree::capacity<Capacity>>;

template <class Queue>
void prepare(void *arena) {
    new (arena) Queue();
}

template <class Element, class Queue>
void send(Queue &queue_, uint64_t sequence) {
    Element element;
    fill(element.word, sequence);
    while (!queue_.push(element)) _mm_pause();
}

template <class Element, class Queue>
void single_left(void *arena, uint64_t ticks, outcome *result) {
    Queue &queue_ = *static_cast<Queue *>(arena);
    uint64_t sequence = 0;
    uint64_t end = (result->begin_ticks = now_ticks()) + ticks;
    do {
        for (uint32_t i = 0; i < CHUNK; i++) send<Element>(queue_, sequence++);
    } while (now_ticks() < end);
    send<Element>(queue_, END_MARK);
}

template <class Element, class Queue>
void single_right(void *arena, outcome *result) {
    Queue &queue_ = *static_cast<Queue *>(arena);
    uint64_t expected = 0;
    bool more = true;
    while (more) {
        if (!queue_.consume_one([&](const Element &element) { more = check(element.word, &expected, result); })) _mm_pause();
    }
    result->end_ticks = now_ticks();
    result->messages = expected;
}

template <class Element, class Queue, uint32_t Batch>
void batch_left(void *arena, uint64_t ticks, outcome *result) {
    Queue &queue_ = *static_cast<Queue *>(arena);
    Element batch[Batch];
    uint64_t sequence = 0;
    uint64_t end = (result->begin_ticks = now_ticks()) + ticks;
    do {
        for (uint32_t sent = 0; sent < CHUNK; sent += Batch) {
            for (uint32_t i = 0; i < Batch; i++) fill(batch[i].word, sequence++);
            for (uint32_t done = 0; done < Batch;) {
                uint32_t pushed = static_cast<uint32_t>(queue_.push(batch + done, Batch - done));
                if (pushed == 0) _mm_pause();
                done += pushed;
            }
        }
    } while (now_ticks() < end);
    send<Element>(queue_, END_MARK);
}

template <class Element, class Queue>
void batch_right(void *arena, outcome *result) {
    Queue &queue_ = *static_cast<Queue *>(arena);
    uint64_t expected = 0;
    bool more = true;
    while (more) {
        if (queue_.consume_all([&](const Element &element) { more = check(element.word, &expected, result); }) == 0) _mm_pause();
    }
    result->end_ticks = now_ticks();
    result->messages = expected;
}

struct both_ways {
    queue<padded, 4096> there;
    queue<padded, 4096> back;
};

void ping_left(void *arena, uint64_t ticks, outcome *result) {
    both_ways &ways = *static_cast<both_ways *>(arena);
    padded element;
    uint64_t last = now_ticks(), now = last, end = last + ticks;
    result->begin_ticks = last;
    for (uint64_t turn = 0; now < end; turn++) {
        send<padded>(ways.there, turn);
        while (!ways.back.pop(element)) _mm_pause();
        now = now_ticks();
        record_round_trip(&result->round_trips, now - last);
        last = now;
    }
    send<padded>(ways.there, END_MARK);
}

void ping_right(void *arena, outcome *result) {
    both_ways &ways = *static_cast<both_ways *>(arena);
    padded element;
    uint64_t expected = 0;
    for (;;) {
        while (!ways.there.pop(element)) _mm_pause();
        if (!check(element.word, &expected, result)) break;
        send<padded>(ways.back, element.word[0]);
    }
    result->messages = expected;
}

template <class Element, size_t Capacity>
constexpr candidate single(const char *name) {
    using Queue = queue<Element, Capacity>;
    return {name, prepare<Queue>, single_left<Element, Queue>, single_right<Element, Queue>};
}

template <class Element, size_t Capacity, uint32_t Batch>
constexpr candidate batched(const char *name) {
    using Queue = queue<Element, Capacity>;
    return {name, prepare<Queue>, batch_left<Element, Queue, Batch>, batch_right<Element, Queue>};
}

}  // namespace

extern "C" const candidate boost_candidates[] = {
    {"boost.ping", prepare<both_ways>, ping_left, ping_right},
    single<bare, 4096>("boost.single.256k.48"),
    single<padded, 4096>("boost.single.256k.64"),
    single<bare, 65536>("boost.single.4m.48"),
    single<padded, 65536>("boost.single.4m.64"),
    batched<bare, 4096, 16>("boost.batch16.256k.48"),
    batched<padded, 4096, 16>("boost.batch16.256k.64"),
    batched<bare, 65536, 64>("boost.batch64.4m.48"),
    batched<padded, 65536, 64>("boost.batch64.4m.64"),
    {nullptr, nullptr, nullptr, nullptr},
};
