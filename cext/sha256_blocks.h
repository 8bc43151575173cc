/* sha256_blocks.h: SHA-256 (FIPS 180-4) over many whole blocks, with the processor's own instructions where it has them. */
#ifndef BYTEOR_SHA256_BLOCKS_H
#define BYTEOR_SHA256_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

/* Take `blocks` times 64 bytes into `state`. */
void byteor_sha256_blocks(uint32_t state[8], const uint8_t *data, size_t blocks);

/* Whether the processor has instructions for it. */
int byteor_sha256_native(void);

#endif
