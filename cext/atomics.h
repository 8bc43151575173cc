/* atomics.h: the only place that names a memory order. Each use elsewhere says who its partner is.
 *
 * Under ThreadSanitizer stand-alone fences are replaced by sequentially consistent read-modify-writes on a local word,
 * which that tool understands. */
#ifndef BYTEOR_ATOMICS_H
#define BYTEOR_ATOMICS_H

#include <stdint.h>

static inline uint64_t byteor_load_acquire64(const uint64_t *address) { return __atomic_load_n(address, __ATOMIC_ACQUIRE); }
static inline uint32_t byteor_load_acquire32(const uint32_t *address) { return __atomic_load_n(address, __ATOMIC_ACQUIRE); }
static inline uint64_t byteor_load_relaxed64(const uint64_t *address) { return __atomic_load_n(address, __ATOMIC_RELAXED); }
static inline uint32_t byteor_load_relaxed32(const uint32_t *address) { return __atomic_load_n(address, __ATOMIC_RELAXED); }
static inline void byteor_store_release64(uint64_t *address, uint64_t value) { __atomic_store_n(address, value, __ATOMIC_RELEASE); }
static inline void byteor_store_release32(uint32_t *address, uint32_t value) { __atomic_store_n(address, value, __ATOMIC_RELEASE); }
static inline void byteor_store_relaxed64(uint64_t *address, uint64_t value) { __atomic_store_n(address, value, __ATOMIC_RELAXED); }
static inline void byteor_store_relaxed32(uint32_t *address, uint32_t value) { __atomic_store_n(address, value, __ATOMIC_RELAXED); }

/* Total order: used where a store must be seen before a later load and no membarrier is to be had (wait.h). */
static inline uint32_t byteor_exchange32(uint32_t *address, uint32_t value) { return __atomic_exchange_n(address, value, __ATOMIC_SEQ_CST); }

static inline int byteor_compare_exchange32(uint32_t *address, uint32_t expected, uint32_t value) {
    return __atomic_compare_exchange_n(address, &expected, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* For counts of several writers that order nothing else. `expected` becomes what was seen. */
static inline int byteor_compare_exchange_relaxed64(uint64_t *address, uint64_t *expected, uint64_t value) {
    return __atomic_compare_exchange_n(address, expected, value, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}
static inline void byteor_subtract_relaxed64(uint64_t *address, uint64_t value) { __atomic_fetch_sub(address, value, __ATOMIC_RELAXED); }

/* Add to a counter that has one writer: readers elsewhere see whole values. */
static inline void byteor_count(uint64_t *counter, uint64_t amount) {
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + amount, __ATOMIC_RELAXED);
}

#if defined(__SANITIZE_THREAD__)
static inline void byteor_fence_release(void) { uint32_t word = 0; __atomic_exchange_n(&word, 1u, __ATOMIC_SEQ_CST); }
static inline void byteor_fence_acquire(void) { uint32_t word = 0; __atomic_exchange_n(&word, 1u, __ATOMIC_SEQ_CST); }
#else
/* After a claim, before the first payload store; partner: byteor_fence_acquire of a reader that looks again. */
static inline void byteor_fence_release(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
static inline void byteor_fence_acquire(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
#endif

static inline void byteor_fence_full(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* Order as the same process, restarted, will see it: only the compiler is held. */
static inline void byteor_fence_signal(void) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }

static inline void byteor_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
