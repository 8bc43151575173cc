// queues.h: the queues of other projects behind one face. Those that are not installed are left out.
#ifndef BYTEOR_BENCH_QUEUES_H
#define BYTEOR_BENCH_QUEUES_H

#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>

#include "crowd.h"

#if __has_include(<concurrentqueue/concurrentqueue.h>)
#include <concurrentqueue/concurrentqueue.h>
#define HAVE_CONCURRENTQUEUE 1
#endif
#if __has_include(<readerwriterqueue/readerwriterqueue.h>)
#include <readerwriterqueue/readerwriterqueue.h>
#define HAVE_READERWRITERQUEUE 1
#endif

namespace crowd {

// Boost.Lockfree, one producer and one consumer; its batch interface.
struct boost_spsc {
    boost::lockfree::spsc_queue<message, boost::lockfree::capacity<CAPACITY>> queue;
    explicit boost_spsc(uint32_t) {}
    auto producer() {
        return [this](const message *from, uint32_t count) { return static_cast<uint32_t>(queue.push(from, count)); };
    }
    auto consumer() {
        return [this](message *to, uint32_t count) { return static_cast<uint32_t>(queue.pop(to, count)); };
    }
};

// Boost.Lockfree, many producers; it has no batches.
struct boost_queue {
    boost::lockfree::queue<message, boost::lockfree::capacity<CAPACITY>> queue;
    explicit boost_queue(uint32_t) {}
    auto producer() {
        return [this](const message *from, uint32_t count) {
            uint32_t done = 0;
            while (done < count && queue.push(from[done])) done++;
            return done;
        };
    }
    auto consumer() {
        return [this](message *to, uint32_t count) {
            uint32_t done = 0;
            while (done < count && queue.pop(to[done])) done++;
            return done;
        };
    }
};

#ifdef HAVE_CONCURRENTQUEUE
// moodycamel::ConcurrentQueue with tokens, its fastest way; bulk calls for batches. CAPACITY for each producer, by its
// own bound: `try_enqueue` alone lets one producer take the memory of all.
struct moodycamel_traits : moodycamel::ConcurrentQueueDefaultTraits {
    static const size_t MAX_SUBQUEUE_SIZE = CAPACITY;
};

struct moodycamel_many {
    moodycamel::ConcurrentQueue<message, moodycamel_traits> queue;
    explicit moodycamel_many(uint32_t producers_) : queue(CAPACITY * producers_, producers_, 0) {}
    auto producer() {
        auto token = std::make_shared<moodycamel::ProducerToken>(queue);
        return [this, token](const message *from, uint32_t count) {
            if (count == 1) return static_cast<uint32_t>(queue.enqueue(*token, *from));
            return queue.enqueue_bulk(*token, from, count) ? count : 0u;
        };
    }
    auto consumer() {
        auto token = std::make_shared<moodycamel::ConsumerToken>(queue);
        return [this, token](message *to, uint32_t count) {
            if (count == 1) return static_cast<uint32_t>(queue.try_dequeue(*token, *to));
            return static_cast<uint32_t>(queue.try_dequeue_bulk(*token, to, count));
        };
    }
};
#endif

#ifdef HAVE_READERWRITERQUEUE
// moodycamel::ReaderWriterQueue, one producer and one consumer; it has no batches.
struct moodycamel_spsc {
    moodycamel::ReaderWriterQueue<message> queue{CAPACITY};
    explicit moodycamel_spsc(uint32_t) {}
    auto producer() {
        return [this](const message *from, uint32_t count) {
            uint32_t done = 0;
            while (done < count && queue.try_enqueue(from[done])) done++;
            return done;
        };
    }
    auto consumer() {
        return [this](message *to, uint32_t count) {
            uint32_t done = 0;
            while (done < count && queue.try_dequeue(to[done])) done++;
            return done;
        };
    }
};
#endif

}  // namespace crowd

#endif
