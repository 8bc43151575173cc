/* capture_drain.h: the recorder's end of a tape: into a journal, into a rolling digest.
 *
 * What was dealt with stands in a record on the tape itself (two, and which is in force), so that a successor goes on there.
 * The journal may be ahead of the record: its last frame says by how much. */
#ifndef BYTEOR_CAPTURE_DRAIN_H
#define BYTEOR_CAPTURE_DRAIN_H

#include "capture.h"
#include "journal.h"

enum byteor_drained {
    BYTEOR_DRAINED_NOTHING = 0,    /* the tape is empty */
    BYTEOR_DRAINED_SOME = 1,
    BYTEOR_DRAINED_CHECKPOINT = 2, /* as many messages are in the digest as were asked for */
    BYTEOR_DRAINED_WAITS = 3,      /* the disk has no room, and what comes must not be lost */
    BYTEOR_DRAINED_NONSENSE = 4    /* what lies on the tape cannot be: nothing behind it is believed */
};

typedef struct byteor_drain {
    byteor_ring ring;
    byteor_tape tape; /* its view of the memory only */
    byteor_tape_record work;
    byteor_journal_writer *writer; /* NULL: the digest alone */
    uint64_t appended;             /* messages before this position are in the journal, or were not to be */
    uint64_t sequence;             /* of the next frame */
    uint64_t sample_every;         /* 1: all */
    uint64_t checkpoint_at;        /* messages in the digest at which to stop */
    uint64_t retry_unix_ns;        /* no try to write before */
    uint32_t digests;
    uint32_t choices; /* what lies on the tape is choices: one frame for what is behind a head */
    uint32_t waits;
    uint32_t unkept; /* a write or a sync failed: what comes is lost to the journal */
    uint32_t flying; /* what the record says is on its way to the disk: */
    byteor_tape_record underway; /* in force when it is there */
    uint64_t ahead;   /* frames that the journal has and the record does not know */
    uint32_t gap_open; /* the last message was lost */
    uint64_t shown_tail;
} byteor_drain;

/* Go on where the record in force says. */
void byteor_drain_open(byteor_drain *d);
/* Deal with about `budget` bytes of what is there. */
int byteor_drain_step(byteor_drain *d, uint64_t budget, uint64_t unix_ns);
/* A write or a sync of its journal failed: it is never tried again, and nothing more is kept. */
void byteor_drain_fail(byteor_drain *d, int error_number);
/* SHA-256 of what is in the digest so far. */
void byteor_drain_digest(const byteor_drain *d, uint8_t out[32]);
/* Everything on the tape is given up, counted up to position `end` of the stream. */
void byteor_drain_give_up(byteor_drain *d, uint64_t end);
/* `end`: how many messages the stream had; those that never came are lost. */
void byteor_drain_end(byteor_drain *d, uint64_t end);

#endif
