/* generated.h: the contents that the generator makes, each a pure function of (seed, sequence).
 *
 * So a restarted generator goes on with the same bytes, and whoever receives a message can tell whether it is the right
 * one. `checksummed`: u64 sequence, u32 CRC32C of sequence and body, body; little endian.
 */
#ifndef BYTEOR_GENERATED_H
#define BYTEOR_GENERATED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "crc32c.h"

#define BYTEOR_CHECKSUMMED_BYTES_MIN 12u
#define BYTEOR_TRADES_RECORD_BYTES 56u
#define BYTEOR_LOG_LINE_BYTES_MAX 160u
#define BYTEOR_FILLER_BYTES 64u

enum byteor_content {
    BYTEOR_CONTENT_COUNTER = 0,     /* u64 sequence, then a fixed filler */
    BYTEOR_CONTENT_RANDOM = 1,      /* pseudo-random bytes */
    BYTEOR_CONTENT_CHECKSUMMED = 2, /* any loss, tear or exchange shows */
    BYTEOR_CONTENT_TEXT = 3,        /* log lines of a sshd */
    BYTEOR_CONTENT_TRADES = 4       /* market-by-order records of 56 bytes */
};

/* SplitMix64 (Steele, Lea, Flood 2014), as a hash of its state. */
static inline uint64_t byteor_mix(uint64_t value) {
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

static inline void byteor_make_random(uint8_t *into, size_t bytes, uint64_t seed, uint64_t sequence) {
    uint64_t state = byteor_mix(seed ^ byteor_mix(sequence));
    size_t at = 0;
    for (; bytes - at >= 8; at += 8) {
        state = state * 0xd1342543de82ef95u + 1u;
        uint64_t word = state ^ (state >> 29);
        memcpy(into + at, &word, 8);
    }
    uint64_t word = byteor_mix(state);
    memcpy(into + at, &word, bytes - at);
}

static inline void byteor_make_counter(uint8_t *into, size_t bytes, const uint8_t *filler, uint64_t sequence) {
    if (bytes < 8) {
        memcpy(into, &sequence, bytes);
        return;
    }
    size_t at = 8;
    if (bytes >= 16) { /* in one store: whoever reads it soon reads that much at once */
        uint64_t both[2] = {sequence};
        memcpy(&both[1], filler + 8, 8);
        memcpy(into, both, sizeof both);
        at = 16;
    } else {
        memcpy(into, &sequence, 8);
    }
    for (; bytes - at >= 16; at += 16) {
        memcpy(into + at, filler + (at & (BYTEOR_FILLER_BYTES - 16u)), 16);
    }
    if (bytes - at >= 8) {
        memcpy(into + at, filler + (at & (BYTEOR_FILLER_BYTES - 8u)), 8);
        at += 8;
    }
    if (bytes > at) {
        memcpy(into + at, filler, bytes - at);
    }
}

static inline uint32_t byteor_checksum_of(const uint8_t *message, size_t bytes) {
    uint32_t crc = byteor_crc32c(0, message, 8);
    return byteor_crc32c(crc, message + BYTEOR_CHECKSUMMED_BYTES_MIN, bytes - BYTEOR_CHECKSUMMED_BYTES_MIN);
}

static inline void byteor_make_checksummed(uint8_t *into, size_t bytes, uint64_t seed, uint64_t sequence) {
    memcpy(into, &sequence, 8);
    byteor_make_random(into + BYTEOR_CHECKSUMMED_BYTES_MIN, bytes - BYTEOR_CHECKSUMMED_BYTES_MIN, seed, sequence);
    uint32_t crc = byteor_checksum_of(into, bytes);
    memcpy(into + 8, &crc, 4);
}

static inline size_t byteor_put_text(uint8_t *into, size_t at, const char *text) {
    size_t bytes = strlen(text);
    memcpy(into + at, text, bytes);
    return at + bytes;
}

static inline size_t byteor_put_number(uint8_t *into, size_t at, uint64_t value, unsigned digits_min) {
    uint8_t digits[20];
    unsigned count = 0;
    do {
        digits[count++] = (uint8_t)('0' + value % 10u);
        value /= 10u;
    } while (value != 0 || count < digits_min);
    while (count > 0) {
        into[at++] = digits[--count];
    }
    return at;
}

static inline size_t byteor_put_address(uint8_t *into, size_t at, uint64_t hash) {
    at = byteor_put_text(into, at, "203.0.113."); /* RFC 5737: for documentation */
    return byteor_put_number(into, at, 1u + hash % 254u, 1);
}

/* One log line without its newline, up to BYTEOR_LOG_LINE_BYTES_MAX bytes: three in eight are failed passwords. */
static inline size_t byteor_make_text(uint8_t *into, uint64_t seed, uint64_t sequence) {
    static const char *const users[] = {"root", "admin", "oracle", "webmaster", "test", "git", "ubuntu", "postgres"};
    const uint64_t hash = byteor_mix(seed ^ byteor_mix(sequence));
    const char *user = users[hash >> 8 & 7u];
    const uint64_t second = sequence / 4u;
    size_t at = byteor_put_text(into, 0, "Dec 10 ");
    at = byteor_put_number(into, at, (6u + second / 3600u) % 24u, 2);
    into[at++] = ':';
    at = byteor_put_number(into, at, second / 60u % 60u, 2);
    into[at++] = ':';
    at = byteor_put_number(into, at, second % 60u, 2);
    at = byteor_put_text(into, at, " gateway sshd[");
    at = byteor_put_number(into, at, 24000u + sequence / 8u % 8000u, 5);
    at = byteor_put_text(into, at, "]: ");
    switch (hash & 7u) {
    case 0:
    case 1:
        at = byteor_put_text(into, at, "Failed password for ");
        break;
    case 2:
        at = byteor_put_text(into, at, "Failed password for invalid user ");
        break;
    case 3:
        at = byteor_put_text(into, at, "Accepted publickey for ");
        break;
    case 4:
        at = byteor_put_text(into, at, "Connection closed by ");
        return byteor_put_text(into, byteor_put_address(into, at, hash >> 16), " [preauth]");
    case 5:
        at = byteor_put_text(into, at, "Received disconnect from ");
        return byteor_put_text(into, byteor_put_address(into, at, hash >> 16), ": 11: Bye Bye [preauth]");
    case 6:
        at = byteor_put_text(into, at, "Invalid user ");
        at = byteor_put_text(into, at, user);
        at = byteor_put_text(into, at, " from ");
        return byteor_put_address(into, at, hash >> 16);
    default:
        at = byteor_put_text(into, at, "pam_unix(sshd:session): session closed for user ");
        return byteor_put_text(into, at, user);
    }
    at = byteor_put_text(into, at, user);
    at = byteor_put_text(into, at, " from ");
    at = byteor_put_address(into, at, hash >> 16);
    at = byteor_put_text(into, at, " port ");
    at = byteor_put_number(into, at, 1024u + (hash >> 32) % 64000u, 1);
    return byteor_put_text(into, at, " ssh2");
}

/* One market-by-order record: about one in 37 is a trade. The price walks around 4,800.00 in steps of a quarter. */
static inline void byteor_make_trade(uint8_t *into, uint64_t seed, uint64_t sequence) {
    static const char actions[] = "AAAAAAAAAAAAAAAAAAAAAAAACCCCCCMMMMMFFT"; /* 38 */
    const uint64_t hash = byteor_mix(seed ^ byteor_mix(sequence));
    const uint64_t time_ns = 1703487600000000000u + sequence * 1000000u + hash % 1000000u;
    const int64_t ticks = (int64_t)(byteor_mix(seed ^ sequence / 512u) % 41u) - 20 + (int64_t)(hash >> 40 & 3u);
    const int64_t price = (4800 * 4 + ticks) * 250000000;
    const uint64_t order = 6400000000000u + (hash >> 20 & 0xffffffu);
    const uint32_t size = 1u + (uint32_t)(hash >> 12 & 7u);
    const uint32_t number = (uint32_t)sequence + 1u;
    memset(into, 0, BYTEOR_TRADES_RECORD_BYTES);
    into[0] = BYTEOR_TRADES_RECORD_BYTES / 4u;
    into[1] = 160;
    into[2] = 1;
    memcpy(into + 4, &(uint32_t){17077}, 4);
    memcpy(into + 8, &time_ns, 8);
    memcpy(into + 16, &order, 8);
    memcpy(into + 24, &price, 8);
    memcpy(into + 32, &size, 4);
    into[36] = 130;
    into[38] = (uint8_t)actions[(hash >> 48) % (sizeof actions - 1)];
    into[39] = hash & 1u ? 'A' : 'B';
    memcpy(into + 40, &time_ns, 8);
    memcpy(into + 52, &number, 4);
}

#endif
