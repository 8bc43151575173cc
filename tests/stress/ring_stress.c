/* ring_stress.c: one producer and 1 to 4 gated stages over the bare sequencing of ring.h.
 *
 *   ring_stress MESSAGES START STAGES spin|backoff|park membarrier|fence CAPACITY SLOT_BYTES
 *
 * Every payload is filled from its sequence and carries a CRC; stage 0 rewrites one word in place. Every stage checks
 * every message, in order and whole. START near 2^32 or 2^64 makes stamps and sequences wrap on the way.
 */
#include "stress.h"

typedef struct role {
    pthread_t thread;
    uint32_t index;
    byteor_wait wait;
    doorbell bell;
    uint32_t seen;
} role;

static stress_ring memory;
static byteor_ring ring;
static role stages[STAGES_MAX], producer;
static uint64_t messages, start;
static uint32_t stage_count, wait_kind;
static int membarrier;

static uint64_t *words(uint64_t sequence) { return (uint64_t *)(void *)byteor_payload(byteor_ring_slot(&ring, sequence)); }

static void build(uint64_t sequence) {
    byteor_slot *slot = byteor_ring_slot(&ring, sequence);
    uint64_t *word = words(sequence);
    uint32_t count = ring.payload_max / 8;
    slot->length = (uint16_t)ring.payload_max;
    slot->type = (uint8_t)sequence;
    slot->flags = 0;
    slot->time_ns = sequence;
    word[0] = 0;
    for (uint32_t i = 2; i < count; i++) word[i] = mix(sequence + i);
    word[1] = byteor_crc32c(0, (uint8_t *)(word + 2), (count - 2) * 8) ^ sequence;
}

static void verify(uint64_t sequence, uint32_t stage) {
    const byteor_slot *slot = byteor_ring_slot(&ring, sequence);
    const uint64_t *word = words(sequence);
    uint32_t count = ring.payload_max / 8;
    CHECK(slot->length == ring.payload_max && slot->time_ns == sequence && slot->type == (uint8_t)sequence,
          "header of %lu at stage %u", sequence, stage);
    CHECK(word[2] == mix(sequence + 2), "stage %u sees another message at %lu", stage, sequence);
    CHECK(word[1] == (byteor_crc32c(0, (const uint8_t *)(word + 2), (count - 2) * 8) ^ sequence), "torn %lu at stage %u", sequence, stage);
    CHECK(word[0] == (stage == 0 ? 0 : mix(sequence)), "stage %u did not wait for stage 0 at %lu", stage, sequence);
}

/* Slots this stage may take. */
static uint64_t available(uint32_t stage, uint64_t position) {
    uint64_t least = ring.capacity;
    if (depends_count_of[stage] == 0) return byteor_ring_scan(&ring, position, ring.capacity);
    for (uint32_t d = 0; d < depends_count_of[stage]; d++) {
        uint64_t ahead = byteor_load_acquire64(&ring.cells[depends_of[stage][d]].sequence) - position;
        if (ahead < least) least = ahead;
    }
    return least;
}

static uint64_t room(uint64_t position) { return ring.capacity - (position - byteor_ring_minimum(&ring, position)); }

static void wake_dependents(uint32_t stage) {
    for (uint32_t other = 0; other < stage_count; other++)
        for (uint32_t d = 0; d < depends_count_of[other]; d++)
            if (depends_of[other][d] == stage) byteor_doorbell_ring(&stages[other].bell.parked, membarrier);
    byteor_doorbell_ring(&producer.bell.parked, membarrier);
}

static void *produce(void *argument) {
    role *self = argument;
    uint64_t idle_since = 0;
    if (membarrier) byteor_membarrier_register();
    start_waiting(&self->wait, wait_kind, membarrier, &self->bell);
    for (uint64_t sequence = start; sequence != start + messages;) {
        uint64_t left = start + messages - sequence, take = room(sequence), most = 1 + mix(sequence) % 8;
        if (take == 0) {
            if (idle_turn(&self->wait, &idle_since, "the producer")) {
                byteor_park_announce(&self->wait);
                if (room(sequence))
                    byteor_unpark(&self->wait);
                else
                    park_for_long(&self->wait, "the producer");
            }
            continue;
        }
        byteor_wait_reset(&self->wait);
        if (take > most) take = most;
        if (take > left) take = left;
        byteor_ring_claim(&ring, sequence + take);
        for (uint64_t i = 0; i < take; i++) build(sequence + i);
        byteor_ring_publish(&ring, sequence, sequence + take);
        byteor_doorbell_ring(&stages[0].bell.parked, membarrier);
        sequence += take;
    }
    return NULL;
}

static void *follow(void *argument) {
    role *self = argument;
    uint32_t index = self->index;
    uint64_t idle_since = 0;
    if (membarrier) byteor_membarrier_register();
    start_waiting(&self->wait, wait_kind, membarrier, &self->bell);
    for (uint64_t position = start; position != start + messages;) {
        uint64_t take = available(index, position);
        if (take == 0) {
            if (idle_turn(&self->wait, &idle_since, "a stage")) {
                byteor_park_announce(&self->wait);
                if (available(index, position))
                    byteor_unpark(&self->wait);
                else
                    park_for_long(&self->wait, "a stage");
            }
            continue;
        }
        byteor_wait_reset(&self->wait);
        for (uint64_t i = 0; i < take; i++) {
            verify(position + i, index);
            if (index == 0) words(position + i)[0] = mix(position + i);
        }
        position += take;
        byteor_cell_release(&ring, index, position);
        wake_dependents(index);
    }
    return NULL;
}

int main(int argc, char **argv) {
    static const char *const waits[] = {"spin", "backoff", "park", NULL}, *const fences[] = {"fence", "membarrier", NULL};
    if (argc != 8) return 2;
    messages = strtoull(argv[1], NULL, 0);
    start = strtoull(argv[2], NULL, 0);
    stage_count = (uint32_t)atoi(argv[3]);
    wait_kind = word_of(argv[4], waits);
    membarrier = (int)word_of(argv[5], fences);
    ring = stress_view(&memory, start, strtoull(argv[6], NULL, 0), (uint32_t)atoi(argv[7]), stage_count);
    for (uint32_t s = 0; s < stage_count; s++) {
        stages[s].index = s;
        stages[s].thread = run_thread(follow, &stages[s]);
    }
    producer.thread = run_thread(produce, &producer);
    pthread_join(producer.thread, NULL);
    for (uint32_t s = 0; s < stage_count; s++) pthread_join(stages[s].thread, NULL);
    CHECK(memory.producer.cursor == start + messages, "the cursor ends at %lu", memory.producer.cursor);
    printf("ok %lu messages\n", messages);
    return 0;
}
