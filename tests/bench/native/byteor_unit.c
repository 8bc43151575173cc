/* byteor_unit.c: byteor's worker loop with everything on: commit records, exact counters, histograms, clock reads.
 *
 * The left side is an ingress unit with a source that builds the bench's payload, the right side a unit of stages that
 * check it; each turns as the worker's loop does (command, duty, heartbeat, spin). What a run does between two worker
 * processes, without the daemon around it, so that the probe can sit in the same burst.
 */
#include <string.h>

#include "unit_shards.h"

#include "byteor_rings.h"
#include "pair.h"

#define STAGES_MAX 3u
#define BATCH_MAX 256u
#define PACE_NS 2000u

typedef struct unit_arena {
    bench_ring_memory ring;
    byteor_run_block run;
    _Alignas(64) byteor_clock clock;
    _Alignas(64) byteor_unit ingress, stages;
    _Alignas(64) byteor_role role[1 + STAGES_MAX];
} unit_arena;

_Static_assert(sizeof(unit_arena) < ARENA_BYTES, "fits the arena");

typedef struct bench_source {
    byteor_source source;
    uint64_t next;      /* message to build */
    uint64_t end_ticks; /* when the sample ends */
    uint32_t at_once;   /* messages for each poll */
    uint64_t pace_ns;   /* least time between two messages, 0: none */
    uint64_t due_ns;
} bench_source;

typedef struct bench_stage {
    uint64_t expected;
    outcome *result;
} bench_stage;

static void prepare(void *arena) {
    static uint64_t mult;
    unit_arena *a = arena;
    if (!mult) mult = byteor_clock_calibrate(5000000);
    bench_ring_clear(&a->ring);
    memset((uint8_t *)arena + sizeof a->ring, 0, sizeof *a - sizeof a->ring);
    a->run.first_message_ns = 1;
    byteor_clock_anchor(&a->clock, mult);
}

static int bench_poll(byteor_source *self, byteor_batch *batch) {
    bench_source *source = (bench_source *)(void *)self;
    uint32_t count = batch->count < source->at_once ? batch->count : source->at_once;
    if (source->pace_ns) {
        if (batch->now_ns < source->due_ns) return 0;
        source->due_ns = batch->now_ns + source->pace_ns;
    }
    for (uint32_t i = 0; i < count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        slot->length = PAYLOAD_WORDS * 8;
        slot->type = 0;
        slot->flags = 0;
        fill((uint64_t *)(void *)byteor_payload(slot), source->next++);
    }
    self->common.bytes_total += (uint64_t)count * PAYLOAD_WORDS * 8;
    self->common.position[0] = source->next;
    if ((source->pace_ns || source->next % CHUNK < count) && now_ticks() >= source->end_ticks) self->common.status = BYTEOR_ADAPTER_ENDED;
    return (int)count;
}

static int bench_process(void *self, byteor_batch *batch) {
    bench_stage *stage = self;
    for (uint32_t i = 0; i < batch->count; i++)
        check((const uint64_t *)(const void *)byteor_payload(byteor_slot_at(batch, i)), &stage->expected, stage->result);
    return BYTEOR_STAGE_OK;
}

static const byteor_stage_vtable check_stage = {.abi = BYTEOR_STAGE_ABI, .struct_bytes = sizeof(byteor_stage_vtable),
                                                .name = "check", .process = bench_process};

static void start_unit(byteor_unit_runtime *u, unit_arena *a, byteor_unit *unit, byteor_ring *ring) {
    memset(u, 0, sizeof *u);
    u->unit = unit;
    u->run = &a->run;
    u->control = (uint8_t *)a;
    u->clock = &a->clock;
    u->rings = ring;
    u->ring_count = 1;
    u->kind = BYTEOR_UNIT_RING;
    u->max_batch = BATCH_MAX;
    u->rerunnable = 1;
    unit->command = BYTEOR_COMMAND_RUN;
    u->wait.kind = BYTEOR_WAIT_SPIN;
    u->looks = 2;
}

/* The worker's loop for one unit (worker.pyx), spinning. */
static void turn_until_done(byteor_unit_runtime *u) {
    for (;;) {
        uint32_t command = byteor_load_acquire32(&u->unit->command);
        int outcome_ = byteor_unit_duty(u, command);
        if (outcome_ == BYTEOR_DUTY_ENDED || outcome_ == BYTEOR_DUTY_FAILED) return;
        if (outcome_ != BYTEOR_DUTY_WORKED) {
            byteor_wait_turn(&u->wait, -1, 0);
            continue;
        }
        uint64_t cycle = u->turn_ended_ns - u->turn_began_ns;
        for (uint32_t m = 0; m < u->member_count; m++) {
            byteor_store_relaxed64(&u->member[m].role->heartbeat_ns, u->turn_ended_ns);
            if (cycle > byteor_load_relaxed64(&u->member[m].role->cycle_ns_max))
                byteor_store_relaxed64(&u->member[m].role->cycle_ns_max, cycle);
        }
    }
}

static void ingress_side(void *arena, uint64_t ticks, outcome *result, uint64_t capacity, uint32_t at_once, uint32_t cells, uint64_t pace_ns) {
    unit_arena *a = arena;
    byteor_ring ring = bench_ring_view(&a->ring, capacity, cells);
    byteor_unit_runtime u;
    bench_source source = {.source = {.common = {.wait_fd = -1}, .poll = bench_poll}, .at_once = at_once, .pace_ns = pace_ns};
    start_unit(&u, a, &a->ingress, &ring);
    u.source = &source.source;
    u.member_count = u.first_stage = u.stage_end = 1;
    u.member[0] = (byteor_member){.role = &a->role[0], .kind = BYTEOR_ROLE_INGRESS, .cell = -1, .source = u.source};
    u.looks = 8;
    byteor_recover(&u);
    source.end_ticks = (result->begin_ticks = now_ticks()) + ticks;
    turn_until_done(&u);
}

static void stage_side(void *arena, outcome *result, uint64_t capacity, uint32_t stages) {
    unit_arena *a = arena;
    byteor_ring ring = bench_ring_view(&a->ring, capacity, stages);
    byteor_unit_runtime u;
    bench_stage stage[STAGES_MAX];
    start_unit(&u, a, &a->stages, &ring);
    u.member_count = u.stage_end = stages;
    for (uint32_t m = 0; m < stages; m++) {
        stage[m] = (bench_stage){.result = result};
        u.member[m] = (byteor_member){.role = &a->role[1 + m], .kind = BYTEOR_ROLE_STAGE, .index = 1 + m, .cell = (int32_t)m,
                                      .vtable = &check_stage, .self = &stage[m]};
    }
    byteor_recover(&u);
    turn_until_done(&u);
    result->end_ticks = now_ticks();
    result->messages = stage[0].expected;
}

#define UNIT(name, capacity, at_once, stages)                                                                          \
    static void name##_left(void *arena, uint64_t ticks, outcome *result) { ingress_side(arena, ticks, result, capacity, at_once, stages, 0); } \
    static void name##_right(void *arena, outcome *result) { stage_side(arena, result, capacity, stages); }

UNIT(single_256k, 4096, 1, 1)
UNIT(single_4m, 65536, 1, 1)
UNIT(batch16_256k, 4096, 16, 1)
UNIT(batch_256k, 4096, BATCH_MAX, 1)
UNIT(batch64_4m, 65536, 64, 1)
UNIT(batch_4m, 65536, BATCH_MAX, 1)
UNIT(fused3, 4096, BATCH_MAX, STAGES_MAX)

static void handover_left(void *arena, uint64_t ticks, outcome *result) { ingress_side(arena, ticks, result, 4096, 1, 1, PACE_NS); }

/* The stage's own latency histogram, from the ingress time of a message to the end of its batch. */
static void handover_right(void *arena, outcome *result) {
    unit_arena *a = arena;
    stage_side(arena, result, 4096, 1);
    const byteor_histogram *latency = &a->role[1].latency;
    double ticks_per_ns = 4294967296.0 / (double)a->clock.mult;
    for (uint32_t bucket = 0; bucket < BYTEOR_HISTOGRAM_BUCKETS; bucket++) {
        double middle = ((double)byteor_histogram_low(bucket) + (double)byteor_histogram_low(bucket + 1) - 1) / 2;
        uint64_t ticks = (uint64_t)(2 * middle * ticks_per_ns);
        if (ticks > HISTOGRAM_TICKS) ticks = HISTOGRAM_TICKS;
        result->round_trips.bins[ticks] += (uint32_t)latency->bucket[bucket];
        result->round_trips.count += latency->bucket[bucket];
    }
    result->end_ticks = 0;
}

const candidate unit_candidates[] = {
    {"unit.handover", prepare, handover_left, handover_right},
    {"unit.single.256k", prepare, single_256k_left, single_256k_right},
    {"unit.single.4m", prepare, single_4m_left, single_4m_right},
    {"unit.batch16.256k", prepare, batch16_256k_left, batch16_256k_right},
    {"unit.batch.256k", prepare, batch_256k_left, batch_256k_right},
    {"unit.batch64.4m", prepare, batch64_4m_left, batch64_4m_right},
    {"unit.batch.4m", prepare, batch_4m_left, batch_4m_right},
    {"unit.chain3.fused", prepare, fused3_left, fused3_right},
    {NULL, NULL, NULL, NULL},
};
