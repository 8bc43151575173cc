/* framing_fuzz.c: every framing on mutated bytes in random pieces, for a bounded number of rounds, under sanitizers.
 *
 * usage: framing_fuzz SEED ROUNDS FILE...   The files are the corpus. Checks that a framing never takes more than it was
 * given, never fills more than the batch, never exceeds a payload, and always comes to the end of its input.
 */
#include <stdio.h>
#include <stdlib.h>

#include "framing_pcap.h"

#define INPUT_MAX 8192u
#define SLOTS 7u

static uint64_t state;

static uint32_t pick(uint32_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % below;
}

static void check(int holds, const char *what) {
    if (!holds) {
        (void)fprintf(stderr, "broken promise: %s\n", what);
        abort();
    }
}

static size_t mutate(uint8_t *data, size_t bytes) {
    for (uint32_t changes = pick(8); changes > 0 && bytes > 0; changes--) {
        size_t at = pick((uint32_t)bytes);
        switch (pick(4)) {
        case 0:
            data[at] = (uint8_t)pick(256);
            break;
        case 1:
            data[at] = (uint8_t)(pick(2) ? 0xff : 0);
            break;
        case 2:
            bytes = at;
            break;
        default:
            data[at] = (uint8_t)(data[at] ^ (1u << pick(8)));
        }
    }
    return bytes;
}

static byteor_framing_options options_of(void) {
    static const uint32_t widths[] = {1, 2, 4, 8};
    byteor_framing_options options = {0};
    options.kind = pick(2) ? BYTEOR_FRAMING_PCAP : pick(4);
    options.record_bytes = 1 + pick(48);
    options.length_bytes = widths[pick(4)];
    options.big_endian = (uint8_t)pick(2);
    options.counts_itself = (uint8_t)pick(2);
    options.delimiter = (uint8_t)(pick(2) ? '\n' : pick(256));
    options.strip_cr = (uint8_t)pick(2);
    options.skip_empty = (uint8_t)pick(2);
    options.whole_frames = (uint8_t)pick(2);
    options.port = (uint16_t)(pick(4) ? 0 : 9000);
    return options;
}

/* One input, in pieces; each piece in memory of its exact size, so that a sanitizer sees every byte too many. */
static void run(const uint8_t *data, size_t bytes, uint32_t slot_bytes) {
    byteor_framing framing = {.options = options_of()};
    byteor_adapter_common common = {0};
    uint8_t *slots = aligned_alloc(16, (size_t)slot_bytes * SLOTS);
    byteor_batch batch = {.slot_bytes = slot_bytes, .payload_max = slot_bytes - 16, .slots = slots};
    size_t start = 0;
    size_t end = 0;
    check(slots != NULL, "memory");
    for (uint32_t turns = 0; framing.lost == NULL; turns++) {
        const int last = end == bytes;
        uint32_t filled = 0;
        uint8_t *piece = malloc(end - start + (end == start));
        check(piece != NULL, "memory");
        memcpy(piece, data + start, end - start);
        batch.count = 1 + pick(SLOTS);
        size_t taken = byteor_take(&framing, &common, &batch, &filled, piece, end - start, last);
        free(piece);
        check(taken <= end - start, "took more than was there");
        check(filled <= batch.count, "filled more than the batch");
        for (uint32_t i = 0; i < filled; i++) {
            check(byteor_slot_at(&batch, i)->length <= batch.payload_max, "a payload larger than a slot");
        }
        start += taken;
        check(turns < 4 * INPUT_MAX, "no progress");
        if (last && start == end && filled == 0) {
            break;
        }
        if (filled == 0 && !last) {
            size_t step = 1 + pick(64);
            end = bytes - end < step ? bytes : end + step;
        }
    }
    free(slots);
}

int main(int argc, char **argv) {
    static uint8_t data[INPUT_MAX];
    if (argc < 4) {
        return 2;
    }
    state = strtoull(argv[1], NULL, 10) * 0x9e3779b97f4a7c15u + 1u;
    for (uint64_t round = 0, rounds = strtoull(argv[2], NULL, 10); round < rounds; round++) {
        FILE *file = fopen(argv[3 + pick((uint32_t)argc - 3u)], "rb");
        check(file != NULL, "a corpus file that opens");
        size_t bytes = fread(data, 1, sizeof data, file);
        (void)fclose(file);
        run(data, mutate(data, bytes), pick(4) ? 64 : 1024);
    }
    return 0;
}
