/* graph.h: a unit of a LaneGraph as its worker holds it: ports onto rings and journals, and what its roles do with them.
 *
 * Every position and exact count of a unit is a word in a private array; a commit copies the array into the inactive one
 * of two in the control region, so that all of it becomes true with the commit record or none of it. A word has one
 * writer, this unit; observers read the array in force. */
#ifndef BYTEOR_GRAPH_H
#define BYTEOR_GRAPH_H

#include "journal.h"
#include "script.h"
#include "unit_shards.h"

#define BYTEOR_PORTS_MAX 64u
#define BYTEOR_PORT_WORDS 3u
#define BYTEOR_WORDS_MAX (2u * BYTEOR_PORTS_MAX * BYTEOR_PORT_WORDS + 64u)
#define BYTEOR_NO_PORT UINT32_MAX

/* Words of a port that reads. */
enum { BYTEOR_RX_POSITION = 0, BYTEOR_RX_MISSED = 1, BYTEOR_RX_NONSENSE = 2 };
/* Words of a port that writes. The position counts end slots; the others are messages lost, by reason. */
enum { BYTEOR_TX_POSITION = 0, BYTEOR_TX_FULL = 1, BYTEOR_TX_OVERSIZE = 2 };

enum byteor_pick { BYTEOR_PICK_FAIR = 0, BYTEOR_PICK_PRIORITY = 1, BYTEOR_PICK_ORDERED = 2 };
enum byteor_route { BYTEOR_ROUTE_BROADCAST = 0, BYTEOR_ROUTE_WORK_QUEUE = 1, BYTEOR_ROUTE_KEY_HASH = 2 };

/* Words of a port that writes a journal, after the position: where its last committed frame ends. */
enum { BYTEOR_TX_SEGMENT = 1, BYTEOR_TX_OFFSET = 2 };

typedef struct byteor_rx_port {
    byteor_ring *ring; /* of a journal its index */
    byteor_journal_reader *journal;
    int32_t cell;                          /* gating cell; -1: lossy */
    uint32_t word;
    uint32_t from; /* port of this unit that writes the ring, BYTEOR_NO_PORT: another process does */
    uint32_t monotone; /* its messages come in time order */
    uint32_t depends_count;
    uint32_t depends[BYTEOR_CELLS_MAX];
    uint32_t end_taken; /* this turn: its end is the next thing in it */
    uint64_t position;  /* this turn: next sequence to look at */
    uint64_t progress;  /* as read before this turn looked at the ring */
    uint64_t taken_ns;  /* time of the last message taken from it, 0: none since the unit began */
    uint64_t noted;     /* missed messages that are among the choices */
    byteor_losses lost; /* in a replay: what it missed; it does not miss anything by itself then */
    uint64_t *gone;     /* in a replay: how many a journal had let go of before they were read, the first, behind the last; NULL */
} byteor_rx_port;

typedef struct byteor_tx_port {
    byteor_ring *ring; /* of a journal its index */
    byteor_journal_writer *journal;
    uint32_t word;
    uint32_t drops; /* on_full = drop */
    uint32_t cells; /* that gate it */
    uint32_t claim_max; /* leaves lossy readers a window */
    uint64_t gate;      /* cached */
    uint64_t progress;  /* what its ring will show after the commit */
    uint64_t end;       /* sequence of the end slot, BYTEOR_NO_SEQUENCE until it is written */
    byteor_tape *choices; /* of a port that drops, in a run that is recorded; NULL */
    byteor_tape *offer;   /* of a port that a client alone reads; NULL */
    uint32_t number;      /* among the outputs of its role */
    byteor_script script; /* in a replay: what it kept and dropped; its lane blocks then */
} byteor_tx_port;

typedef struct byteor_graph_member {
    uint32_t rx_first, rx_count;
    uint32_t tx_first, tx_count; /* without the dead letter */
    uint32_t dead_letter;        /* port, or BYTEOR_NO_PORT */
    uint32_t pick, route;
    uint32_t place_word; /* where a fair pick goes on; the next one: a work queue */
    uint32_t payload_max; /* that a stage may leave */
    uint32_t outputs_max;
    uint32_t large_state; /* its state is logged, not double-buffered */
    uint32_t staged; /* what comes in may be longer than what may go out: it works outside any ring */
    uint64_t key_offset, key_length;
    byteor_tape *choices; /* NULL: it is not recorded */
    byteor_tape *lane;
    byteor_script take, steer; /* in a replay: which inputs messages came from, which outputs they went to */
    uint32_t picks;  /* which input the next message comes from does not follow from the messages */
} byteor_graph_member;

/* One message at hand: where it lies, and where its port stands once it is taken. */
typedef struct byteor_entry {
    byteor_slot *slot;
    uint32_t port;
    uint64_t next;
} byteor_entry;

typedef struct byteor_graph {
    uint32_t word_count;
    uint32_t rx_count, tx_count;
    uint32_t wants_progress; /* an ordered merge lies downstream */
    uint64_t *word;          /* equal to the array in force after each commit */
    uint64_t *shared[2];     /* in the control region */
    uint64_t state_changed;  /* bit m: member m has written its inactive state */
    uint32_t changed;        /* something is to be committed */
    uint32_t no_room;        /* some role waits for slower consumers */
    uint32_t timed;          /* the clock is read after each role; else its messages are charged the end of the turn */
    uint32_t clocked;        /* this turn has read the clock */
    uint32_t took;           /* most messages that a role was done with in this pass */
    uint32_t entry_max, entry_count;
    byteor_entry *entry;
    uint8_t *staging; /* entry_max slots outside any ring, of the widest kind */
    uint32_t staging_bytes;
    uint8_t *copies; /* entry_max slots: what lossy readers and those of journals have copied; then one for each port */
    byteor_ring staging_ring, copy_ring; /* their geometry, for calls that go by rings[0] */
    uint32_t copy_bytes;
    uint8_t *extra; /* further outputs of a batch, and the input that each belongs to */
    uint32_t *extra_of;
    uint32_t extra_max, extra_count;
    uint32_t journals;    /* ports that write one */
    uint64_t unix_ns;     /* of this turn, for their frames */
    uint64_t rx_sequence; /* of the message in hand, for their frames */
    const uint8_t *failed_payload; /* of the message at fault */
    uint32_t failed_length;
    byteor_graph_member member[BYTEOR_MEMBERS_MAX];
    byteor_rx_port rx[BYTEOR_PORTS_MAX];
    byteor_tx_port tx[BYTEOR_PORTS_MAX];
} byteor_graph;

static inline uint64_t *byteor_rx_word(byteor_graph *g, const byteor_rx_port *port, uint32_t what) {
    return &g->word[port->word + what];
}

static inline uint64_t *byteor_tx_word(byteor_graph *g, const byteor_tx_port *port, uint32_t what) {
    return &g->word[port->word + what];
}

/* Where a journal's index says with which sequence the run began: kept plus 1, so that 0 is not yet. */
static inline uint64_t *byteor_journal_base(const byteor_ring *index) { return (uint64_t *)(void *)byteor_payload(byteor_ring_slot(index, 0)); }

/* Bit of `ended` in the record: member m has passed on the end of its input. */
static inline int byteor_member_ended(const byteor_unit_runtime *u, uint32_t m) { return (int)(u->work.ended >> m & 1u); }

static inline void byteor_member_end(byteor_unit_runtime *u, uint32_t m) {
    u->work.ended |= (uint64_t)1 << m;
    u->graph->changed = 1;
}

static inline byteor_slot *byteor_graph_staged(const byteor_graph *g, uint32_t index) {
    return (byteor_slot *)(void *)(g->staging + (size_t)index * g->staging_bytes);
}

static inline byteor_slot *byteor_graph_extra(const byteor_graph *g, uint32_t index) {
    return (byteor_slot *)(void *)(g->extra + (size_t)index * g->staging_bytes);
}

static inline byteor_slot *byteor_graph_copied(const byteor_graph *g, uint32_t index) {
    return (byteor_slot *)(void *)(g->copies + (size_t)index * g->copy_bytes);
}

/* Slots that a lossy reader may read while they are written: word by word under ThreadSanitizer, which knows no fences. */
#if defined(__SANITIZE_THREAD__)
static inline void byteor_words_copy(void *to, const void *from, uint32_t bytes) {
    uint64_t *target = to;
    const uint64_t *source = from;
    for (uint32_t i = 0; i * 8u < bytes; i++) byteor_store_relaxed64(&target[i], byteor_load_relaxed64(&source[i]));
}

static inline void byteor_slot_write(byteor_slot *to, const byteor_slot *from, uint32_t length) {
    byteor_slot head = *from;
    uint32_t word;
    head.flags = 0;
    memcpy(&word, &head.length, sizeof word);
    byteor_store_relaxed32((uint32_t *)(void *)&to->length, word);
    byteor_store_relaxed64(&to->time_ns, head.time_ns);
    byteor_words_copy(byteor_payload(to), (const uint8_t *)from + BYTEOR_SLOT_HEADER_BYTES, length);
}

static inline void byteor_slot_end(byteor_slot *slot, uint64_t time_ns) {
    byteor_slot head = {.flags = BYTEOR_SLOT_END};
    uint32_t word;
    memcpy(&word, &head.length, sizeof word);
    byteor_store_relaxed32((uint32_t *)(void *)&slot->length, word);
    byteor_store_relaxed64(&slot->time_ns, time_ns);
}
#else
static inline void byteor_words_copy(void *to, const void *from, uint32_t bytes) { memcpy(to, from, bytes); }

#define BYTEOR_COPY_INLINE_MAX 256u /* for longer ones a call of memcpy costs little */

/* Exactly `length` bytes: 16 at a time, the last 16 over what is there already. For short messages a call costs more than
 * the copy. The fence keeps the compiler from making that call. */
static inline void byteor_payload_copy(uint8_t *to, const uint8_t *from, uint32_t length) {
    if (length - 16u > BYTEOR_COPY_INLINE_MAX - 16u) {
        memcpy(to, from, length);
        return;
    }
    for (uint32_t at = 0; at + 16u < length; at += 16u) {
        memcpy(to + at, from + at, 16);
        byteor_fence_signal();
    }
    memcpy(to + length - 16u, from + length - 16u, 16);
}

/* Everything of a message but the stamp, which belongs to the ring. */
static inline void byteor_slot_write(byteor_slot *to, const byteor_slot *from, uint32_t length) {
    to->length = (uint16_t)length;
    to->type = from->type;
    to->flags = 0;
    to->time_ns = from->time_ns;
    byteor_payload_copy(byteor_payload(to), (const uint8_t *)from + BYTEOR_SLOT_HEADER_BYTES, length);
}

static inline void byteor_slot_end(byteor_slot *slot, uint64_t time_ns) { byteor_end_slot(slot, time_ns); }
#endif

/* Copy a slot that may change meanwhile; the caller looks again. */
static inline void byteor_slot_read(byteor_slot *to, const byteor_slot *from, uint32_t payload_max) {
    byteor_words_copy(to, from, BYTEOR_SLOT_HEADER_BYTES);
    uint32_t length = to->length < payload_max ? to->length : payload_max;
    byteor_words_copy(byteor_payload(to), (const uint8_t *)from + BYTEOR_SLOT_HEADER_BYTES, length);
}

#endif
