/* capture.h: what a unit hands over to the process that records its run.
 *
 * A tape is memory of its own between one unit and the recorder: the slots of a ring region, used as bytes. The unit copies
 * what enters or leaves into it before its commit and shows it after: a commit says how far the stream has come, so that a
 * successor finds by the positions on the tape what its predecessor had committed and not yet shown. What is handed over
 * twice carries the same positions, and the recorder drops it. A full tape makes the unit wait, or count what it could
 * not hand over; the next position on the tape then tells exactly how much that was. */
#ifndef BYTEOR_CAPTURE_H
#define BYTEOR_CAPTURE_H

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "killpoint.h"
#include "ring.h"

#define BYTEOR_TAPE_PAGE 4096u  /* first bytes of the slots: byteor_tape_page */
#define BYTEOR_TAPE_ALIGN 32u   /* of everything handed over at a time */
#define BYTEOR_TAPE_SHARE 8u    /* one handing over takes at most this part of the memory */

/* One handing over; behind it messages as they lie in slots, each padded to 16 bytes, or choices. */
typedef struct byteor_tape_head {
    uint64_t stamp;    /* position of this head plus 1, stored last: what was left from an earlier lap never fits */
    uint64_t first;    /* position in its stream of the first message */
    uint64_t messages; /* that it speaks of */
    uint32_t count;    /* of what lies behind it; 0: nothing up to the end of the memory */
    uint32_t bytes;    /* of all of it */
} byteor_tape_head;

/* How far the recorder has come. */
typedef struct byteor_tape_record {
    uint64_t tail;      /* bytes of the tape that are dealt with */
    uint64_t next;      /* position in the stream of the next message */
    uint64_t kept;      /* frames written in this run */
    uint64_t bytes;     /* of their payloads */
    uint64_t lost;      /* messages that are not kept though they should be */
    uint64_t lost_disk; /* of them: for want of room on the disk */
    uint64_t gaps;      /* runs of lost messages */
    uint64_t hashed;    /* messages in the digest */
    uint64_t hash_bytes;
    uint64_t pad0;
    uint32_t hash[8];
    uint8_t partial[64]; /* what has not filled a block yet */
    uint8_t pad1[16];
} byteor_tape_record;

/* UNSYNCED: a write or a sync failed. What was to be on the disk may not be, and nothing more is kept. */
enum byteor_tape_state { BYTEOR_TAPE_OK = 0, BYTEOR_TAPE_DISK_FULL = 1, BYTEOR_TAPE_FAILED = 2, BYTEOR_TAPE_UNSYNCED = 3 };

typedef struct byteor_tape_page {
    uint64_t refused; /* the unit's: messages that found no room; for eyes, the positions are exact */
    uint8_t pad0[56];
    uint32_t selector; /* the recorder's from here on: the record in force */
    uint32_t state;    /* enum byteor_tape_state */
    uint32_t error_number; /* with BYTEOR_TAPE_UNSYNCED */
    uint8_t pad1[52];
    byteor_tape_record record[2];
} byteor_tape_page;

_Static_assert(sizeof(byteor_tape_head) == BYTEOR_TAPE_ALIGN, "head of a handing over");
_Static_assert(sizeof(byteor_tape_record) == 192, "whole lines");
_Static_assert(sizeof(byteor_tape_page) <= BYTEOR_TAPE_PAGE, "one page");

enum byteor_tape_kind {
    BYTEOR_TAPE_IN = 1,     /* what the unit's source gives */
    BYTEOR_TAPE_FOLLOW = 2, /* what a client published in the ring that the unit's stages work on */
    BYTEOR_TAPE_OUT = 3,    /* what the unit's sink takes */
    BYTEOR_TAPE_CHOICES = 4,
    BYTEOR_TAPE_OFFER = 6,  /* what the unit publishes to a client that is an egress; `ports`: of a LaneGraph's port that writes */
    BYTEOR_TAPE_LANE = 5    /* what a role of a LaneGraph takes from the ports in `ports`, which a client fills */
};

/* What a role was free to do. Everything else it does follows from its input. */
enum byteor_choice_kind {
    BYTEOR_CHOICE_TAKE = 1,  /* `count` messages in a row came from input `source` */
    BYTEOR_CHOICE_ROUTE = 2, /* `count` messages in a row went to output `source` */
    BYTEOR_CHOICE_KEEP = 3,  /* output `source`, which drops, had room for `count` in a row */
    BYTEOR_CHOICE_DROP = 4,  /* it had none for `count` */
    BYTEOR_CHOICE_BATCH = 5, /* a stage was called with `source` messages, 0 for the end, when the clock showed `count` */
    BYTEOR_CHOICE_MISS = 6,  /* input `source`, which is lossy, lost `count` before the next message */
    BYTEOR_CHOICE_FAIL = 7   /* a stage failed (`source`: how) on the next message, which was passed over; the clock showed `count` */
};

typedef struct byteor_choice {
    uint32_t kind;
    uint32_t source;
    uint64_t count;
} byteor_choice;

#define BYTEOR_CHOICES_MAX 255u /* of one head */

_Static_assert(sizeof(byteor_choice) == 16, "padded as messages are");

/* The unit's end of a tape. */
typedef struct byteor_tape {
    byteor_ring *ring; /* its cursor and only cell count bytes */
    byteor_tape_page *page;
    uint8_t *data;
    uint64_t bytes;
    uint64_t next; /* behind what is written, shown or not */
    uint64_t tail; /* cached */
    const uint64_t *committed; /* working value that a commit makes true: how far its stream has come */
    uint32_t kind;             /* enum byteor_tape_kind */
    uint32_t member;           /* whose stream it is */
    uint32_t waits;            /* for room, else what finds none is lost */
    uint32_t behind;           /* the recorder is: nothing is handed over until half of the tape is free */
    uint32_t choices;          /* behind the head that is open */
    uint32_t refusing;         /* some choice of this batch found no room: none of them is of use */
    byteor_tape_head *open;    /* NULL: none */
    uint64_t base;             /* what `committed` was after the last commit */
    uint64_t taken;            /* of BYTEOR_TAPE_LANE and _OFFER: messages so far */
    uint64_t ports;            /* bit per port that reads, or writes */
} byteor_tape;

#define BYTEOR_TAPES_MAX 24u

/* The tapes of one unit; NULL where there is none. */
typedef struct byteor_capture {
    byteor_tape *in;     /* of its ingress */
    byteor_tape *follow; /* of the client that fills the ring which its stages take from */
    byteor_tape *out;    /* of its egress */
    byteor_tape *offer;  /* of the client that takes what the stages of a ring have passed */
    byteor_tape *lane[BYTEOR_MEMBERS_MAX];    /* of the client that fills an input of a role */
    byteor_tape *choices[BYTEOR_MEMBERS_MAX]; /* of its roles */
    uint32_t choosers, offers;
    uint32_t count;
    byteor_tape tape[BYTEOR_TAPES_MAX];
} byteor_capture;

static inline void byteor_tape_view(byteor_tape *t, byteor_ring *ring) {
    t->ring = ring;
    t->page = (byteor_tape_page *)(void *)ring->slots;
    t->data = ring->slots + BYTEOR_TAPE_PAGE;
    t->bytes = ring->capacity * ring->slot_bytes - BYTEOR_TAPE_PAGE;
}

static inline byteor_tape_head *byteor_tape_at(const byteor_tape *t, uint64_t position) {
    return (byteor_tape_head *)(void *)(t->data + position % t->bytes);
}

/* Bytes that can be written, as far as is known without asking, or after asking. */
static inline uint64_t byteor_tape_free(byteor_tape *t, uint64_t wanted) {
    if (t->bytes - (t->next - t->tail) < wanted)
        t->tail = byteor_load_acquire64(&t->ring->cells[0].sequence); /* partner: byteor_cell_release of the recorder */
    uint64_t used = t->next - t->tail;
    return used > t->bytes ? 0 : t->bytes - used;
}

/* Most bytes that `count` messages take. */
static inline uint64_t byteor_tape_most(uint64_t count, uint32_t slot_bytes) { return sizeof(byteor_tape_head) + count * slot_bytes; }

/* How many messages of `count` may be taken in: all, or where the unit waits for room those that will surely fit. */
static inline uint64_t byteor_tape_limit(byteor_tape *t, uint64_t count, uint32_t slot_bytes) {
    if (!t->waits) return count;
    uint64_t chunk = (t->bytes / BYTEOR_TAPE_SHARE - sizeof(byteor_tape_head)) / slot_bytes;
    if (count > chunk) count = chunk ? chunk : 1;
    uint64_t wanted = 2 * byteor_tape_most(count, slot_bytes) + 2 * BYTEOR_TAPE_ALIGN; /* once lost to the end of the memory */
    return byteor_tape_free(t, wanted) < wanted ? 0 : count;
}

/* Where `wanted` bytes can be written in one piece, at t->next; NULL: no room. One head is left free behind them. A tape
 * that was full takes nothing until half of it is free: few long gaps are worth more than many, and cost less. */
static inline byteor_tape_head *byteor_tape_reserve(byteor_tape *t, uint64_t wanted) {
    if (t->behind && byteor_tape_free(t, t->bytes / 2) < t->bytes / 2) return NULL;
    t->behind = 0;
    uint64_t to_end = t->bytes - t->next % t->bytes, pad = to_end < wanted ? to_end : 0;
    uint64_t all = wanted + pad + BYTEOR_TAPE_ALIGN;
    if (byteor_tape_free(t, all) < all) {
        t->behind = !t->waits;
        return NULL;
    }
    if (pad) {
        byteor_tape_head *head = byteor_tape_at(t, t->next);
        *head = (byteor_tape_head){.stamp = t->next + 1, .bytes = (uint32_t)pad};
        t->next += pad;
    }
    return byteor_tape_at(t, t->next);
}

/* `head` is written up to `bytes`: make it whole. What lies behind it is no head. */
static inline void byteor_tape_close(byteor_tape *t, byteor_tape_head *head, uint64_t bytes) {
    head->bytes = (uint32_t)((bytes + BYTEOR_TAPE_ALIGN - 1u) & ~(uint64_t)(BYTEOR_TAPE_ALIGN - 1u));
    byteor_tape_at(t, t->next + head->bytes)->stamp = 0;
    byteor_fence_signal();
    head->stamp = t->next + 1;
    t->next += head->bytes;
}

/* `bytes` whole pieces of 16, on a boundary of 16, past the caches: this process never looks at them again, and what it
 * works on stays in its caches. They are visible behind byteor_tape_copied alone. */
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
static inline void byteor_tape_copy(uint8_t *to, const uint8_t *from, uint32_t bytes) {
    for (uint32_t at = 0; at < bytes; at += 16u)
        _mm_stream_si128((__m128i *)(void *)(to + at), _mm_loadu_si128((const __m128i *)(const void *)(from + at)));
}

static inline void byteor_tape_copied(void) { _mm_sfence(); }
#else
static inline void byteor_tape_copy(uint8_t *to, const uint8_t *from, uint32_t bytes) { memcpy(to, from, bytes); }

static inline void byteor_tape_copied(void) {}
#endif

/* Copy `count` slots as they are; with `live_only` those alone that leave the run. Returns how many messages that were. */
static inline uint32_t byteor_tape_put(uint8_t *at, const uint8_t *slots, const byteor_ring *ring, uint32_t count, int live_only, uint64_t *bytes) {
    uint8_t *to = at;
    uint32_t put = 0;
    for (uint32_t i = 0; i < count; i++, slots += ring->slot_bytes) {
        const byteor_slot *slot = (const byteor_slot *)(const void *)slots;
        if (live_only && !byteor_live(slot) && !((slot->flags & BYTEOR_SLOT_END) && slot->length)) continue;
        uint32_t length = slot->length <= ring->payload_max ? slot->length : 0;
        uint32_t whole = (BYTEOR_SLOT_HEADER_BYTES + length + 15u) & ~15u;
        byteor_tape_copy(to, slots, whole);
        to += whole;
        put++;
    }
    *bytes = (uint64_t)(to - at);
    return put;
}

/* Hand over `count` slots of the geometry of `ring`; the first live one has position `first` in its stream. */
static inline void byteor_tape_messages(byteor_tape *t, const byteor_ring *ring, const uint8_t *slots, uint32_t count, uint64_t first, int live_only) {
    uint64_t chunk = (t->bytes / BYTEOR_TAPE_SHARE - sizeof(byteor_tape_head)) / ring->slot_bytes;
    while (count) {
        uint32_t now = count <= chunk ? count : chunk ? (uint32_t)chunk : 1u;
        byteor_tape_head *head = byteor_tape_reserve(t, byteor_tape_most(now, ring->slot_bytes));
        if (head == NULL) {
            byteor_count(&t->page->refused, count);
            return;
        }
        uint64_t bytes;
        uint32_t put = byteor_tape_put((uint8_t *)(head + 1), slots, ring, now, live_only, &bytes);
        byteor_tape_copied();
        if (put) {
            head->first = first;
            head->messages = head->count = put;
            byteor_tape_close(t, head, sizeof *head + bytes);
        }
        first += put;
        slots += (uint64_t)now * ring->slot_bytes;
        count -= now;
    }
    BYTEOR_KILL_POINT(31);
}

/* The same of messages that are about to be published to a client: from `position` on, which may go over the ring's end. */
static inline void byteor_tape_offer(byteor_tape *t, const byteor_ring *ring, uint64_t position, uint64_t count) {
    while (count) {
        uint64_t now = ring->capacity - position % ring->capacity, live = 0;
        if (now > count) now = count;
        for (uint64_t i = 0; i < now; i++) {
            const byteor_slot *slot = byteor_ring_slot(ring, position + i);
            live += byteor_live(slot) || ((slot->flags & BYTEOR_SLOT_END) && slot->length);
        }
        byteor_tape_messages(t, ring, (const uint8_t *)byteor_ring_slot(ring, position), (uint32_t)now, t->taken, 1);
        t->taken += live;
        position += now;
        count -= now;
    }
}

/* --- choices ---------------------------------------------------------------------------------------------------- */

static inline void byteor_choices_seal(byteor_tape *t, uint64_t messages) {
    byteor_tape_head *head = t->open;
    if (head == NULL) return;
    head->first = t->base;
    head->messages = messages;
    head->count = t->choices;
    byteor_tape_close(t, head, sizeof *head + t->choices * sizeof(byteor_choice));
    t->open = NULL;
    t->choices = 0;
}

/* Note a choice; `runs`: with the one before it, if that is the same. */
static inline void byteor_choose(byteor_tape *t, uint32_t kind, uint32_t source, uint64_t count, int runs) {
    if (t->refusing || count + (uint64_t)!runs == 0) return;
    if (t->choices == BYTEOR_CHOICES_MAX) byteor_choices_seal(t, 0); /* goes on behind another head */
    if (t->open == NULL) {
        t->open = byteor_tape_reserve(t, sizeof(byteor_tape_head) + BYTEOR_CHOICES_MAX * sizeof(byteor_choice));
        t->refusing = t->open == NULL;
        if (t->refusing) return;
    }
    byteor_choice *list = (byteor_choice *)(void *)(t->open + 1);
    byteor_choice *last = t->choices ? &list[t->choices - 1] : NULL;
    if (runs && last && last->kind == kind && last->source == source) last->count += count;
    else list[t->choices++] = (byteor_choice){.kind = kind, .source = source, .count = count};
}

/* The batch is taken back, and with it what was chosen in it. */
static inline void byteor_choices_take_back(byteor_capture *c) {
    for (uint32_t i = 0; c->choosers && i < c->count; i++) {
        byteor_tape *t = &c->tape[i];
        if (t->kind != BYTEOR_TAPE_CHOICES) continue;
        t->next = byteor_load_relaxed64(&t->ring->producer->cursor);
        t->open = NULL;
        t->choices = t->refusing = 0;
    }
}

/* Whether there is room for the choices of another batch, and for what it publishes to clients, where it is waited for. */
static inline int byteor_choices_ready(byteor_capture *c) {
    for (uint32_t i = 0; c->choosers + c->offers && i < c->count; i++) {
        byteor_tape *t = &c->tape[i];
        if ((t->kind == BYTEOR_TAPE_CHOICES || t->kind == BYTEOR_TAPE_OFFER) && t->waits && byteor_tape_free(t, t->bytes / 2) < t->bytes / 2) return 0;
    }
    return 1;
}

/* --- commit ----------------------------------------------------------------------------------------------------- */

/* Before a commit: what was chosen on the way to it, made whole. */
static inline void byteor_capture_seal(byteor_capture *c) {
    for (uint32_t i = 0; c->choosers && i < c->count; i++) {
        byteor_tape *t = &c->tape[i];
        if (t->kind != BYTEOR_TAPE_CHOICES) continue;
        if (t->refusing) {
            t->next = byteor_load_relaxed64(&t->ring->producer->cursor);
            t->open = NULL;
            t->choices = t->refusing = 0;
            byteor_count(&t->page->refused, *t->committed - t->base);
        } else if (t->open == NULL) {
            continue; /* there was nothing to choose: the next head speaks of these messages too */
        }
        byteor_choices_seal(t, *t->committed - t->base);
        t->base = *t->committed;
    }
}

/* After a commit: what it says, made visible. */
static inline void byteor_capture_show(byteor_capture *c) {
    for (uint32_t i = 0; i < c->count; i++) {
        byteor_tape *t = &c->tape[i];
        if (byteor_load_relaxed64(&t->ring->producer->cursor) == t->next) continue;
        byteor_store_release64(&t->ring->producer->cursor, t->next); /* partner: the recorder's acquire load */
        BYTEOR_KILL_POINT(32);
    }
}

/* A new process takes the unit over; its working record is read back already. */
static inline void byteor_tape_recover(byteor_tape *t) {
    uint64_t at = byteor_load_relaxed64(&t->ring->producer->cursor);
    for (uint64_t walked = 0; walked < t->bytes;) {
        const byteor_tape_head *head = byteor_tape_at(t, at);
        if (head->stamp != at + 1 || head->bytes < sizeof *head || head->bytes % BYTEOR_TAPE_ALIGN) break;
        if (head->bytes > t->bytes - at % t->bytes || (head->count && head->first >= *t->committed)) break;
        at += head->bytes;
        walked += head->bytes;
    }
    t->next = at;
    t->base = *t->committed;
    t->tail = byteor_load_acquire64(&t->ring->cells[0].sequence);
}

static inline void byteor_capture_recover(byteor_capture *c) {
    for (uint32_t i = 0; i < c->count; i++) byteor_tape_recover(&c->tape[i]);
    byteor_capture_show(c);
}

#endif
