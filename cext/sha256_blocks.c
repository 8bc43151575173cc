/* sha256_blocks.c: see sha256_blocks.h. */
#include "sha256_blocks.h"

#include "guard_sha256.h"

static void blocks_portable(uint32_t state[8], const uint8_t *data, size_t blocks) {
    for (; blocks; blocks--, data += SHA256_BLOCK) sha256_block(state, data);
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

int byteor_sha256_native(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3)) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

/* Four rounds a turn. The instructions want the words as A B E F and C D G H, highest first; `w` holds the sixteen words of
 * the message that the next rounds go by, four to each part, and each turn replaces its part by the words 16 further on. */
__attribute__((target("sha,sse4.1,ssse3"))) static void blocks_native(uint32_t state[8], const uint8_t *data, size_t blocks) {
    const __m128i big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xB1);
    __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(cdab, hgfe, 8), cdgh = _mm_blend_epi16(hgfe, cdab, 0xF0);
    for (; blocks; blocks--, data += SHA256_BLOCK) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w[4];
        for (unsigned i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(data + (size_t)i * 16)), big_endian);
#pragma GCC unroll 16
        for (unsigned turn = 0; turn < 16; turn++) {
            const __m128i k = _mm_loadu_si128((const __m128i *)(const void *)(sha256_k + (size_t)turn * 4));
            const __m128i words = _mm_add_epi32(w[turn & 3], k);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, words);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(words, 0x0E));
            if (turn >= 12) continue;
            const __m128i last = w[(turn + 3) & 3], seventh = _mm_alignr_epi8(last, w[(turn + 2) & 3], 4);
            const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[turn & 3], w[(turn + 1) & 3]), seventh);
            w[turn & 3] = _mm_sha256msg2_epu32(sum, last);
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    const __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

void byteor_sha256_blocks(uint32_t state[8], const uint8_t *data, size_t blocks) {
    static int native = -1; /* the same whoever asks first */
    if (native < 0) native = byteor_sha256_native();
    if (native) blocks_native(state, data, blocks);
    else blocks_portable(state, data, blocks);
}
#else
int byteor_sha256_native(void) { return 0; }

void byteor_sha256_blocks(uint32_t state[8], const uint8_t *data, size_t blocks) { blocks_portable(state, data, blocks); }
#endif
