/* ring_kill.c: a recorded SingleRing whose process is killed at one point after the other, and what its successors make
 * of it: output and tapes.
 *
 *   ring_kill POINT RING|SHARDS
 *
 *   in -> number -> out, on one ring; or spread by key over two, a stage on each, joined by time
 *
 * A child process turns all units in a fixed order and kills itself at pass 0, 1, 2, ... of the kill point until it is
 * passed no more. A successor, in every third case after a second kill, goes on to the end. What comes out, and what the
 * tapes of ingress and egress hold, must be every message once, in order. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "graph_harness.h"
#include "unit_shards.h"

#define MESSAGES 61u
#define BATCH_MAX 8u
#define SHARDS_MAX 2u
#define TAPE_PAGES 8u

enum { IN, STAGES, OUT = STAGES + SHARDS_MAX, UNITS };

typedef struct message {
    uint64_t number, key, seen, check;
} message;

typedef struct tape {
    byteor_ring_producer producer;
    byteor_cell cell;
    _Alignas(4096) uint8_t memory[TAPE_PAGES * BYTEOR_TAPE_PAGE];
} tape;

typedef struct world {
    harness h;
    tape in, out;
    uint64_t output_count;
    message output[2 * MESSAGES];
} world;

uint32_t byteor_kill_at;
uint64_t byteor_kill_after;

static world *shared;
static unit units[UNITS];
static byteor_capture captures[2];
static byteor_ring tape_rings[2];
static uint32_t shards;
static uint8_t staging[2][BATCH_MAX * RING_SLOT_BYTES];
static uint32_t staged_ring[BATCH_MAX];
static uint64_t staged_position[BATCH_MAX];

static message *message_of(byteor_slot *slot) { return (message *)(void *)byteor_payload(slot); }
static uint64_t check_of(const message *m) { return mix(m->number ^ mix(m->key ^ mix(m->seen))); }
static uint64_t key_of(uint64_t number) { return mix(number) % 5; }

static int poll_source(byteor_source *self, byteor_batch *batch) {
    uint64_t next = self->common.position[0], count = byteor_least(byteor_least(1 + mix(next) % 5, batch->count), MESSAGES - next);
    for (uint32_t i = 0; i < count; i++, next++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        slot->length = sizeof(message);
        slot->type = slot->flags = 0;
        *message_of(slot) = (message){.number = next, .key = key_of(next)};
        message_of(slot)->check = check_of(message_of(slot));
    }
    self->common.position[0] = next;
    if (next == MESSAGES) self->common.status = BYTEOR_ADAPTER_ENDED;
    return (int)count;
}

/* In place: counts in its state, and writes that into each message. */
static int number(void *self, byteor_batch *batch) {
    uint64_t *seen = batch->state;
    (void)self;
    for (uint32_t i = 0; i < batch->count; i++) {
        message *m = message_of(byteor_slot_at(batch, i));
        CHECK(m->check == check_of(m) && m->seen == 0, "message %lu was numbered before, or is torn", m->number);
        m->seen = ++*seen;
        m->check = check_of(m);
    }
    return BYTEOR_STAGE_OK;
}

static const byteor_stage_vtable numbering = {.abi = BYTEOR_STAGE_ABI, .struct_bytes = sizeof(byteor_stage_vtable),
    .name = "number", .flags = BYTEOR_STAGE_MUTATES, .process = number};

static int write_sink(byteor_sink *self, const byteor_batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        if (!byteor_live(slot)) continue;
        CHECK(shared->output_count < 2 * MESSAGES, "too much came out");
        shared->output[shared->output_count++] = *message_of(slot);
    }
    self->common.position[0] = shared->output_count;
    return (int)batch->count;
}

static void finish_sink(byteor_sink *self) { self->common.status = BYTEOR_ADAPTER_ENDED; }

/* --- the run ---------------------------------------------------------------------------------------------------- */

static void record(unit *w, uint32_t which, tape *t, uint32_t kind) {
    tape_rings[which] = (byteor_ring){.slots = t->memory, .producer = &t->producer, .cells = &t->cell, .capacity = TAPE_PAGES,
                                      .slot_bytes = BYTEOR_TAPE_PAGE, .cell_count = 1};
    memset(&captures[which], 0, sizeof captures[which]);
    captures[which].count = 1;
    byteor_tape_view(&captures[which].tape[0], &tape_rings[which]);
    captures[which].tape[0].kind = kind;
    captures[which].tape[0].waits = 1;
    w->u.capture = &captures[which];
}

static unit *begin(uint32_t index, uint32_t kind, uint32_t first_ring, uint32_t rings) {
    unit *w = &units[index];
    unit_prepare(w, &shared->h, index, rings > 1 ? kind : BYTEOR_UNIT_RING, BATCH_MAX);
    w->u.rings = &w->view[first_ring];
    w->u.ring_count = rings;
    w->u.shard_key_offset = 8;
    w->u.shard_key_length = 8;
    return w;
}

static void make_stage(uint32_t shard) {
    unit *w = begin(STAGES + shard, BYTEOR_UNIT_RING, shard, 1);
    unit_member(w, BYTEOR_ROLE_STAGE);
    unit_stage(w, &numbering, NULL, 8);
    w->u.member[0].cell = 0;
    w->u.stage_end = 1;
    w->u.scan_live = w->u.save_headers = w->u.range_count = 1;
    w->u.range[0] = (byteor_range){.offset = 0, .length = sizeof(message)};
    w->u.slot_stride = 8 + sizeof(message);
    w->u.skip_failed = 0;
}

static void make_all(void) {
    unit *w = begin(IN, BYTEOR_UNIT_SCATTER, 0, shards);
    w->source.poll = poll_source;
    unit_member(w, BYTEOR_ROLE_INGRESS);
    w->u.first_stage = w->u.stage_end = 1;
    w->u.staging = staging[0];
    record(w, 0, &shared->in, BYTEOR_TAPE_IN);
    unit_resume_adapters(w);
    for (uint32_t shard = 0; shard < shards; shard++) make_stage(shard);
    w = begin(OUT, BYTEOR_UNIT_GATHER, 0, shards);
    w->sink.write = write_sink;
    w->sink.finish = finish_sink;
    unit_member(w, BYTEOR_ROLE_EGRESS);
    w->u.member[0].cell = 1;
    w->u.depends_count = 1;
    w->u.depends[0] = 0;
    w->u.staging = staging[1];
    w->u.staged_ring = staged_ring;
    w->u.staged_position = staged_position;
    record(w, 1, &shared->out, BYTEOR_TAPE_OUT);
    unit_resume_adapters(w);
    shared->output_count = w->sink.common.position[0]; /* as a file is cut */
}

static int is_unit(uint32_t index) { return index < STAGES + shards || index == OUT; }

static void be_worker(uint32_t point, uint64_t after) {
    byteor_kill_at = point;
    byteor_kill_after = after;
    make_all();
    for (uint32_t i = 0; i < UNITS; i++)
        if (is_unit(i)) byteor_recover(&units[i].u);
    for (uint32_t quiet = 0; quiet < 1000;) {
        uint32_t worked = 0, ended = 0;
        for (uint32_t i = 0; i < UNITS; i++) {
            if (!is_unit(i)) continue;
            int duty = byteor_unit_duty(&units[i].u, BYTEOR_COMMAND_RUN);
            CHECK(duty != BYTEOR_DUTY_FAILED, "unit %u failed: %s", i, units[i].u.failure_text);
            worked += duty == BYTEOR_DUTY_WORKED;
            ended += duty == BYTEOR_DUTY_ENDED;
        }
        if (ended == shards + 2) _exit(0);
        quiet = worked ? 0 : quiet + 1;
    }
    CHECK(0, "nothing moves and not all have ended");
}

/* 1: killed; 0: it came to the end. */
static int run_child(uint32_t point, uint64_t after) {
    int status = 0;
    pid_t child = fork();
    CHECK(child >= 0, "fork");
    if (child == 0) be_worker(point, after);
    CHECK(waitpid(child, &status, 0) == child, "waitpid");
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return 1;
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "killed at pass %lu of point %u: a successor failed, status %x", after, point, status);
    return 0;
}

static void start_anew(void) {
    memset(shared, 0, sizeof *shared);
    byteor_clock_anchor(&shared->h.clock, byteor_clock_calibrate(2000000));
    for (uint32_t ring = 0; ring < shards; ring++) harness_ring_make(&shared->h, ring, 16, 2);
}

/* --- the law ---------------------------------------------------------------------------------------------------- */

static message wanted(uint64_t index, int numbered) {
    static uint64_t seen[SHARDS_MAX];
    message m = {.number = index, .key = key_of(index)};
    if (index == 0) memset(seen, 0, sizeof seen);
    uint32_t shard = (uint32_t)(byteor_key_hash_of((const uint8_t *)&m, sizeof m, 8, 8) % shards);
    if (numbered) m.seen = ++seen[shard];
    m.check = check_of(&m);
    return m;
}

/* Every message once, in order, in whole heads. */
static void check_tape(const tape *t, const char *name, int numbered, uint32_t point, uint64_t after) {
    byteor_ring ring = {.slots = (uint8_t *)(uintptr_t)t->memory, .capacity = TAPE_PAGES, .slot_bytes = BYTEOR_TAPE_PAGE};
    byteor_tape view;
    byteor_tape_view(&view, &ring);
    uint64_t next = 0;
    for (uint64_t at = 0; at < t->producer.cursor;) {
        byteor_tape_head *head = byteor_tape_at(&view, at);
        CHECK(head->stamp == at + 1 && head->first == next, "killed at pass %lu of point %u: tape %s has at %lu messages from %lu, wanted %lu", after, point, name,
              at, head->first, next);
        uint8_t *slot = (uint8_t *)(head + 1);
        for (uint32_t i = 0; i < head->messages; i++, next++) {
            message m = wanted(next, numbered);
            CHECK(memcmp(message_of((byteor_slot *)(void *)slot), &m, sizeof m) == 0, "killed at pass %lu of point %u: tape %s, message %lu", after, point, name, next);
            slot += (BYTEOR_SLOT_HEADER_BYTES + sizeof(message) + 15u) & ~15u;
        }
        at += head->bytes;
    }
    CHECK(next == MESSAGES, "killed at pass %lu of point %u: tape %s has %lu messages", after, point, name, next);
}

static void check_all(uint32_t point, uint64_t after) {
    CHECK(shared->output_count == MESSAGES, "killed at pass %lu of point %u: %lu messages came out", after, point, shared->output_count);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        message m = wanted(i, 1);
        CHECK(memcmp(&shared->output[i], &m, sizeof m) == 0, "killed at pass %lu of point %u: message %lu of the output is %lu, numbered %lu", after, point, i,
              shared->output[i].number, shared->output[i].seen);
    }
    check_tape(&shared->in, "in", 0, point, after);
    check_tape(&shared->out, "out", 1, point, after);
}

int main(int argc, char **argv) {
    static const char *const ways[] = {"ring", "shards", NULL};
    uint64_t trials = 0;
    if (argc != 3) return 2;
    uint32_t point = (uint32_t)atoi(argv[1]);
    shards = 1 + word_of(argv[2], ways);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED, "mmap");
    start_anew();
    CHECK(run_child(0, 0) == 0, "a calm run");
    check_all(0, 0);
    for (;; trials++) { /* how often the point is passed decides which passes are tried */
        start_anew();
        if (run_child(point, trials) == 0) break;
        if (trials % 3 == 2) (void)run_child(point, 0);
        CHECK(run_child(0, 0) == 0, "killed without a kill point");
        check_all(point, trials);
    }
    CHECK(trials > 0, "point %u is never passed", point);
    printf("ok %lu kills\n", trials);
    return 0;
}
