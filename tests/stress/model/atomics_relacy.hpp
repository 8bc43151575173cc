/* atomics_relacy.hpp: the functions of atomics.h over Relacy's atomics, so that the headers run under it as they are.
 *
 * The headers only ever take addresses of shared words. Here each such address stands for a modelled word, found by table;
 * `weak` plants one fault: the release store of that address becomes a relaxed one, which the checker has to find. */
#ifndef BYTEOR_ATOMICS_H
#define BYTEOR_ATOMICS_H

#include <relacy/relacy.hpp>

#include <stdint.h>

namespace model {

constexpr int words_max = 24;

struct word {
    const void *address = nullptr;
    rl::atomic<uint64_t> value;
};

struct memory {
    word words[words_max];
    int used = 0;

    void add(const void *address, uint64_t value) {
        RL_ASSERT(used < words_max);
        words[used].address = address;
        words[used++].value.store(value, rl::mo_relaxed, $);
    }
    rl::atomic<uint64_t> &at(const void *address) {
        for (int i = 0; i < used; i++)
            if (words[i].address == address) return words[i].value;
        RL_ASSERT(!"a word that the test does not model");
        return words[0].value;
    }
};

inline memory *current = nullptr;
inline bool fences = true; /* false plants another fault */
inline const void *weak_begin = nullptr, *weak_end = nullptr;

inline rl::memory_order release(const void *address) {
    bool weak = address >= weak_begin && address < weak_end;
    return weak ? rl::mo_relaxed : rl::mo_release;
}

} // namespace model

static inline uint64_t byteor_load_acquire64(const uint64_t *a) { return model::current->at(a).load(rl::mo_acquire, $); }
static inline uint32_t byteor_load_acquire32(const uint32_t *a) { return (uint32_t)model::current->at(a).load(rl::mo_acquire, $); }
static inline uint64_t byteor_load_relaxed64(const uint64_t *a) { return model::current->at(a).load(rl::mo_relaxed, $); }
static inline uint32_t byteor_load_relaxed32(const uint32_t *a) { return (uint32_t)model::current->at(a).load(rl::mo_relaxed, $); }
static inline void byteor_store_release64(uint64_t *a, uint64_t v) { model::current->at(a).store(v, model::release(a), $); }
static inline void byteor_store_release32(uint32_t *a, uint32_t v) { model::current->at(a).store(v, model::release(a), $); }
static inline void byteor_store_relaxed64(uint64_t *a, uint64_t v) { model::current->at(a).store(v, rl::mo_relaxed, $); }
static inline void byteor_store_relaxed32(uint32_t *a, uint32_t v) { model::current->at(a).store(v, rl::mo_relaxed, $); }
static inline uint32_t byteor_exchange32(uint32_t *a, uint32_t v) { return (uint32_t)model::current->at(a).exchange(v, rl::mo_seq_cst, $); }
static inline void byteor_fence_release(void) { rl::atomic_thread_fence(rl::mo_release, $); }
static inline void byteor_fence_acquire(void) { rl::atomic_thread_fence(rl::mo_acquire, $); }
static inline void byteor_fence_full(void) {
    if (model::fences) rl::atomic_thread_fence(rl::mo_seq_cst, $);
}
static inline void byteor_fence_signal(void) {}
static inline void byteor_pause(void) {}

#endif
