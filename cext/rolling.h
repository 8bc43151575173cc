/* rolling.h: the order-sensitive digest of a stream of messages: SHA-256 over, for each, its length (u32, little-endian) and
 * its payload. It can be asked for at any time and goes on. */
#ifndef BYTEOR_ROLLING_H
#define BYTEOR_ROLLING_H

#include "guard_sha256.h"
#include "sha256_blocks.h"

typedef struct byteor_rolling {
    uint64_t count; /* messages */
    uint64_t bytes; /* of their payloads */
    uint64_t taken; /* bytes worked in, a multiple of a block */
    uint32_t state[8];
    uint32_t waiting; /* bytes in `block` */
    uint32_t reserved;
    uint8_t block[SHA256_BLOCK];
} byteor_rolling;

static inline void byteor_rolling_begin(byteor_rolling *r) {
    memset(r, 0, sizeof *r);
    sha256_start(r->state);
}

static inline void byteor_rolling_bytes(byteor_rolling *r, const uint8_t *data, uint32_t bytes) {
    while (bytes) {
        uint32_t room = SHA256_BLOCK - r->waiting, part = bytes < room ? bytes : room;
        memcpy(r->block + r->waiting, data, part);
        r->waiting += part;
        data += part;
        bytes -= part;
        if (r->waiting < SHA256_BLOCK) return;
        byteor_sha256_blocks(r->state, r->block, 1);
        r->taken += SHA256_BLOCK;
        r->waiting = 0;
    }
}

static inline void byteor_rolling_add(byteor_rolling *r, const uint8_t *payload, uint32_t length) {
    const uint8_t head[4] = {(uint8_t)length, (uint8_t)(length >> 8), (uint8_t)(length >> 16), (uint8_t)(length >> 24)};
    byteor_rolling_bytes(r, head, sizeof head);
    byteor_rolling_bytes(r, payload, length);
    r->count++;
    r->bytes += length;
}

static inline void byteor_rolling_digest(const byteor_rolling *r, uint8_t out[SHA256_BYTES]) {
    uint32_t state[8];
    memcpy(state, r->state, sizeof state);
    sha256_finish(state, r->taken, r->block, r->waiting, out);
}

#endif
