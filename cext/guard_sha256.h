/* guard_sha256.h: SHA-256 (FIPS 180-4) and HMAC (RFC 2104) with a key that is worked in once. */
#ifndef BYTEOR_GUARD_SHA256_H
#define BYTEOR_GUARD_SHA256_H

#include <stdint.h>
#include <string.h>

#define SHA256_BYTES 32u
#define SHA256_BLOCK 64u

static const uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t sha256_turn(uint32_t x, unsigned bits) {
    return x >> bits | x << (32 - bits);
}

/* Round `i` of eight, after which the words stand where they stood: they are renamed, not moved. */
static inline __attribute__((always_inline)) void sha256_round(uint32_t s[8], unsigned i,
                                                               uint32_t word) {
    uint32_t a = s[(8 - i) & 7];
    uint32_t b = s[(9 - i) & 7];
    uint32_t c = s[(10 - i) & 7];
    uint32_t e = s[(12 - i) & 7];
    uint32_t f = s[(13 - i) & 7];
    uint32_t g = s[(14 - i) & 7];
    uint32_t one = s[(15 - i) & 7] + (sha256_turn(e, 6) ^ sha256_turn(e, 11) ^ sha256_turn(e, 25)) +
                   ((e & f) ^ (~e & g)) + word;
    uint32_t two = (sha256_turn(a, 2) ^ sha256_turn(a, 13) ^ sha256_turn(a, 22)) +
                   ((a & b) ^ (a & c) ^ (b & c));
    s[(11 - i) & 7] += one;
    s[(15 - i) & 7] = one + two;
}

static inline void sha256_block(uint32_t state[8], const uint8_t *block) {
    uint32_t w[64];
    uint32_t s[8];
    for (unsigned i = 0; i < 16; i++) {
        uint32_t word = 0;
        memcpy(&word, block + (size_t)i * 4, 4);
        w[i] = __builtin_bswap32(word);
    }
    for (unsigned i = 16; i < 64; i++) {
        uint32_t a = w[i - 15];
        uint32_t b = w[i - 2];
        w[i] = w[i - 16] + (sha256_turn(a, 7) ^ sha256_turn(a, 18) ^ a >> 3) + w[i - 7] +
               (sha256_turn(b, 17) ^ sha256_turn(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof s);
    for (unsigned i = 0; i < 64; i += 8) {
        sha256_round(s, 0, sha256_k[i] + w[i]);
        sha256_round(s, 1, sha256_k[i + 1] + w[i + 1]);
        sha256_round(s, 2, sha256_k[i + 2] + w[i + 2]);
        sha256_round(s, 3, sha256_k[i + 3] + w[i + 3]);
        sha256_round(s, 4, sha256_k[i + 4] + w[i + 4]);
        sha256_round(s, 5, sha256_k[i + 5] + w[i + 5]);
        sha256_round(s, 6, sha256_k[i + 6] + w[i + 6]);
        sha256_round(s, 7, sha256_k[i + 7] + w[i + 7]);
    }
    for (unsigned i = 0; i < 8; i++) {
        state[i] += s[i];
    }
}

static inline void sha256_start(uint32_t state[8]) {
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(state, first, sizeof first);
}

/* Takes `data` in after `before` bytes (a multiple of 64) and ends the message. */
static inline void sha256_finish(uint32_t state[8], uint64_t before, const uint8_t *data,
                                 uint64_t bytes, uint8_t out[SHA256_BYTES]) {
    uint8_t last[2 * SHA256_BLOCK] = {0};
    uint64_t bits = (before + bytes) * 8;
    for (; bytes >= SHA256_BLOCK; bytes -= SHA256_BLOCK, data += SHA256_BLOCK) {
        sha256_block(state, data);
    }
    if (bytes > 0) {
        memcpy(last, data, bytes);
    }
    last[bytes] = 0x80;
    uint64_t ends = bytes < 56 ? SHA256_BLOCK : 2 * (uint64_t)SHA256_BLOCK;
    bits = __builtin_bswap64(bits);
    memcpy(last + ends - 8, &bits, 8);
    for (uint64_t at = 0; at < ends; at += SHA256_BLOCK) {
        sha256_block(state, last + at);
    }
    for (unsigned i = 0; i < 8; i++) {
        uint32_t word = __builtin_bswap32(state[i]);
        memcpy(out + (size_t)i * 4, &word, 4);
    }
}

typedef struct guard_key {
    uint32_t inner[8];
    uint32_t outer[8];
} guard_key;

static inline void guard_key_set(guard_key *key, const uint8_t *secret, uint64_t bytes) {
    uint8_t pad[SHA256_BLOCK] = {0};
    uint8_t block[SHA256_BLOCK];
    if (bytes > SHA256_BLOCK) {
        uint32_t state[8];
        sha256_start(state);
        sha256_finish(state, 0, secret, bytes, pad);
    } else {
        memcpy(pad, secret, bytes);
    }
    sha256_start(key->inner);
    sha256_start(key->outer);
    for (unsigned i = 0; i < SHA256_BLOCK; i++) {
        block[i] = pad[i] ^ 0x36;
    }
    sha256_block(key->inner, block);
    for (unsigned i = 0; i < SHA256_BLOCK; i++) {
        block[i] = pad[i] ^ 0x5c;
    }
    sha256_block(key->outer, block);
    explicit_bzero(pad, sizeof pad);
    explicit_bzero(block, sizeof block);
}

static inline void guard_hmac(const guard_key *key, const uint8_t *data, uint32_t bytes,
                              uint8_t out[SHA256_BYTES]) {
    uint32_t state[8];
    uint8_t inner[SHA256_BYTES];
    memcpy(state, key->inner, sizeof state);
    sha256_finish(state, SHA256_BLOCK, data, bytes, inner);
    memcpy(state, key->outer, sizeof state);
    sha256_finish(state, SHA256_BLOCK, inner, sizeof inner, out);
}

#endif
