/* unit_stress.c: whole units of unit_duty.h (ingress, then 1 to 4 stages) as the worker turns them, one thread each.
 *
 *   unit_stress MESSAGES START STAGES backoff|park membarrier|fence CAPACITY
 *
 * Everything is on: commit records, undo copies, counters, histograms, end of input. Stage 0 rewrites a word and drops
 * every seventh message; the others must see exactly what it left, in order, and the counters must agree.
 */
#include "stress.h"
#include "unit_shards.h"

#define SLOT_BYTES 128u
#define UNDO_BYTES 65536u
#define BATCH_MAX 32u

typedef struct worker {
    pthread_t thread;
    byteor_unit_runtime u;
    byteor_source source;
    uint64_t next, live, dropped;
    uint32_t index;
    _Alignas(64) byteor_unit unit;
    byteor_role role;
    _Alignas(64) uint8_t undo[UNDO_BYTES];
    uint32_t *doorbells[STAGES_MAX + 1];
} worker;

static stress_ring memory;
static byteor_ring ring;
static byteor_run_block run;
static byteor_clock run_clock;
static worker ingress, stages[STAGES_MAX];
static uint64_t messages, start;
static uint32_t stage_count, wait_kind;
static int membarrier;

static int is_dropped(uint64_t number) { return number % 7 == 3; }

static int poll_source(byteor_source *self, byteor_batch *batch) {
    uint64_t count = byteor_least(byteor_least(1 + mix(ingress.next) % 8, batch->count), messages - ingress.next);
    for (uint32_t i = 0; i < count; i++, ingress.next++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        uint64_t *word = (uint64_t *)(void *)byteor_payload(slot);
        slot->length = 64;
        slot->type = 0;
        slot->flags = 0;
        for (uint32_t w = 2; w < 8; w++) word[w] = mix(ingress.next + w);
        word[0] = ingress.next;
        word[1] = byteor_crc32c(0, (uint8_t *)(word + 2), 48);
    }
    self->common.position[0] = ingress.next;
    if (ingress.next == messages) self->common.status = BYTEOR_ADAPTER_ENDED;
    return (int)count;
}

static int check_messages(void *self, byteor_batch *batch) {
    worker *w = self;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        uint64_t *word = (uint64_t *)(void *)byteor_payload(slot);
        uint64_t number = w->next++;
        CHECK(number == batch->first_sequence + i - start, "stage %u is at message %lu", w->index, number);
        CHECK(word[2] == mix(number + 2) && word[1] == byteor_crc32c(0, (uint8_t *)(word + 2), 48), "message %lu is torn", number);
        if (w->index == 0) {
            CHECK(word[0] == number, "message %lu was changed before", number);
            word[0] = mix(number);
            if (is_dropped(number)) byteor_drop(slot);
            continue;
        }
        CHECK(byteor_live(slot) == !is_dropped(number), "flags %x of message %lu", slot->flags, number);
        CHECK(word[0] == mix(number), "message %lu came before its dependency", number);
        w->live += (uint64_t)byteor_live(slot);
    }
    return BYTEOR_STAGE_OK;
}

static const byteor_stage_vtable changing = {.abi = BYTEOR_STAGE_ABI, .struct_bytes = sizeof(byteor_stage_vtable),
    .name = "changing", .flags = BYTEOR_STAGE_MUTATES | BYTEOR_STAGE_DROPS, .process = check_messages};
static const byteor_stage_vtable reading = {.abi = BYTEOR_STAGE_ABI, .struct_bytes = sizeof(byteor_stage_vtable),
    .name = "reading", .process = check_messages};

static void add_doorbell(worker *from, const worker *to) { from->doorbells[from->u.doorbell_count++] = (uint32_t *)(uintptr_t)&to->unit.parked; }

static void prepare(worker *w, uint32_t index) {
    byteor_unit_runtime *u = &w->u;
    w->index = index;
    u->unit = &w->unit;
    u->run = &run;
    u->control = (uint8_t *)&memory;
    u->clock = &run_clock;
    u->rings = &ring;
    u->ring_count = 1;
    u->kind = BYTEOR_UNIT_RING;
    u->max_batch = BATCH_MAX;
    u->looks = 2;
    u->rerunnable = 1;
    u->member_count = u->stage_end = 1;
    u->doorbells = w->doorbells;
    u->membarrier = (uint32_t)membarrier;
    u->unit->command = BYTEOR_COMMAND_RUN;
    u->unit->record[0].position = start;
    u->wait.kind = wait_kind;
    u->wait.sleep_ns_max = 50000;
    u->wait.membarrier = (uint32_t)membarrier;
    u->wait.doorbell = &u->unit->parked;
}

static void prepare_ingress(void) {
    prepare(&ingress, 0);
    ingress.source = (byteor_source){.common = {.wait_fd = -1}, .poll = poll_source};
    ingress.u.source = &ingress.source;
    ingress.u.first_stage = 1;
    ingress.u.member[0] = (byteor_member){.role = &ingress.role, .kind = BYTEOR_ROLE_INGRESS, .cell = -1, .source = &ingress.source};
    add_doorbell(&ingress, &stages[0]);
}

static void prepare_stage(uint32_t index) {
    worker *w = &stages[index];
    prepare(w, index);
    w->u.member[0] = (byteor_member){.role = &w->role, .kind = BYTEOR_ROLE_STAGE, .cell = (int32_t)index,
                                     .vtable = index ? &reading : &changing, .self = w};
    w->u.depends_count = depends_count_of[index];
    memcpy(w->u.depends, depends_of[index], sizeof depends_of[index]);
    w->u.scan_live = index == 0 || stage_count > 1;
    add_doorbell(w, &ingress);
    for (uint32_t other = 0; other < stage_count; other++)
        for (uint32_t d = 0; d < depends_count_of[other]; d++)
            if (depends_of[other][d] == index) add_doorbell(w, &stages[other]);
    if (index) return;
    w->u.save_headers = 1;
    w->u.range_count = 1;
    w->u.range[0] = (byteor_range){.offset = 0, .length = 8};
    w->u.slot_stride = 16;
    w->u.undo_area = w->undo;
    w->unit.undo_slot_bytes = BATCH_MAX * 16;
}

/* The worker's loop for one unit, sleeping for long when parked. */
static void *turn(void *argument) {
    worker *w = argument;
    byteor_unit_runtime *u = &w->u;
    uint64_t idle_since = 0;
    if (membarrier) byteor_membarrier_register();
    byteor_wait_reset(&u->wait);
    byteor_recover(u);
    for (int duty = BYTEOR_DUTY_IDLE; duty != BYTEOR_DUTY_ENDED;) {
        uint32_t command = byteor_load_acquire32(&u->unit->command);
        duty = byteor_unit_duty(u, command);
        CHECK(duty != BYTEOR_DUTY_FAILED, "a unit failed: %s", u->failure_text);
        if (duty == BYTEOR_DUTY_WORKED) byteor_wait_reset(&u->wait);
        if (duty == BYTEOR_DUTY_WORKED || duty == BYTEOR_DUTY_ENDED || !idle_turn(&u->wait, &idle_since, "a unit")) continue;
        byteor_park_announce(&u->wait);
        duty = byteor_unit_duty(u, command);
        CHECK(duty != BYTEOR_DUTY_FAILED, "a unit failed: %s", u->failure_text);
        if (duty == BYTEOR_DUTY_IDLE || duty == BYTEOR_DUTY_NO_ROOM)
            park_for_long(&u->wait, "a unit");
        else
            byteor_unpark(&u->wait);
    }
    return NULL;
}

static void check_counters(void) {
    uint64_t dropped = 0;
    for (uint64_t number = 0; number < messages; number++) dropped += (uint64_t)is_dropped(number);
    CHECK(ingress.role.received == messages, "the ingress counts %lu", ingress.role.received);
    CHECK(memory.producer.end_sequence == start + messages, "the end is at %lu", memory.producer.end_sequence);
    CHECK(stages[0].role.received == messages && stages[0].role.dropped == dropped, "stage 0 counts %lu and %lu dropped",
          stages[0].role.received, stages[0].role.dropped);
    for (uint32_t s = 1; s < stage_count; s++) {
        CHECK(stages[s].live == messages - dropped, "stage %u saw %lu", s, stages[s].live);
        CHECK(stages[s].role.received == messages - dropped, "stage %u counts %lu", s, stages[s].role.received);
        CHECK(stages[s].role.latency.count == messages - dropped, "stage %u timed %lu", s, stages[s].role.latency.count);
    }
}

/* Both ways to account for a batch say the same, bucket by bucket, whatever the ages. */
static void check_accounts(void) {
    static byteor_histogram one, other;
    static _Alignas(64) uint8_t slots[256 * SLOT_BYTES];
    for (uint64_t batch = 0; batch < 200; batch++) {
        uint64_t now = 1000000 + mix(batch) % 100000, time = now - mix(batch + 7) % (1u << (batch % 20));
        uint32_t count = 1 + (uint32_t)(mix(batch + 9) % 256);
        for (uint32_t i = 0; i < count; i++, time += 1 + mix(time) % (1u << (batch % 5)))
            *(byteor_slot *)(void *)(slots + i * SLOT_BYTES) = (byteor_slot){.length = 8, .time_ns = time};
        CHECK(byteor_account(&one, slots, SLOT_BYTES, count, now) == count, "of %u live ones", count);
        byteor_account_ordered(&other, slots, SLOT_BYTES, count, now);
        CHECK(memcmp(&one, &other, sizeof one) == 0, "batch %lu is accounted for in two ways", batch);
    }
}

int main(int argc, char **argv) {
    static const char *const waits[] = {"spin", "backoff", "park", NULL}, *const fences[] = {"fence", "membarrier", NULL};
    if (argc != 7) return 2;
    messages = strtoull(argv[1], NULL, 0);
    start = strtoull(argv[2], NULL, 0);
    stage_count = (uint32_t)atoi(argv[3]);
    wait_kind = word_of(argv[4], waits);
    membarrier = (int)word_of(argv[5], fences);
    check_accounts();
    run.first_message_ns = 1;
    byteor_clock_anchor(&run_clock, byteor_clock_calibrate(2000000));
    ring = stress_view(&memory, start, strtoull(argv[6], NULL, 0), SLOT_BYTES, stage_count);
    prepare_ingress();
    for (uint32_t s = 0; s < stage_count; s++) prepare_stage(s);
    for (uint32_t s = 0; s < stage_count; s++) stages[s].thread = run_thread(turn, &stages[s]);
    ingress.thread = run_thread(turn, &ingress);
    pthread_join(ingress.thread, NULL);
    for (uint32_t s = 0; s < stage_count; s++) pthread_join(stages[s].thread, NULL);
    check_counters();
    printf("ok %lu messages\n", messages);
    return 0;
}
