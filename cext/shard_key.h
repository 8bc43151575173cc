/* shard_key.h: which of several rings a message goes to, by the bytes of its key. */
#ifndef BYTEOR_SHARD_KEY_H
#define BYTEOR_SHARD_KEY_H

#include <stdint.h>

/* Hash of the key bytes [offset, offset + length) of a payload, as far as it reaches; length 0: to its end. */
static inline uint64_t byteor_key_hash_of(const uint8_t *payload, uint64_t bytes, uint64_t offset, uint64_t length) {
    uint64_t end = length && offset + length < bytes ? offset + length : bytes, hash = 1469598103934665603u;
    for (uint64_t i = offset; i < end; i++) hash = (hash ^ payload[i]) * 1099511628211u;
    hash ^= hash >> 32; /* the low bits of FNV alone spread short keys badly */
    return hash * 0x9e3779b97f4a7c15u >> 32;
}

#endif
