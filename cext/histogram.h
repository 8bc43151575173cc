/* histogram.h: log-linear latency histogram, one writer, readable at any time.
 *
 * 64 buckets per power of two from 64 ns up (width under 1.6 %), exact below; values above 2^38 ns fall into the last. */
#ifndef BYTEOR_HISTOGRAM_H
#define BYTEOR_HISTOGRAM_H

#include "atomics.h"
#include "layout.h"

static inline uint32_t byteor_histogram_index(uint64_t value) {
    if (value < 128) return (uint32_t)value;
    uint32_t exponent = 63u - (uint32_t)__builtin_clzll(value); /* >= 7 */
    uint32_t index = ((exponent - 6u) << 6) + (uint32_t)(value >> (exponent - 6u));
    return index < BYTEOR_HISTOGRAM_BUCKETS ? index : BYTEOR_HISTOGRAM_BUCKETS - 1u;
}

/* Smallest value of a bucket. */
static inline uint64_t byteor_histogram_low(uint32_t index) {
    if (index < 128) return index;
    uint32_t exponent = (index >> 6) + 5u;
    return (uint64_t)((index & 63u) + 64u) << (exponent - 6u);
}

static inline void byteor_histogram_add(byteor_histogram *histogram, uint64_t value, uint64_t times) {
    byteor_count(&histogram->bucket[byteor_histogram_index(value)], times);
    byteor_count(&histogram->count, times);
    byteor_count(&histogram->sum_ns, value * times);
    if (value > byteor_load_relaxed64(&histogram->max_ns)) byteor_store_relaxed64(&histogram->max_ns, value);
}

#endif
