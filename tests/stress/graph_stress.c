/* graph_stress.c: whole units of a LaneGraph, one thread each, over every kind of edge.
 *
 *   graph_stress MESSAGES START ordered|round_robin|priority block|drop backoff|park membarrier|fence CAPACITY
 *
 *   in-0, in-1 -> (a ring for each) join -> fan-out -> keep (drops some) -> merge -> out
 *                                                   -> copy (may lose)   ->
 *                                                   -> glance (lossy)
 *
 * Payloads are filled from producer and number and carry a CRC. Every consumer checks every message: whole, in its
 * producer's order, with `ordered` in the order of time, and at the end exactly accounted for. */
#include "graph_harness.h"

#define BATCH_MAX 16u
#define PRODUCERS 2u
#define PAYLOAD_WORDS 12u

enum { RING_0, RING_1, FAN, KEPT, COPIED, MERGED };
enum { IN_0, IN_1, JOIN, KEEP, COPY, MERGE, OUT, GLANCE, UNITS };

typedef struct seen {
    uint64_t next[PRODUCERS], count, time_ns;
} seen;

static harness h;
static unit units[UNITS];
static pthread_t threads[UNITS];
static uint32_t *bells[UNITS][UNITS];
static uint64_t each, start;
static uint32_t pick, drops, wait_kind;
static int membarrier;
static seen kept, copied, glanced, copying;

static uint64_t *words_of(byteor_slot *slot) { return (uint64_t *)(void *)byteor_payload(slot); }
static int is_dropped(uint64_t number) { return number % 7 == 3; }

static int poll_source(byteor_source *self, byteor_batch *batch) {
    uint64_t producer = self == &units[IN_1].source, next = self->common.position[0];
    uint64_t count = byteor_least(byteor_least(1 + mix(next + producer) % 8, batch->count), each - next);
    for (uint32_t i = 0; i < count; i++, next++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        uint64_t *word = words_of(slot);
        slot->length = PAYLOAD_WORDS * 8;
        slot->type = (uint8_t)next;
        slot->flags = 0;
        word[0] = producer;
        word[1] = next;
        word[2] = 0; /* the branch */
        for (uint32_t w = 4; w < PAYLOAD_WORDS; w++) word[w] = mix(next + w + (producer << 40));
        word[3] = byteor_crc32c(0, (uint8_t *)(word + 4), (PAYLOAD_WORDS - 4) * 8);
    }
    self->common.position[0] = next;
    if (next == each) self->common.status = BYTEOR_ADAPTER_ENDED;
    return (int)count;
}

/* One message at a consumer that may have missed some before it. */
static void look_at(seen *s, byteor_slot *slot, const char *who) {
    const uint64_t *word = words_of(slot);
    CHECK(word[0] < PRODUCERS && word[1] < each && slot->type == (uint8_t)word[1], "%s has no message of ours", who);
    CHECK(word[4] == mix(word[1] + 4 + (word[0] << 40)), "%s has another message than %lu", who, word[1]);
    CHECK(word[3] == byteor_crc32c(0, (const uint8_t *)(word + 4), (PAYLOAD_WORDS - 4) * 8), "message %lu is torn at %s", word[1], who);
    CHECK(word[1] >= s->next[word[0]], "%s has %lu of %lu after %lu", who, word[1], word[0], s->next[word[0]]);
    CHECK(pick != BYTEOR_PICK_ORDERED || slot->time_ns >= s->time_ns, "%s goes back in time", who);
    s->next[word[0]] = word[1] + 1;
    s->time_ns = slot->time_ns;
    s->count++;
}

/* The same where nothing may be missing but what `keep` drops. */
static void look_at_next(seen *s, byteor_slot *slot, int sieved, const char *who) {
    uint64_t producer = words_of(slot)[0] % PRODUCERS, wanted = s->next[producer];
    wanted += (uint64_t)(sieved && is_dropped(wanted));
    CHECK(words_of(slot)[1] == wanted, "%s wants %lu of %lu, not %lu", who, wanted, producer, words_of(slot)[1]);
    look_at(s, slot, who);
}

static int keep(void *self, byteor_batch *batch) {
    (void)self;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        words_of(slot)[2] = 1;
        if (is_dropped(words_of(slot)[1])) byteor_drop(slot);
    }
    return BYTEOR_STAGE_OK;
}

static int copy(void *self, byteor_batch *batch) {
    (void)self;
    for (uint32_t i = 0; i < batch->count; i++) look_at_next(&copying, byteor_slot_at(batch, i), 0, "copy");
    return BYTEOR_STAGE_OK;
}

static int write_out(byteor_sink *self, const byteor_batch *batch) {
    static uint64_t time_ns;
    (void)self;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        CHECK(pick != BYTEOR_PICK_ORDERED || slot->time_ns >= time_ns, "the merge goes back in time");
        time_ns = slot->time_ns;
        if (words_of(slot)[2]) look_at_next(&kept, slot, 1, "out, of keep");
        else if (drops) look_at(&copied, slot, "out, of copy");
        else look_at_next(&copied, slot, 0, "out, of copy");
    }
    return (int)batch->count;
}

static int write_glance(byteor_sink *self, const byteor_batch *batch) {
    (void)self;
    for (uint32_t i = 0; i < batch->count; i++) look_at(&glanced, byteor_slot_at(batch, i), "glance");
    if (glanced.count % 64 < batch->count) nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL); /* so that it is lapped */
    return (int)batch->count;
}

static void finish_sink(byteor_sink *self) { self->common.status = BYTEOR_ADAPTER_ENDED; }

static const byteor_stage_vtable keeping = {.abi = BYTEOR_STAGE_ABI, .struct_bytes = sizeof(byteor_stage_vtable),
    .name = "keep", .flags = BYTEOR_STAGE_MUTATES | BYTEOR_STAGE_DROPS, .process = keep};
static const byteor_stage_vtable copying_on = {.abi = BYTEOR_STAGE_ABI, .struct_bytes = sizeof(byteor_stage_vtable),
    .name = "copy", .process = copy};

/* --- the graph -------------------------------------------------------------------------------------------------- */

static unit *add(uint32_t index, uint32_t kind) {
    unit *w = &units[index];
    unit_prepare(w, &h, index, BYTEOR_UNIT_GRAPH, BATCH_MAX);
    w->u.skip_failed = 0;
    w->u.membarrier = w->u.wait.membarrier = (uint32_t)membarrier;
    w->u.wait.kind = wait_kind;
    w->u.doorbells = bells[index];
    w->u.graph->wants_progress = pick == BYTEOR_PICK_ORDERED;
    unit_member(w, kind);
    return w;
}

static void ring_at(uint32_t from, uint32_t to) { units[from].u.doorbells[units[from].u.doorbell_count++] = &h.unit[to].unit.parked; }

static void connect(uint32_t from, uint32_t to) {
    ring_at(from, to);
    ring_at(to, from);
}

static void make_sources(void) {
    for (uint32_t i = IN_0; i <= IN_1; i++) {
        add(i, BYTEOR_ROLE_INGRESS)->source.poll = poll_source;
        unit_tx(&units[i], RING_0 + i);
    }
    unit *w = add(JOIN, BYTEOR_ROLE_MERGE);
    w->u.graph->member[0].pick = pick;
    unit_rx(w, RING_0, 0);
    unit_rx(w, RING_1, 0);
    unit_tx(w, FAN)->claim_max = (uint32_t)w->view[FAN].capacity / 4;
}

static void make_branches(void) {
    unit *w = add(KEEP, BYTEOR_ROLE_STAGE);
    unit_stage(w, &keeping, NULL, 0);
    unit_rx(w, FAN, 0);
    unit_tx(w, KEPT);
    w = add(COPY, BYTEOR_ROLE_STAGE);
    unit_stage(w, &copying_on, NULL, 0);
    unit_rx(w, FAN, 1);
    unit_tx(w, COPIED)->drops = drops;
    w = add(MERGE, BYTEOR_ROLE_MERGE);
    w->u.graph->member[0].pick = pick;
    unit_rx(w, KEPT, 0);
    unit_rx(w, COPIED, 0);
    unit_tx(w, MERGED);
}

static void make_sinks(void) {
    unit *w = add(OUT, BYTEOR_ROLE_EGRESS);
    w->sink = (byteor_sink){.write = write_out, .finish = finish_sink};
    unit_rx(w, MERGED, 0);
    w = add(GLANCE, BYTEOR_ROLE_EGRESS);
    w->sink = (byteor_sink){.write = write_glance, .finish = finish_sink};
    unit_rx(w, FAN, -1);
}

/* Every position at `start`, as after so many messages. */
static void begin_at_start(unit *w) {
    byteor_graph *g = w->u.graph;
    for (uint32_t r = 0; r < g->rx_count; r++) g->shared[0][g->rx[r].word] = start;
    for (uint32_t t = 0; t < g->tx_count; t++) g->shared[0][g->tx[t].word] = start;
    w->source.common.wait_fd = w->sink.common.wait_fd = -1;
}

static void make_graph(uint64_t capacity) {
    static const uint32_t cells[] = {[RING_0] = 1, [RING_1] = 1, [FAN] = 2, [KEPT] = 1, [COPIED] = 1, [MERGED] = 1};
    for (uint32_t ring = RING_0; ring <= MERGED; ring++) {
        harness_ring_make(&h, ring, ring == COPIED && drops ? 8 : capacity, cells[ring]);
        harness_ring_start(&h, ring, start);
    }
    make_sources();
    make_branches();
    make_sinks();
    connect(IN_0, JOIN);
    connect(IN_1, JOIN);
    connect(JOIN, KEEP);
    connect(JOIN, COPY);
    connect(JOIN, GLANCE);
    connect(KEEP, MERGE);
    connect(COPY, MERGE);
    connect(MERGE, OUT);
    for (uint32_t i = 0; i < UNITS; i++) begin_at_start(&units[i]);
}

/* --- running ---------------------------------------------------------------------------------------------------- */

static int turn(byteor_unit_runtime *u) {
    int duty = byteor_any_duty(u, BYTEOR_COMMAND_RUN);
    CHECK(duty != BYTEOR_DUTY_FAILED, "a unit failed: %s", u->failure_text);
    return duty;
}

static void *run_unit(void *argument) {
    byteor_unit_runtime *u = &((unit *)argument)->u;
    uint64_t idle_since = 0;
    if (membarrier) byteor_membarrier_register();
    byteor_wait_reset(&u->wait);
    byteor_any_recover(u);
    for (int duty = BYTEOR_DUTY_IDLE; duty != BYTEOR_DUTY_ENDED;) {
        duty = turn(u);
        if (duty == BYTEOR_DUTY_WORKED) byteor_wait_reset(&u->wait);
        if (duty == BYTEOR_DUTY_WORKED || duty == BYTEOR_DUTY_ENDED || !idle_turn(&u->wait, &idle_since, "a unit")) continue;
        byteor_park_announce(&u->wait);
        duty = turn(u);
        if (duty == BYTEOR_DUTY_IDLE || duty == BYTEOR_DUTY_NO_ROOM) park_for_long(&u->wait, "a unit");
        else byteor_unpark(&u->wait);
    }
    return NULL;
}

static uint64_t word(uint32_t index, uint32_t of_port) { return units[index].u.graph->word[of_port]; }

static void check_counts(void) {
    uint64_t all = each * PRODUCERS, dropped = 0;
    for (uint64_t n = 0; n < each; n++) dropped += PRODUCERS * (uint64_t)is_dropped(n);
    CHECK(kept.count == all - dropped, "out has %lu of keep", kept.count);
    uint64_t lost = word(COPY, units[COPY].u.graph->tx[0].word + BYTEOR_TX_FULL);
    CHECK(copied.count + lost == all && (drops || lost == 0), "out has %lu of copy, which lost %lu", copied.count, lost);
    uint64_t missed = word(GLANCE, units[GLANCE].u.graph->rx[0].word + BYTEOR_RX_MISSED);
    CHECK(glanced.count + missed == all, "glance has %lu and missed %lu of %lu", glanced.count, missed, all);
    CHECK(h.unit[OUT].role[0].received == kept.count + copied.count, "out counts %lu", h.unit[OUT].role[0].received);
    CHECK(h.unit[KEEP].role[0].dropped == dropped, "keep counts %lu dropped", h.unit[KEEP].role[0].dropped);
    CHECK(h.ring[FAN].producer.cursor == start + all + 1, "the fan-out ends at %lu", h.ring[FAN].producer.cursor);
    printf("ok %lu messages, %lu lost, %lu missed\n", all, lost, missed);
}

int main(int argc, char **argv) {
    static const char *const waits[] = {"spin", "backoff", "park", NULL}, *const fences[] = {"fence", "membarrier", NULL},
                             *const picks[] = {"round_robin", "priority", "ordered", NULL}, *const fulls[] = {"block", "drop", NULL};
    if (argc != 8) return 2;
    each = strtoull(argv[1], NULL, 0) / PRODUCERS;
    start = strtoull(argv[2], NULL, 0);
    pick = word_of(argv[3], picks);
    drops = word_of(argv[4], fulls);
    wait_kind = word_of(argv[5], waits);
    membarrier = (int)word_of(argv[6], fences);
    h.run.first_message_ns = 1;
    byteor_clock_anchor(&h.clock, byteor_clock_calibrate(2000000));
    make_graph(strtoull(argv[7], NULL, 0));
    for (uint32_t i = UNITS; i-- > 0;) threads[i] = run_thread(run_unit, &units[i]);
    for (uint32_t i = 0; i < UNITS; i++) pthread_join(threads[i], NULL);
    check_counts();
    for (uint32_t i = 0; i < UNITS; i++) unit_free(&units[i]);
    return 0;
}
