/* unit.h: a unit as its worker runs it: the roles that are called in turn over one batch and commit as one.
 *
 * Owns the private runtime structures, and the commit and undo of a batch (data flows: unit_duty.h). The order of stores
 * is the crash contract: outputs into unpublished slots and inactive state, the inactive record, the selector (commit
 * point), then stamps, cursors and cells. A kill between any two leaves either the whole batch or nothing of it. */
#ifndef BYTEOR_UNIT_H
#define BYTEOR_UNIT_H

#include <string.h>

#include "calls.h"
#include "clock.h"
#include "histogram.h"
#include "killpoint.h"
#include "ring.h"
#include "stage_handle.h"
#include "wait.h"

static inline uint64_t byteor_least(uint64_t a, uint64_t b) { return a < b ? a : b; }

enum byteor_duty {
    BYTEOR_DUTY_IDLE = 0,     /* nothing to work on */
    BYTEOR_DUTY_WORKED = 1,
    BYTEOR_DUTY_NO_ROOM = 2,  /* waits for slower stages */
    BYTEOR_DUTY_INPUT = 3,    /* waits for the outside to send */
    BYTEOR_DUTY_OUTPUT = 4,   /* waits for the outside to take */
    BYTEOR_DUTY_ENDED = 5,
    BYTEOR_DUTY_FAILED = 6
};

/* An egress that acts on the outside writes only while the run has a lease. */
enum byteor_gate { BYTEOR_GATE_NONE = 0, BYTEOR_GATE_HOLD = 1, BYTEOR_GATE_STOP = 2 };

enum byteor_unit_kind { BYTEOR_UNIT_RING = 1, BYTEOR_UNIT_SCATTER = 2, BYTEOR_UNIT_GATHER = 3, BYTEOR_UNIT_GRAPH = 4 };

typedef struct byteor_range {
    uint32_t offset;
    uint32_t length; /* 0: to the end of the payload */
} byteor_range;

typedef struct byteor_member {
    byteor_role *role;
    uint32_t kind;
    uint32_t index; /* of the role */
    int32_t cell;
    const byteor_stage_vtable *vtable;
    void *self;
    uint8_t *state[2]; /* one buffer: both are it */
    uint64_t state_bytes;
    byteor_source *source;
    byteor_sink *sink;
    uint32_t builtin; /* a stage of ours: it keeps to what it declares */
    byteor_calls calls; /* in a replay: those of a stage that is not ours */
} byteor_member;

#define BYTEOR_MEMBER_WORDS (sizeof(byteor_member_count) / sizeof(uint64_t))
#define BYTEOR_TURN_BATCHES 16u /* most small batches of one turn */
#define BYTEOR_STREAM_BATCHES 32u /* the same for an ingress by itself, which keeps no ages */
#define BYTEOR_SMALL_BATCH 16u  /* up to here a batch is small */

/* What a turn's small batches leave for its end (unit_account.h): the ages of the messages that a role was done with. */
typedef struct byteor_pending {
    uint64_t after_ns;   /* clock at the end of the turn's first batch; its messages are charged that, others the turn's end */
    uint64_t service_ns; /* time the role took for that batch */
    uint32_t batches;
    uint32_t timed; /* messages of the first batch */
    uint32_t count;
    uint32_t mark; /* count before the batch in hand */
    uint64_t time_ns[BYTEOR_TURN_BATCHES * BYTEOR_SMALL_BATCH];
} byteor_pending;

typedef struct byteor_unit_runtime {
    byteor_unit *unit;
    byteor_run_block *run;
    uint8_t *control;
    const byteor_clock *clock;
    byteor_ring *rings;
    uint32_t ring_count;
    uint32_t kind;
    byteor_member member[BYTEOR_MEMBERS_MAX];
    uint32_t member_count;
    uint32_t first_stage; /* members [first_stage, stage_end) are stages */
    uint32_t stage_end;
    byteor_source *source; /* of an ingress in the unit, else NULL */
    byteor_sink *sink;
    uint32_t depends[BYTEOR_CELLS_MAX];
    uint32_t depends_count;
    uint32_t max_batch; /* already bounded by the undo area */
    uint32_t rerunnable; /* every stage may be called again over an undone batch */
    uint32_t skip_failed;
    uint32_t directed; /* in a replay: some stage is called as it was then */
    uint32_t gated; /* enum byteor_gate: what the egress does while the run has no lease */
    uint32_t scan_live; /* some stage may drop: count what comes in */
    uint32_t all_live; /* nothing on the ring can drop or resize a message: what came in goes out */
    /* undo */
    uint32_t save_headers;
    uint32_t range_count;
    byteor_range range[BYTEOR_MEMBERS_MAX * 4];
    uint32_t slot_stride;
    uint8_t *undo_area;
    uint64_t undo_log_bytes;
    /* working values, equal to the record in force after each commit */
    byteor_record work;
    uint64_t available; /* cached */
    uint64_t gate;      /* cached */
    uint64_t shard_key_offset, shard_key_length;
    uint8_t *staging; /* scatter, gather: slots outside any ring */
    uint32_t staged, staged_done;
    uint32_t *staged_ring;      /* gather: where each staged message came from */
    uint64_t *staged_position;  /* gather: position of that ring once it is written */
    uint64_t gather_position[BYTEOR_POSITIONS_MAX]; /* of all that is staged */
    uint32_t **doorbells; /* of the units that wait for what this one stores */
    uint32_t doorbell_count;
    uint32_t membarrier;
    /* outcome */
    uint32_t outcome; /* last enum byteor_duty */
    uint32_t failed_member;
    uint32_t failure; /* enum byteor_failure */
    uint32_t failed_unknown; /* which message of the batch is not known: of how many, else 0 */
    uint64_t failed_sequence;
    const char *failure_text;
    uint32_t done;
    uint32_t shown_state;
    uint64_t turn_began_ns, turn_ended_ns; /* of the last turn that did something */
    uint64_t clock_ns;                     /* last reading of the clock */
    uint32_t took;                         /* messages of the source's last batch */
    uint32_t looks;                        /* of one idle turn: more than 1 where nobody else waits for the thread */
    uint64_t touched;                      /* slots below it are on their way to this CPU (byteor_touch_ahead) */
    uint32_t linger, streak, few_turns, lingered; /* unit_linger.h */
    byteor_batch in;                       /* what the source is asked for */
    uint64_t source_rejects[2], sink_rejects[2]; /* how far each record has them */
    uint64_t source_shown, sink_shown;           /* rejections shown, plus 1 */
    byteor_wait wait;
    byteor_pending pending[BYTEOR_MEMBERS_MAX];
    struct byteor_graph *graph; /* of a unit of a LaneGraph: graph.h */
    const uint64_t *word;       /* its private words, and both arrays in the control region; no words: none of one */
    uint64_t *words[2];
    uint32_t word_count;
    byteor_capture *capture;    /* NULL: the run is not recorded */
} byteor_unit_runtime;

static inline byteor_slot *byteor_staged(const byteor_unit_runtime *u, uint32_t index) {
    return (byteor_slot *)(void *)(u->staging + (size_t)index * u->rings[0].slot_bytes);
}

/* --- undo ------------------------------------------------------------------------------------------------------- */

/* Log the old bytes of state that is about to change; the `touch` of byteor_batch. */
static inline int byteor_undo_touch(void *context, void *address, uint32_t bytes) {
    byteor_unit_runtime *u = (byteor_unit_runtime *)context;
    byteor_undo *undo = &u->unit->undo;
    uint64_t used = undo->log_used, padded = ((uint64_t)bytes + 7u) & ~(uint64_t)7u;
    if (used + sizeof(byteor_undo_log_entry) + padded + 8u > u->undo_log_bytes) return -1;
    uint8_t *at = u->undo_area + u->unit->undo_slot_bytes + used;
    byteor_undo_log_entry entry = {.offset = (uint64_t)((uint8_t *)address - u->control), .bytes = bytes};
    memcpy(at, &entry, sizeof entry);
    memcpy(at + sizeof entry, address, bytes);
    uint64_t length = sizeof entry + padded;
    memcpy(at + length, &length, sizeof length); /* walked backwards */
    byteor_fence_signal();
    byteor_store_relaxed64(&undo->log_used, used + length + sizeof length);
    byteor_fence_signal(); /* whole in the log before the caller changes it */
    return 0;
}

static inline uint32_t byteor_range_bytes(const byteor_range *range, uint32_t length) {
    if (range->offset >= length) return 0;
    uint32_t rest = length - range->offset;
    return range->length == 0 || range->length > rest ? rest : range->length;
}

/* Save what the stages of the unit declared to change of slots [first, first + count). */
static inline void byteor_undo_save(byteor_unit_runtime *u, uint64_t first, uint32_t count) {
    byteor_undo *undo = &u->unit->undo;
    const byteor_ring *ring = &u->rings[0];
    byteor_store_relaxed64(&undo->valid_for, 0);
    byteor_fence_signal();
    undo->first_sequence = first;
    undo->log_used = 0;
    undo->slot_count = u->save_headers ? count : 0;
    undo->slot_stride = u->slot_stride;
    if (u->save_headers) {
        uint8_t *at = u->undo_area;
        for (uint32_t i = 0; i < count; i++, at += u->slot_stride) {
            byteor_slot *slot = byteor_ring_slot(ring, first + i);
            memcpy(at, &slot->length, 4); /* length, type, flags */
            uint8_t *to = at + 8;
            for (uint32_t r = 0; r < u->range_count; r++) {
                uint32_t bytes = byteor_range_bytes(&u->range[r], slot->length);
                memcpy(to, byteor_payload(slot) + u->range[r].offset, bytes);
                to += bytes;
            }
        }
    }
    byteor_fence_signal();
    byteor_store_relaxed64(&undo->valid_for, first + 1);
    byteor_fence_signal();
    BYTEOR_KILL_POINT(1);
}

static inline void byteor_undo_log_apply(byteor_unit_runtime *u) {
    uint8_t *log = u->undo_area + u->unit->undo_slot_bytes;
    uint64_t used = u->unit->undo.log_used;
    while (used >= sizeof(byteor_undo_log_entry) + 8u && used <= u->undo_log_bytes) {
        uint64_t length;
        byteor_undo_log_entry entry;
        memcpy(&length, log + used - 8u, sizeof length);
        if (length > used - 8u || length < sizeof entry) break;
        used -= length + 8u;
        memcpy(&entry, log + used, sizeof entry);
        if (entry.bytes <= length - sizeof entry) memcpy(u->control + entry.offset, log + used + sizeof entry, entry.bytes);
    }
}

/* Put back what an uncommitted batch changed. */
static inline void byteor_undo_apply(byteor_unit_runtime *u) {
    byteor_undo *undo = &u->unit->undo;
    const byteor_ring *ring = &u->rings[0];
    const uint8_t *at = u->undo_area;
    for (uint32_t i = 0; i < undo->slot_count; i++, at += undo->slot_stride) {
        byteor_slot *slot = byteor_ring_slot(ring, undo->first_sequence + i);
        memcpy(&slot->length, at, 4);
        const uint8_t *from = at + 8;
        for (uint32_t r = 0; r < u->range_count; r++) {
            uint32_t bytes = byteor_range_bytes(&u->range[r], slot->length);
            memcpy(byteor_payload(slot) + u->range[r].offset, from, bytes);
            from += bytes;
        }
    }
    byteor_undo_log_apply(u);
    byteor_fence_signal();
    byteor_store_relaxed64(&undo->valid_for, 0);
}

/* --- commit ----------------------------------------------------------------------------------------------------- */

/* Word by word: these words were stored a moment ago, and a wider load would have to wait until each has left the store
 * buffer, behind the stores to the ring. */
static inline void byteor_record_words(uint64_t *to, const uint64_t *from, uint32_t words) {
    for (uint32_t w = 0; w < words; w++)
        if (to[w] != from[w]) byteor_store_relaxed64(&to[w], from[w]); /* a store costs more than to look */
}

/* Of a LaneGraph: the words go with the record, into the inactive array. */
static inline void byteor_words_store(byteor_unit_runtime *u) {
    if (u->word_count) byteor_record_words(u->words[1u - (u->unit->selector & 1u)], u->word, u->word_count);
}

static inline void byteor_adapter_record_store(byteor_adapter_record *record, const byteor_adapter_common *common, uint64_t *rejects) {
    byteor_record_words(record->position, common->position, BYTEOR_POSITION_WORDS);
    byteor_store_relaxed64(&record->bytes_total, common->bytes_total);
    if (*rejects == common->rejects) return;
    *rejects = common->rejects;
    byteor_record_words(record->rejected, common->rejected, BYTEOR_REJECT_MAX);
}

/* Fill the inactive record from `work`, as far as this unit changes it, and make it the one in force. */
static inline void byteor_commit(byteor_unit_runtime *u) {
    uint32_t inactive = 1u - (u->unit->selector & 1u);
    byteor_record *record = &u->unit->record[inactive];
    if (u->capture) byteor_capture_seal(u->capture);
    u->work.commits++;
    byteor_record_words(&record->position, &u->work.position, offsetof(byteor_record, member) / sizeof(uint64_t));
    byteor_record_words(&record->member[0].received, &u->work.member[0].received, u->member_count * BYTEOR_MEMBER_WORDS);
    if (u->source) byteor_adapter_record_store(&record->source, &u->source->common, &u->source_rejects[inactive]);
    if (u->sink) byteor_adapter_record_store(&record->sink, &u->sink->common, &u->sink_rejects[inactive]);
    if (u->kind != BYTEOR_UNIT_RING) byteor_record_words(record->ring_position, u->work.ring_position, u->ring_count);
    BYTEOR_KILL_POINT(2);
    byteor_store_release32(&u->unit->selector, inactive); /* the commit point; read back by this process's successor only */
    byteor_fence_signal();
    BYTEOR_KILL_POINT(3);
    if (u->capture) byteor_capture_show(u->capture);
}

/* Copy exact counters from the record to where observers read them. */
static inline void byteor_show_counters(byteor_unit_runtime *u) {
    for (uint32_t m = 0; m < u->member_count; m++) {
        byteor_role *role = u->member[m].role;
        const byteor_member_count *count = &u->work.member[m];
        byteor_store_relaxed64(&role->received, count->received);
        byteor_store_relaxed64(&role->dropped, count->dropped);
        byteor_store_relaxed64(&role->skipped, count->skipped);
        byteor_store_relaxed64(&role->published, count->received - count->dropped - count->skipped);
    }
}

/* Bytes and rejections of an adapter, and the first sample of each kind. */
static inline void byteor_show_adapter(byteor_role *role, const byteor_adapter_common *common) {
    byteor_store_relaxed64(&role->bytes_total, common->bytes_total);
    for (uint32_t reason = 0; reason < BYTEOR_REJECT_MAX; reason++) {
        if (role->sample_length[reason] == 0 && common->sample_length[reason]) {
            memcpy(role->sample[reason], common->sample[reason], BYTEOR_SAMPLE_BYTES);
            byteor_store_release32(&role->sample_length[reason], common->sample_length[reason]);
        }
        byteor_store_relaxed64(&role->rejected[reason], common->rejected[reason]);
    }
}

/* The same, but rejections only when there are new ones; `shown` is how many have been shown, plus 1. */
static inline void byteor_show_adapter_news(byteor_role *role, const byteor_adapter_common *common, uint64_t *shown) {
    byteor_store_relaxed64(&role->bytes_total, common->bytes_total);
    if (*shown == common->rejects + 1) return;
    *shown = common->rejects + 1;
    byteor_show_adapter(role, common);
}

static inline void byteor_wake(byteor_unit_runtime *u) {
    for (uint32_t i = 0; i < u->doorbell_count; i++) byteor_doorbell_ring(u->doorbells[i], (int)u->membarrier);
}

/* Steps 4 and 5 after a commit: what it says, made visible. Idempotent: also the last part of recovery. */
static inline void byteor_publish_record(byteor_unit_runtime *u) {
    const byteor_record *work = &u->work;
    if (u->kind == BYTEOR_UNIT_RING) {
        byteor_ring *ring = &u->rings[0];
        if (u->source) {
            if (work->ended) byteor_store_release64(&ring->producer->end_sequence, work->position - 1);
            byteor_ring_publish(ring, byteor_load_relaxed64(&ring->producer->cursor), work->position);
            byteor_store_release64(&ring->producer->progress_ns, work->time_last);
            BYTEOR_KILL_POINT(4);
        }
        for (uint32_t m = u->first_stage; m < u->stage_end; m++) {
            uint64_t sequence = u->sink && m + 1 == u->stage_end ? work->egress_position : work->position;
            byteor_cell_release(ring, (uint32_t)u->member[m].cell, sequence);
            BYTEOR_KILL_POINT(5);
        }
        if (u->sink && !u->source && u->first_stage == u->stage_end) /* an egress by itself: its own cell */
            byteor_cell_release(ring, (uint32_t)u->member[0].cell, work->egress_position);
        return;
    }
    for (uint32_t r = 0; r < u->ring_count; r++) {
        byteor_ring *ring = &u->rings[r];
        if (u->kind == BYTEOR_UNIT_SCATTER) {
            if (work->ended) byteor_store_release64(&ring->producer->end_sequence, work->ring_position[r] - 1);
            byteor_ring_publish(ring, byteor_load_relaxed64(&ring->producer->cursor), work->ring_position[r]);
        } else {
            byteor_cell_release(ring, (uint32_t)u->member[0].cell, work->ring_position[r]);
        }
        BYTEOR_KILL_POINT(6);
    }
    if (u->kind == BYTEOR_UNIT_SCATTER) /* after every ring: a reader that sees it sees all messages up to it */
        for (uint32_t r = 0; r < u->ring_count; r++)
            byteor_store_release64(&u->rings[r].producer->progress_ns, work->time_last);
}

/* The tapes of a unit, whose working record is read back. */
static inline void byteor_recover_capture(byteor_unit_runtime *u) {
    byteor_capture *c = u->capture;
    if (c == NULL) return;
    for (uint32_t i = 0; i < c->count; i++) {
        byteor_tape *t = &c->tape[i];
        int by_slots = t->kind == BYTEOR_TAPE_FOLLOW || (t->kind == BYTEOR_TAPE_CHOICES && u->kind == BYTEOR_UNIT_RING);
        t->committed = by_slots ? &u->work.position : &u->work.member[t->member].received;
        if (t->kind == BYTEOR_TAPE_IN) c->in = t;
        if (t->kind == BYTEOR_TAPE_FOLLOW) c->follow = t;
        if (t->kind == BYTEOR_TAPE_OUT) c->out = t;
        if (t->kind == BYTEOR_TAPE_OFFER) {
            const byteor_member_count *count = &u->work.member[t->member];
            t->committed = &t->taken;
            c->offers++;
            if (u->kind == BYTEOR_UNIT_RING) {
                c->offer = t;
                t->taken = count->received - count->dropped - count->skipped;
            }
        }
        if (t->kind == BYTEOR_TAPE_LANE) {
            c->lane[t->member] = t;
            t->committed = &t->taken; /* made right by who knows the ports */
        }
        if (t->kind == BYTEOR_TAPE_CHOICES) {
            c->choices[t->member] = t;
            c->choosers++;
        }
    }
    byteor_capture_recover(c);
}

/* A new process takes the unit over: complete what was committed, take back what was not. */
static inline void byteor_recover(byteor_unit_runtime *u) {
    u->work = u->unit->record[u->unit->selector & 1u];
    u->unit->record[1u - (u->unit->selector & 1u)] = u->work; /* a commit writes only what this unit changes */
    if (u->unit->undo.valid_for == u->work.position + 1 && u->kind == BYTEOR_UNIT_RING) byteor_undo_apply(u);
    if (u->source) {
        for (uint32_t r = 0; r < u->ring_count; r++) {
            uint64_t progress = byteor_load_relaxed64(&u->rings[r].producer->progress_ns);
            if (progress > u->work.time_last) u->work.time_last = progress;
        }
    }
    byteor_recover_capture(u);
    byteor_publish_record(u);
    byteor_show_counters(u);
    u->available = u->work.position;
    u->gate = 0;
    if (u->kind == BYTEOR_UNIT_RING && u->source) u->gate = byteor_ring_minimum(&u->rings[0], u->work.position);
}

#endif
