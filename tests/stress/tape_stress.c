/* tape_stress.c: a unit that hands over to a recorder, both of which die and are replaced, over a small tape.
 *
 * usage: tape_stress MESSAGES wait|degrade SEED
 * With `wait` the digest is that of every message once, in order; with `degrade` what is missing is counted exactly. */
#include "stress.h"

#include "capture_drain.h"
#include "guard_sha256.h"
#include "sha256_blocks.h"

#define SLOT_BYTES 128u
#define BATCH_MAX 32u
#define TAPE_SLOTS 16u /* of a page: the tape is 60 KiB */

static _Alignas(64) byteor_ring_producer producer;
static byteor_cell cell;
static _Alignas(4096) uint8_t memory[TAPE_SLOTS * BYTEOR_TAPE_PAGE];
static byteor_ring tape_ring = {.slots = memory, .producer = &producer, .cells = &cell, .capacity = TAPE_SLOTS,
                                .slot_bytes = BYTEOR_TAPE_PAGE, .cell_count = 1};
static uint64_t total, seed, handed_over;
static int waits;
static uint32_t over;
static byteor_drain committed_messages; /* the unit's own digest, of what it has committed; read when it is over */

/* Another try gives another message, as a socket does: only what was committed counts. */
static void fill(byteor_slot *slot, uint64_t position, uint64_t attempt) {
    uint64_t what = mix(position * 7u + attempt);
    slot->length = (uint16_t)(what % (SLOT_BYTES - BYTEOR_SLOT_HEADER_BYTES + 1));
    slot->type = 0;
    slot->flags = 0;
    slot->time_ns = position;
    for (uint32_t i = 0; i < slot->length; i++) byteor_payload(slot)[i] = (uint8_t)(what + i * 31u);
}

/* Byte by byte: other pieces than the recorder's. */
static void digest(const uint8_t *data, uint32_t bytes) {
    byteor_tape_record *w = &committed_messages.work;
    for (uint32_t i = 0; i < bytes; i++) {
        w->partial[w->hash_bytes++ % SHA256_BLOCK] = data[i];
        if (w->hash_bytes % SHA256_BLOCK == 0) sha256_block(w->hash, w->partial);
    }
}

/* --- the unit --------------------------------------------------------------------------------------------------- */

/* The unit's process dies: what it had in private memory is gone, `committed` is what its record says. */
static void replace_unit(byteor_capture *c, uint64_t *committed) {
    memset(c, 0, sizeof *c);
    c->count = 1;
    byteor_tape_view(&c->tape[0], &tape_ring);
    c->tape[0].committed = committed;
    c->tape[0].waits = (uint32_t)waits;
    byteor_capture_recover(c);
}

static void *unit(void *unused) {
    (void)unused;
    static _Alignas(64) uint8_t slots[BATCH_MAX * SLOT_BYTES];
    const byteor_ring geometry = {.slots = slots, .slot_bytes = SLOT_BYTES, .payload_max = SLOT_BYTES - BYTEOR_SLOT_HEADER_BYTES};
    byteor_capture capture;
    uint64_t committed = 0, chance = seed;
    replace_unit(&capture, &committed);
    while (committed < total) {
        chance = mix(chance + 1);
        uint64_t count = 1 + chance % BATCH_MAX;
        if (count > total - committed) count = total - committed;
        count = byteor_tape_limit(&capture.tape[0], count, SLOT_BYTES);
        for (uint64_t i = 0; i < count; i++) fill((byteor_slot *)(void *)(slots + i * SLOT_BYTES), committed + i, chance);
        if (count) byteor_tape_messages(&capture.tape[0], &geometry, slots, (uint32_t)count, committed, 0);
        if (chance >> 20 & 1) { /* before the commit: the batch is done again, cut elsewhere */
            replace_unit(&capture, &committed);
            continue;
        }
        if (count && chance >> 22 & 1 && byteor_tape_limit(&capture.tape[0], count, SLOT_BYTES) == count)
            byteor_tape_messages(&capture.tape[0], &geometry, slots, (uint32_t)count, committed, 0); /* a stage failed, and was called again */
        for (uint64_t i = 0; i < count; i++) {
            byteor_slot *slot = (byteor_slot *)(void *)(slots + i * SLOT_BYTES);
            uint32_t length = slot->length;
            digest((const uint8_t *)&length, sizeof length);
            digest(byteor_payload(slot), length);
        }
        committed += count;
        if (chance >> 21 & 1) replace_unit(&capture, &committed); /* after it, before it was shown */
        else byteor_capture_show(&capture);
    }
    handed_over = committed;
    byteor_store_release32(&over, 1); /* partner: main */
    return NULL;
}

/* --- the recorder ----------------------------------------------------------------------------------------------- */

static void replace_recorder(byteor_drain *d) {
    memset(d, 0, sizeof *d);
    d->ring = tape_ring;
    byteor_tape_view(&d->tape, &d->ring);
    d->sample_every = 1;
    d->digests = 1;
    d->checkpoint_at = UINT64_MAX;
    byteor_drain_open(d);
}

static void expect(const byteor_drain *d) {
    uint8_t got[32], wanted[32];
    byteor_drain_digest(&committed_messages, wanted);
    byteor_drain_digest(d, got);
    CHECK(memcmp(got, wanted, sizeof got) == 0, "the digest of %llu messages differs", (unsigned long long)d->work.hashed);
}

int main(int argc, char **argv) {
    pthread_t thread;
    byteor_drain drain;
    CHECK(argc == 4, "usage: tape_stress MESSAGES wait|degrade SEED");
    total = strtoull(argv[1], NULL, 10);
    waits = strcmp(argv[2], "wait") == 0;
    seed = strtoull(argv[3], NULL, 10);
    sha256_start(committed_messages.work.hash);
    replace_recorder(&drain);
    CHECK(pthread_create(&thread, NULL, unit, NULL) == 0, "no thread");
    for (uint64_t turn = 0;; turn++) {
        uint32_t last = byteor_load_acquire32(&over); /* partner: unit; before the look that finds nothing more */
        int outcome = byteor_drain_step(&drain, 1 + mix(turn) % 9000, 1);
        CHECK(outcome <= BYTEOR_DRAINED_SOME, "outcome %d at %llu", outcome, (unsigned long long)drain.work.next);
        if (outcome == BYTEOR_DRAINED_NOTHING && last) break;
        if (mix(turn) >> 9 & 1) replace_recorder(&drain);
        if (outcome == BYTEOR_DRAINED_NOTHING) sched_yield();
    }
    CHECK(pthread_join(thread, NULL) == 0, "not joined");
    byteor_drain_end(&drain, handed_over);
    CHECK(handed_over == total && drain.work.next == total, "%llu of %llu", (unsigned long long)drain.work.next, (unsigned long long)total);
    CHECK(drain.work.hashed + drain.work.lost == total, "%llu and %llu lost", (unsigned long long)drain.work.hashed, (unsigned long long)drain.work.lost);
    CHECK(!waits || drain.work.lost == 0, "%llu lost", (unsigned long long)drain.work.lost);
    if (waits) expect(&drain);
    printf("ok %llu messages\n", (unsigned long long)total);
    return 0;
}
