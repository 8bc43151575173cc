/* capture_drain.c: see capture_drain.h. */
#include "capture_drain.h"

#include "guard_sha256.h"
#include "sha256_blocks.h"

#define SHOWN_BYTES 1048576u         /* the record follows what was dealt with this closely, or an eighth of the tape */
#define AHEAD_BYTES 1024u
#define RETRY_NS ((uint64_t)50000000u) /* between tries to write to a disk without room */

static void lose(byteor_drain *d, uint64_t messages, int disk) {
    d->work.lost += messages;
    if (disk) d->work.lost_disk += messages;
    if (!d->gap_open) d->work.gaps++;
    d->gap_open = 1;
}

/* --- the record ------------------------------------------------------------------------------------------------- */

static void keep_no_more(byteor_drain *d, int error_number) {
    d->unkept = 1;
    byteor_store_relaxed32(&d->tape.page->error_number, (uint32_t)error_number);
    byteor_store_release32(&d->tape.page->state, BYTEOR_TAPE_UNSYNCED);
}

/* What was staged and could not be written is lost like what is behind it; what was written and not synced may be. */
static void put_failed(byteor_drain *d) {
    byteor_journal_writer *w = d->writer;
    d->flying = 0;
    if (w->unwritten && w->unput_frames) {
        lose(d, w->unput_frames, 1);
        d->work.kept -= w->unput_frames;
        d->work.bytes -= w->unput_payload;
        w->unput_frames = w->unput_payload = 0;
    }
    keep_no_more(d, w->error_number);
}

static void reveal(byteor_drain *d, const byteor_tape_record *record) {
    byteor_tape_page *page = d->tape.page;
    uint32_t inactive = 1u - (byteor_load_relaxed32(&page->selector) & 1u);
    page->record[inactive] = *record;
    byteor_fence_signal();
    byteor_store_release32(&page->selector, inactive); /* read by this process's successor, and by who looks */
    byteor_fence_signal();
    byteor_cell_release(&d->ring, 0, record->tail);
}

/* What was on its way is there, or never will be. */
static void settle(byteor_drain *d) {
    if (!d->flying) return;
    d->flying = 0;
    if (byteor_journal_settle(d->writer) != 0) put_failed(d);
    else reveal(d, &d->underway);
}

/* The record says what was dealt with, once it is the kernel's: `wait` for that, or let it be written beside what comes. */
static void show(byteor_drain *d, int wait) {
    settle(d);
    int way = 0;
    if (d->writer && !d->unkept) way = wait ? byteor_journal_put(d->writer) : byteor_journal_start(d->writer);
    if (way < 0) put_failed(d);
    d->shown_tail = d->work.tail;
    d->flying = way == 1;
    if (d->flying) d->underway = d->work;
    else reveal(d, &d->work);
}

void byteor_drain_fail(byteor_drain *d, int error_number) {
    show(d, 1);
    if (!d->unkept) keep_no_more(d, error_number);
}

void byteor_drain_open(byteor_drain *d) {
    const byteor_tape_page *page = d->tape.page;
    d->work = page->record[byteor_load_relaxed32(&page->selector) & 1u];
    if (d->work.hashed == 0 && d->work.hash_bytes == 0) sha256_start(d->work.hash);
    d->ahead = d->sequence > d->work.kept ? d->sequence - d->work.kept : 0;
    d->work.kept = d->sequence;
    d->unkept = byteor_load_relaxed32(&page->state) == BYTEOR_TAPE_UNSYNCED;
    show(d, 1);
}

/* --- the digest ------------------------------------------------------------------------------------------------- */

static void digest_bytes(byteor_tape_record *w, const uint8_t *data, uint64_t bytes) {
    uint64_t filled = w->hash_bytes % SHA256_BLOCK;
    w->hash_bytes += bytes;
    if (filled) {
        uint64_t rest = SHA256_BLOCK - filled, some = bytes < rest ? bytes : rest;
        memcpy(w->partial + filled, data, some);
        data += some;
        bytes -= some;
        if (some < rest) return;
        byteor_sha256_blocks(w->hash, w->partial, 1);
    }
    byteor_sha256_blocks(w->hash, data, bytes / SHA256_BLOCK);
    memcpy(w->partial, data + bytes / SHA256_BLOCK * SHA256_BLOCK, bytes % SHA256_BLOCK);
}

#define GATHER_BYTES 8192u /* short messages are brought together, so that blocks come many at a time */

typedef struct gathered {
    uint32_t bytes;
    uint8_t data[GATHER_BYTES];
} gathered;

static void digest_gathered(byteor_tape_record *w, gathered *g) {
    if (g->bytes) digest_bytes(w, g->data, g->bytes);
    g->bytes = 0;
}

static void digest_message(byteor_tape_record *w, gathered *g, const byteor_slot *slot) {
    uint32_t length = slot->length;
    const uint8_t *payload = (const uint8_t *)slot + BYTEOR_SLOT_HEADER_BYTES;
    if (g->bytes + sizeof length + length > GATHER_BYTES) digest_gathered(w, g);
    memcpy(g->data + g->bytes, &length, sizeof length); /* little endian, as everything here */
    g->bytes += (uint32_t)sizeof length;
    if (length > GATHER_BYTES - sizeof length) {
        digest_gathered(w, g);
        digest_bytes(w, payload, length);
    } else {
        memcpy(g->data + g->bytes, payload, length);
        g->bytes += length;
    }
    w->hashed++;
}

void byteor_drain_digest(const byteor_drain *d, uint8_t out[32]) {
    uint32_t state[8];
    uint64_t rest = d->work.hash_bytes % SHA256_BLOCK;
    memcpy(state, d->work.hash, sizeof state);
    sha256_finish(state, d->work.hash_bytes - rest, d->work.partial, rest, out);
}

/* --- messages --------------------------------------------------------------------------------------------------- */

/* One frame into the journal; 0, or -1 when it must not be lost and cannot be written. `messages`: that are lost with it. */
static int keep(byteor_drain *d, const byteor_slot *slot, uint64_t position, uint64_t messages, uint64_t unix_ns) {
    byteor_journal_writer *w = d->writer;
    if (d->unkept || unix_ns < d->retry_unix_ns) {
        if (d->waits && !d->unkept) return -1;
        lose(d, messages, 1);
        return 0;
    }
    w->error_number = 0;
    if (byteor_journal_append(w, d->sequence, position, slot, unix_ns) != 0) {
        if (w->unsure) {
            put_failed(d);
            lose(d, messages, 1);
            return 0;
        }
        d->retry_unix_ns = unix_ns + RETRY_NS;
        byteor_store_relaxed32(&d->tape.page->state, BYTEOR_TAPE_DISK_FULL);
        if (d->waits) return -1;
        lose(d, messages, 1);
        return 0;
    }
    if (d->retry_unix_ns) {
        d->retry_unix_ns = 0;
        byteor_store_relaxed32(&d->tape.page->state, BYTEOR_TAPE_OK);
    }
    d->gap_open = 0;
    d->sequence++;
    d->work.kept++;
    d->work.bytes += slot->length;
    return 0;
}

/* The messages behind a head. */
static int take(byteor_drain *d, const byteor_tape_head *head, gathered *g, uint64_t unix_ns) {
    byteor_tape_record *work = &d->work;
    const uint8_t *at = (const uint8_t *)(head + 1), *end = (const uint8_t *)head + head->bytes;
    if (head->first > work->next) {
        lose(d, head->first - work->next, 0);
        work->next = head->first;
    }
    for (uint32_t i = 0; i < head->count; i++) {
        const byteor_slot *slot = (const byteor_slot *)(const void *)at;
        uint64_t position = head->first + i;
        __builtin_prefetch(at + AHEAD_BYTES); /* it was written past the caches */
        if (end - at < (ptrdiff_t)BYTEOR_SLOT_HEADER_BYTES || end - at < (ptrdiff_t)(BYTEOR_SLOT_HEADER_BYTES + slot->length)) return BYTEOR_DRAINED_NONSENSE;
        at += (BYTEOR_SLOT_HEADER_BYTES + slot->length + 15u) & ~15u;
        if (position < work->next) continue; /* it came before */
        if (d->digests && work->hashed == d->checkpoint_at) return BYTEOR_DRAINED_CHECKPOINT;
        int kept = d->writer && position >= d->appended && position % d->sample_every == 0;
        if (kept && keep(d, slot, position, 1, unix_ns) != 0) return BYTEOR_DRAINED_WAITS;
        if (!d->writer) d->gap_open = 0;
        if (d->digests) digest_message(work, g, slot);
        work->next = position + 1;
    }
    return BYTEOR_DRAINED_SOME;
}

/* The choices behind a head become one frame: its time is the number of messages that they were made for. */
static int take_choices(byteor_drain *d, const byteor_tape_head *head, uint64_t unix_ns) {
    struct {
        byteor_slot slot;
        byteor_choice choice[BYTEOR_CHOICES_MAX];
    } frame;
    uint64_t bytes = head->count * sizeof(byteor_choice);
    if (head->count > BYTEOR_CHOICES_MAX || bytes > head->bytes - sizeof *head) return BYTEOR_DRAINED_NONSENSE;
    if (head->first > d->work.next) {
        lose(d, head->first - d->work.next, 0);
        d->work.next = head->first;
    }
    if (d->ahead) {
        d->ahead--;
    } else {
        memset(&frame.slot, 0, sizeof frame.slot);
        frame.slot.length = (uint16_t)bytes;
        frame.slot.time_ns = head->messages;
        memcpy(frame.choice, head + 1, bytes);
        if (keep(d, &frame.slot, head->first, head->messages, unix_ns) != 0) return BYTEOR_DRAINED_WAITS;
    }
    d->work.next += head->messages;
    return BYTEOR_DRAINED_SOME;
}

static int take_head(byteor_drain *d, const byteor_tape_head *head, gathered *g, uint64_t unix_ns) {
    if (head->count == 0) return BYTEOR_DRAINED_SOME;
    return d->choices ? take_choices(d, head, unix_ns) : take(d, head, g, unix_ns);
}

static const byteor_tape_head *next_head(const byteor_drain *d, uint64_t cursor) {
    const byteor_tape *t = &d->tape;
    uint64_t tail = d->work.tail;
    const byteor_tape_head *head = byteor_tape_at(t, tail);
    int fits = head->stamp == tail + 1 && head->bytes >= sizeof *head && head->bytes % BYTEOR_TAPE_ALIGN == 0;
    return fits && head->bytes <= t->bytes - tail % t->bytes && head->bytes <= cursor - tail ? head : NULL;
}

int byteor_drain_step(byteor_drain *d, uint64_t budget, uint64_t unix_ns) {
    uint64_t cursor = byteor_load_acquire64(&d->ring.producer->cursor); /* partner: byteor_capture_show */
    uint64_t until = d->work.tail + budget;
    int outcome = BYTEOR_DRAINED_NOTHING;
    gathered short_ones;
    short_ones.bytes = 0;
    while (d->work.tail != cursor && (int64_t)(until - d->work.tail) > 0) {
        const byteor_tape_head *head = next_head(d, cursor);
        outcome = head ? take_head(d, head, &short_ones, unix_ns) : BYTEOR_DRAINED_NONSENSE;
        if (outcome != BYTEOR_DRAINED_SOME) break;
        d->work.tail += head->bytes;
        if (d->work.tail - d->shown_tail < SHOWN_BYTES && d->work.tail - d->shown_tail < d->tape.bytes / 8u) continue;
        digest_gathered(&d->work, &short_ones);
        show(d, 0);
    }
    digest_gathered(&d->work, &short_ones);
    int goes_on = outcome == BYTEOR_DRAINED_CHECKPOINT || (outcome == BYTEOR_DRAINED_SOME && d->work.tail != cursor);
    if (!goes_on && (outcome != BYTEOR_DRAINED_NOTHING || d->flying || d->shown_tail != d->work.tail)) show(d, 1);
    if (d->writer && !d->unkept && d->writer->segments > 1) byteor_journal_retain(d->writer, unix_ns);
    if (outcome == BYTEOR_DRAINED_NONSENSE) byteor_store_relaxed32(&d->tape.page->state, BYTEOR_TAPE_FAILED);
    return outcome;
}

void byteor_drain_end(byteor_drain *d, uint64_t end) {
    if (end > d->work.next) {
        lose(d, end - d->work.next, 0);
        d->work.next = end;
    }
    show(d, 1);
}

void byteor_drain_give_up(byteor_drain *d, uint64_t end) {
    d->work.tail = byteor_load_acquire64(&d->ring.producer->cursor);
    byteor_drain_end(d, end);
}
