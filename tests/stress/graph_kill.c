/* graph_kill.c: a graph whose process is killed at one point after the other, and what its successors make of it.
 *
 *   graph_kill POINT ALONE|FUSED DIRECTORY
 *
 *   in -> router -> number -> merge (ordered) -> mark (in place) -> out
 *                -> split  ->                      number's dead letters -> letters
 *                -> journal -> kept
 *
 * A child process turns all units in a fixed order and kills itself at pass 0, 1, 2, ... of the kill point until it is
 * passed no more. Each time successors take over, three ways in turn: all at once; the others first, as long as they have
 * something to do; and after a second kill at the same point. Every output must be exactly what plain code works out. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "graph_harness.h"

#define MESSAGES 41u
#define BATCH_MAX 8u
#define PAYLOAD 64u
#define OUTPUTS 3u
#define OUTPUT_MAX 512u
#define NO_KILL UINT32_MAX
#define SEGMENT_BYTES 2048u

enum { A, B, C, D, E, F, LETTERS, INDEX, RINGS };
enum { IN, ROUTER, NUMBER, SPLIT, MERGE, MARK, OUT, LETTERS_OUT, KEPT, UNITS };

typedef struct message {
    uint64_t number, count, part, check;
} message;

typedef struct world {
    harness h;
    uint32_t turning; /* unit in hand */
    uint64_t output_count[OUTPUTS];
    message output[OUTPUTS][OUTPUT_MAX];
} world;

uint32_t byteor_kill_at;
uint64_t byteor_kill_after;

static world *shared;
static unit units[UNITS];
static byteor_journal_writer writer;
static byteor_journal_reader reader;
static uint32_t fused;
static const char *journal;

static message *message_of(byteor_slot *slot) { return (message *)(void *)byteor_payload(slot); }
static uint64_t check_of(const message *r) { return mix(r->number ^ mix(r->count ^ mix(r->part))); }

/* --- what flows ------------------------------------------------------------------------------------------------- */

static int poll_source(byteor_source *self, byteor_batch *batch) {
    uint64_t next = self->common.position[0], count = byteor_least(byteor_least(1 + mix(next) % 5, batch->count), MESSAGES - next);
    for (uint32_t i = 0; i < count; i++, next++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        slot->length = PAYLOAD;
        slot->type = slot->flags = 0;
        memset(byteor_payload(slot), (int)(next & 255u), PAYLOAD);
        *message_of(slot) = (message){.number = next};
        message_of(slot)->check = check_of(message_of(slot));
    }
    self->common.position[0] = next;
    if (next == MESSAGES) self->common.status = BYTEOR_ADAPTER_ENDED;
    return (int)count;
}

static void count_into(byteor_slot *slot, uint64_t count) {
    CHECK(message_of(slot)->check == check_of(message_of(slot)), "message %lu is torn", message_of(slot)->number);
    message_of(slot)->count = count;
    message_of(slot)->check = check_of(message_of(slot));
}

static int is_bad(uint64_t number) { return number % 17 == 5; }
static int is_dropped(uint64_t number) { return number % 11 == 3; }

/* Counts in double-buffered state, drops some, fails on some. */
static int number(void *self, byteor_batch *batch) {
    uint64_t *seen = batch->state;
    (void)self;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        if (is_bad(message_of(slot)->number)) {
            batch->error_index = i;
            batch->error_text = "a bad number";
            return BYTEOR_STAGE_ERROR;
        }
        count_into(slot, ++*seen);
        if (is_dropped(message_of(slot)->number)) byteor_drop(slot);
    }
    return BYTEOR_STAGE_OK;
}

/* Makes one to three of one; counts in state that is logged. */
static int split(void *self, byteor_batch *batch) {
    uint64_t *seen = (uint64_t *)batch->state + 777;
    (void)self;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        CHECK(byteor_touch(batch, seen, sizeof *seen) == 0, "the log is full");
        count_into(slot, 1000 + ++*seen);
        message part = *message_of(slot);
        for (part.part = 1; part.part <= part.number % 3; part.part++) {
            part.check = check_of(&part);
            CHECK(byteor_emit(batch, i, &part, sizeof part) == 0, "emit %lu", part.part);
        }
    }
    return BYTEOR_STAGE_OK;
}

/* In place: changes what it declared, drops some. */
static int mark(void *self, byteor_batch *batch) {
    uint64_t *seen = batch->state;
    (void)self;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        count_into(slot, message_of(slot)->count + 1000000 * ++*seen);
        if (*seen % 13 == 4) byteor_drop(slot);
    }
    return BYTEOR_STAGE_OK;
}

static int write_sink(byteor_sink *self, const byteor_batch *batch) {
    uint32_t which = self == &units[OUT].sink ? 0 : self == &units[LETTERS_OUT].sink ? 1 : 2;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        if (!byteor_live(slot)) continue;
        CHECK(shared->output_count[which] < OUTPUT_MAX, "output %u", which);
        shared->output[which][shared->output_count[which]++] = *message_of(slot);
    }
    self->common.position[0] = shared->output_count[which];
    return (int)batch->count;
}

static void finish_sink(byteor_sink *self) { self->common.status = BYTEOR_ADAPTER_ENDED; }

static const byteor_stage_vtable numbering = {.abi = BYTEOR_STAGE_ABI, .struct_bytes = sizeof(byteor_stage_vtable),
    .name = "number", .flags = BYTEOR_STAGE_MUTATES | BYTEOR_STAGE_DROPS, .process = number};
static const byteor_stage_vtable splitting = {.abi = BYTEOR_STAGE_ABI, .struct_bytes = sizeof(byteor_stage_vtable),
    .name = "split", .flags = BYTEOR_STAGE_MUTATES, .touch_bytes_max = 8, .process = split};
static const byteor_stage_vtable marking = {.abi = BYTEOR_STAGE_ABI, .struct_bytes = sizeof(byteor_stage_vtable),
    .name = "mark", .flags = BYTEOR_STAGE_MUTATES | BYTEOR_STAGE_DROPS, .process = mark};

/* --- the graph -------------------------------------------------------------------------------------------------- */

static unit *begin(uint32_t index) {
    uint32_t at = fused && index >= ROUTER && index <= MERGE ? IN : index; /* fused: the first five are one unit */
    if (at == index) unit_prepare(&units[index], &shared->h, index, index == MARK ? BYTEOR_UNIT_RING : BYTEOR_UNIT_GRAPH, BATCH_MAX);
    return &units[at];
}

static void open_journal(unit *w) {
    const byteor_record *record = &w->u.unit->record[w->u.unit->selector & 1u];
    memset(&writer, 0, sizeof writer);
    writer.fd = -1;
    writer.directory_fd = open(journal, O_RDONLY | O_DIRECTORY);
    writer.segment_bytes = SEGMENT_BYTES;
    struct dirent **names = NULL;
    int count = record->commits ? scandir(journal, &names, NULL, alphasort) : 0;
    for (int i = 0; i < count; free(names[i++]))
        if (names[i]->d_name[0] != '.') writer.id[writer.segments++] = strtoull(names[i]->d_name, NULL, 10);
    free(names);
    *byteor_journal_base(&w->view[INDEX]) = 1;
}

static void make_first(void) {
    unit *w = begin(IN);
    w->source.poll = poll_source;
    unit_member(w, BYTEOR_ROLE_INGRESS);
    unit_tx(w, A);
    w = begin(ROUTER);
    unit_member(w, BYTEOR_ROLE_ROUTER);
    unit_rx(w, A, 0);
    unit_tx(w, B);
    unit_tx(w, C);
    open_journal(w);
    unit_tx(w, INDEX)->journal = &writer;
    w->u.graph->journals = 1;
}

static void make_stages(void) {
    unit *w = begin(NUMBER);
    unit_member(w, BYTEOR_ROLE_STAGE);
    unit_stage(w, &numbering, NULL, 8);
    unit_rx(w, B, 0);
    unit_tx(w, D);
    unit_dead_letter(w, LETTERS);
    w = begin(SPLIT);
    unit_member(w, BYTEOR_ROLE_STAGE)->outputs_max = 3;
    unit_stage(w, &splitting, NULL, STATE_BYTES_MAX);
    unit_rx(w, C, 0);
    unit_tx(w, E);
    w = begin(MERGE);
    unit_member(w, BYTEOR_ROLE_MERGE)->pick = BYTEOR_PICK_ORDERED;
    unit_rx(w, D, 0);
    unit_rx(w, E, 0);
    unit_tx(w, F);
}

static void make_in_place(void) {
    unit *w = begin(MARK);
    unit_member(w, BYTEOR_ROLE_STAGE);
    unit_stage(w, &marking, NULL, 8);
    w->u.rings = &w->view[F];
    w->u.ring_count = 1;
    w->u.member[0].cell = 0;
    w->u.stage_end = 1;
    w->u.scan_live = w->u.save_headers = w->u.range_count = 1;
    w->u.range[0] = (byteor_range){.offset = 0, .length = sizeof(message)};
    w->u.slot_stride = 8 + sizeof(message);
    w->u.skip_failed = 0;
}

static void make_sink(uint32_t index, uint32_t which, uint32_t ring, int32_t cell) {
    unit *w = begin(index);
    w->sink.write = write_sink;
    w->sink.finish = finish_sink;
    unit_member(w, BYTEOR_ROLE_EGRESS);
    byteor_rx_port *port = unit_rx(w, ring, cell);
    if (index == OUT) {
        port->depends_count = 1;
        port->depends[0] = 0;
    }
    if (index == KEPT) {
        memset(&reader, 0, sizeof reader);
        reader.directory_fd = open(journal, O_RDONLY | O_DIRECTORY);
        port->journal = &reader;
    }
    unit_resume_adapters(w);
    shared->output_count[which] = w->sink.common.position[0]; /* as a file is cut */
}

static void make_all(void) {
    make_first();
    make_stages();
    make_in_place();
    make_sink(OUT, 0, F, 1);
    make_sink(LETTERS_OUT, 1, LETTERS, 0);
    make_sink(KEPT, 2, INDEX, -1);
    unit_resume_adapters(&units[IN]);
}

static int is_unit(uint32_t index) { return !(fused && index >= ROUTER && index <= MERGE); }

/* --- running ---------------------------------------------------------------------------------------------------- */

/* Turn every unit but `absent` until nothing moves. 1: all have ended. */
static int turn_all(uint32_t absent) {
    for (uint32_t quiet = 0; quiet < 3;) {
        uint32_t worked = 0, ended = 0, here = 0;
        for (uint32_t i = 0; i < UNITS; i++) {
            if (!is_unit(i) || i == absent) continue;
            shared->turning = i;
            int duty = byteor_any_duty(&units[i].u, BYTEOR_COMMAND_RUN);
            CHECK(duty != BYTEOR_DUTY_FAILED, "unit %u failed: %s", i, units[i].u.failure_text);
            here++;
            worked += duty == BYTEOR_DUTY_WORKED;
            ended += duty == BYTEOR_DUTY_ENDED;
        }
        if (ended == here) return 1;
        quiet = worked ? 0 : quiet + 1;
    }
    return 0;
}

static void be_worker(uint32_t point, uint64_t after, uint32_t late) {
    byteor_kill_at = point;
    byteor_kill_after = after;
    make_all();
    for (uint32_t i = 0; i < UNITS; i++)
        if (is_unit(i) && i != late) {
            shared->turning = i;
            byteor_any_recover(&units[i].u);
        }
    if (late != NO_KILL) {
        (void)turn_all(late);
        byteor_any_recover(&units[late].u);
    }
    CHECK(turn_all(NO_KILL), "nothing moves and not all have ended");
    _exit(0);
}

/* 1: killed; 0: it came to the end. */
static int run_child(uint32_t point, uint64_t after, uint32_t late) {
    int status = 0;
    pid_t child = fork();
    CHECK(child >= 0, "fork");
    if (child == 0) be_worker(point, after, late);
    CHECK(waitpid(child, &status, 0) == child, "waitpid");
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return 1;
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a successor failed, status %x", status);
    return 0;
}

static void start_anew(void) {
    struct dirent **names = NULL;
    int fd = open(journal, O_RDONLY | O_DIRECTORY), count = scandir(journal, &names, NULL, alphasort);
    for (int i = 0; i < count; free(names[i++]))
        if (names[i]->d_name[0] != '.') (void)unlinkat(fd, names[i]->d_name, 0);
    free(names);
    close(fd);
    memset(shared, 0, sizeof *shared);
    byteor_clock_anchor(&shared->h.clock, 0);
    for (uint32_t ring = 0; ring < RINGS; ring++) harness_ring_make(&shared->h, ring, 16, ring == INDEX ? 0 : ring == F ? 2 : 1);
}

/* --- the law ---------------------------------------------------------------------------------------------------- */

static uint64_t expected(uint32_t which, message *out) {
    uint64_t n = 0, numbered = 0, splits = 0, marked = 0;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        if (which == 2 || (which == 1 && is_bad(i))) out[n++] = (message){.number = i};
        if (which) continue;
        if (!is_bad(i)) numbered++;
        if (!is_bad(i) && !is_dropped(i) && ++marked % 13 != 4) out[n++] = (message){.number = i, .count = numbered + 1000000 * marked};
        splits++;
        for (uint64_t part = 0; part <= i % 3; part++)
            if (++marked % 13 != 4) out[n++] = (message){.number = i, .count = 1000 + splits + 1000000 * marked, .part = part};
    }
    for (uint64_t i = 0; i < n; i++) out[i].check = check_of(&out[i]);
    return n;
}

static void check_outputs(uint32_t point, uint64_t after) {
    static message wanted[OUTPUT_MAX];
    for (uint32_t which = 0; which < OUTPUTS; which++) {
        uint64_t count = expected(which, wanted), got = shared->output_count[which];
        for (uint64_t i = 0; i < count && i < got; i++)
            CHECK(memcmp(&shared->output[which][i], &wanted[i], sizeof wanted[i]) == 0,
                  "killed at pass %lu of point %u: output %u has at %lu message %lu.%lu with %lu, wanted %lu.%lu with %lu", after, point, which, i,
                  shared->output[which][i].number, shared->output[which][i].part, shared->output[which][i].count, wanted[i].number,
                  wanted[i].part, wanted[i].count);
        CHECK(got == count, "killed at pass %lu of point %u: output %u has %lu messages, wanted %lu", after, point, which, got, count);
    }
    const byteor_role *numbers = &shared->h.unit[fused ? IN : NUMBER].role[fused ? 2 : 0];
    uint64_t bad = 0, dropped = 0;
    for (uint64_t i = 0; i < MESSAGES; i++) bad += (uint64_t)is_bad(i), dropped += (uint64_t)(!is_bad(i) && is_dropped(i));
    CHECK(numbers->received == MESSAGES && numbers->skipped == bad && numbers->dropped == dropped, "killed at pass %lu of point %u: counts %lu, %lu, %lu",
          after, point, numbers->received, numbers->skipped, numbers->dropped);
}

int main(int argc, char **argv) {
    uint64_t trials = 0, passes = 0;
    static const char *const ways[] = {"alone", "fused", NULL};
    if (argc != 4) return 2;
    uint32_t point = (uint32_t)atoi(argv[1]);
    fused = word_of(argv[2], ways);
    journal = argv[3];
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED, "mmap");
    start_anew();
    CHECK(run_child(0, 0, NO_KILL) == 0, "a calm run");
    check_outputs(0, 0);
    for (;; passes++) { /* how often the point is passed decides which passes are tried */
        start_anew();
        if (run_child(point, passes, NO_KILL) == 0) break;
        uint32_t victim = shared->turning, way = (uint32_t)(trials % 3);
        if (way == 2) victim = run_child(point, 0, NO_KILL) ? shared->turning : NO_KILL;
        if (way < 2 || victim != NO_KILL) CHECK(run_child(0, 0, way == 1 ? victim : NO_KILL) == 0, "killed without a kill point");
        check_outputs(point, passes);
        trials++;
    }
    CHECK(trials > 0, "point %u is never passed", point);
    printf("ok %lu kills\n", trials);
    return 0;
}
