/* ring_relacy.cpp: ring.h and the doorbell of wait.h, as they are, under Relacy: every interleaving and every value that the
 * C11 memory model lets a load return, within small bounds. Sequences begin right before 2^64, so both the sequence and the
 * stamp wrap.
 *
 *   ring_relacy SCENARIO FAULT ITERATIONS       exit 0: no error found; 1: Relacy found one and says where
 */
#include "atomics_relacy.hpp"

#define _Static_assert static_assert
static int model_syscall(long number, uint32_t *word, int operation);
#define syscall(number, word, operation, ...) model_syscall(number, (uint32_t *)(uintptr_t)(word), (int)(operation))
#include "ring.h"
#include "wait.h"
#undef syscall

#include <cstdlib>
#include <cstring>

static const uint64_t FIRST = UINT64_MAX - 1; /* the second message has sequence 2^64 - 1, its stamp is 0 */
static const int CAPACITY = 2, CELLS = 2, MESSAGES = 3;
static int woken, slept;

static int model_syscall(long number, uint32_t *word, int operation) {
    if (number != SYS_futex) return 0;
    if (operation == FUTEX_WAKE) woken = 1;
    else if (byteor_load_relaxed32(word) == 1) slept = 1; /* the kernel looks at the word before it sleeps */
    return 0;
}

/* The memory that the headers compute addresses in. What lies there is modelled word by word. */
static struct {
    alignas(64) byteor_ring_producer producer;
    byteor_cell cells[CELLS];
    uint8_t slots[CAPACITY][64];
    uint32_t doorbell;
} shared;

struct modelled_ring {
    model::memory words;
    rl::var<uint64_t> payload[CAPACITY];
    byteor_ring ring;

    void begin(int cells) {
        std::memset(&ring, 0, sizeof ring);
        ring.producer = &shared.producer;
        ring.cells = shared.cells;
        ring.slots = &shared.slots[0][0];
        ring.capacity = CAPACITY;
        ring.mask = CAPACITY - 1;
        ring.slot_bytes = 64;
        ring.cell_count = (uint32_t)cells;
        words.used = 0;
        words.add(&shared.producer.cursor, FIRST);
        words.add(&shared.producer.claimed, FIRST);
        for (int c = 0; c < cells; c++) words.add(&shared.cells[c].sequence, FIRST);
        for (int s = 0; s < CAPACITY; s++) words.add(stamp(s), 7);
        words.add(&shared.doorbell, 0);
        model::current = &words;
    }
    static const uint32_t *stamp(int slot) { return &((const byteor_slot *)(const void *)shared.slots[slot])->stamp; }
    rl::var<uint64_t> &at(uint64_t sequence) { return payload[sequence & (CAPACITY - 1)]; }

    void produce() {
        uint64_t gate = FIRST;
        for (uint64_t s = FIRST; s != FIRST + MESSAGES; s++) {
            while (s - gate >= ring.capacity) {
                gate = byteor_ring_minimum(&ring, s);
                if (s - gate >= ring.capacity) rl::yield(1, $);
            }
            byteor_ring_claim(&ring, s + 1);
            at(s)($) = s;
            byteor_ring_publish(&ring, s, s + 1);
        }
    }
    void follow_producer(uint32_t cell, uint64_t change) {
        for (uint64_t s = FIRST; s != FIRST + MESSAGES; s++) {
            while (byteor_ring_scan(&ring, s, 1) == 0) rl::yield(1, $);
            uint64_t seen = at(s)($);
            RL_ASSERT(seen == s);
            if (change) at(s)($) = seen + change;
            byteor_cell_release(&ring, cell, s + 1);
        }
    }
    void follow_cell(uint32_t before, uint32_t cell, uint64_t change) {
        for (uint64_t s = FIRST; s != FIRST + MESSAGES; s++) {
            while (byteor_load_acquire64(&ring.cells[before].sequence) - s - 1 >= ring.capacity) rl::yield(1, $);
            RL_ASSERT((uint64_t)at(s)($) == s + change);
            byteor_cell_release(&ring, cell, s + 1);
        }
    }
};

/* One stage that follows the stamps. */
struct hand_over : rl::test_suite<hand_over, 2> {
    modelled_ring r;
    void before() { r.begin(1); }
    void thread(unsigned index) {
        if (index == 0) r.produce();
        else r.follow_producer(0, 0);
    }
};

/* A stage that changes payloads in place, and one behind it that follows its cell. */
struct chain : rl::test_suite<chain, 3> {
    modelled_ring r;
    void before() { r.begin(2); }
    void thread(unsigned index) {
        if (index == 0) r.produce();
        else if (index == 1) r.follow_producer(0, 1000);
        else r.follow_cell(0, 1, 1000);
    }
};

/* Two stages side by side: the producer gates on the slower of them. */
struct side_by_side : rl::test_suite<side_by_side, 3> {
    modelled_ring r;
    void before() { r.begin(2); }
    void thread(unsigned index) {
        if (index == 0) r.produce();
        else r.follow_producer(index - 1, 0);
    }
};

/* Parking without membarrier: a message is published, and its reader neither sees it nor is woken: never. */
struct doorbell : rl::test_suite<doorbell, 2> {
    modelled_ring r;
    void before() {
        r.begin(1);
        woken = slept = 0;
    }
    void thread(unsigned index) {
        if (index == 0) {
            byteor_ring_publish(&r.ring, FIRST, FIRST + 1);
            byteor_doorbell_ring(&shared.doorbell, 0);
            return;
        }
        byteor_wait wait;
        std::memset(&wait, 0, sizeof wait);
        wait.doorbell = &shared.doorbell;
        byteor_park_announce(&wait);
        if (byteor_ring_scan(&r.ring, FIRST, 1) != 0) byteor_unpark(&wait);
        else if (byteor_load_relaxed32(wait.doorbell) == 1) slept = 1;
    }
    void after() { RL_ASSERT(!slept || woken); }
};

template <typename Suite> static int check(unsigned long iterations) {
    rl::test_params params;
    params.iteration_count = iterations;
    params.search_type = rl::sched_random;
    return rl::simulate<Suite>(params) ? 0 : 1;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    const char *scenario = arguments[1], *fault = arguments[2];
    unsigned long iterations = std::strtoul(arguments[3], nullptr, 10);
    if (std::strcmp(fault, "weak_stamp") == 0) {
        model::weak_begin = shared.slots;
        model::weak_end = shared.slots + CAPACITY;
    } else if (std::strcmp(fault, "weak_cell") == 0) {
        model::weak_begin = shared.cells;
        model::weak_end = shared.cells + CELLS;
    } else if (std::strcmp(fault, "no_fence") == 0) {
        model::fences = false;
    } else if (std::strcmp(fault, "none") != 0) {
        return 2;
    }
    if (std::strcmp(scenario, "hand_over") == 0) return check<hand_over>(iterations);
    if (std::strcmp(scenario, "chain") == 0) return check<chain>(iterations);
    if (std::strcmp(scenario, "side_by_side") == 0) return check<side_by_side>(iterations);
    if (std::strcmp(scenario, "doorbell") == 0) return check<doorbell>(iterations);
    return 2;
}
