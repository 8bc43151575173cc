/* journal.h: the format of a journal's segments, and the memory that its writer shares with its readers.
 *
 * A segment is a file of fixed size: a header, then frames, each padded to 8 bytes; zero where nothing is yet. A frame's
 * checksum covers its header, its payload and the segment's id, so that a frame left over from elsewhere never fits. The
 * index is a ring region of which only the producer's words are used: the cursor says which frames are committed, so a
 * reader never sees half a frame. */
#ifndef BYTEOR_JOURNAL_H
#define BYTEOR_JOURNAL_H

#include <stddef.h>
#include <string.h>

#include "atomics.h"
#include "crc32c.h"
#include "layout.h"

#define BYTEOR_JOURNAL_MAGIC "BYTEORj\n"
#define BYTEOR_JOURNAL_VERSION 1u

typedef struct byteor_journal_header {
    uint8_t magic[8];
    uint32_t version;
    uint32_t header_crc32c; /* of the whole header, this word zero */
    uint64_t segment;       /* its id: sequence of its first frame */
    uint64_t segment_bytes;
    uint64_t created_unix_ns;
    uint8_t pad[24];
} byteor_journal_header;

typedef struct byteor_journal_frame {
    uint32_t length; /* of the payload, plus 1: 0 is the end of what is written */
    uint8_t type;
    uint8_t pad[3];
    uint64_t sequence;
    uint64_t rx_sequence; /* position of its writer's input once it is taken */
    uint64_t time_ns;
    uint64_t unix_ns; /* when it was written: what retention by age goes by */
    uint32_t reserved;
    uint32_t crc32c; /* last, so that all before it is covered */
} byteor_journal_frame;

_Static_assert(sizeof(byteor_journal_header) == 64, "segment header");
_Static_assert(sizeof(byteor_journal_frame) == 48, "frame header");

static inline uint64_t byteor_journal_frame_bytes(uint32_t payload) {
    return (sizeof(byteor_journal_frame) + (uint64_t)payload + 7u) & ~(uint64_t)7u;
}

#if defined(__x86_64__) && defined(__GNUC__)
/* In one function: three calls cost as much as the checksum of a short message. */
__attribute__((target("sse4.2,pclmul"))) static inline uint32_t byteor_journal_crc_pclmul(const byteor_journal_frame *frame, const void *payload,
                                                                                          uint32_t length, uint64_t segment) {
    uint64_t wide = byteor_crc32c_raw_sse42(UINT32_MAX, frame, offsetof(byteor_journal_frame, crc32c));
    wide = byteor_crc32c_raw_pclmul(wide, payload, length);
    return ~(uint32_t)byteor_crc32c_raw_sse42(wide, &segment, sizeof segment);
}
#endif

static inline uint32_t byteor_journal_crc(const byteor_journal_frame *frame, const void *payload, uint32_t length, uint64_t segment) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.2"))
        return byteor_journal_crc_pclmul(frame, payload, length, segment);
#endif
    uint32_t crc = byteor_crc32c(0, frame, offsetof(byteor_journal_frame, crc32c));
    crc = byteor_crc32c(crc, payload, length);
    return byteor_crc32c(crc, &segment, sizeof segment);
}

/* The same of a frame that was just filled in, field by field: read in wider pieces than it was written in, it would have to
 * wait until all that this process wrote before has left for its caches. */
#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("sse4.2,pclmul"))) static inline uint32_t byteor_journal_crc_filled_pclmul(const byteor_journal_frame *frame, const void *payload,
                                                                                                 uint32_t length, uint64_t segment) {
    uint64_t wide = __builtin_ia32_crc32di(UINT32_MAX, (uint64_t)frame->length | (uint64_t)frame->type << 32);
    wide = __builtin_ia32_crc32di(wide, frame->sequence);
    wide = __builtin_ia32_crc32di(wide, frame->rx_sequence);
    wide = __builtin_ia32_crc32di(wide, frame->time_ns);
    wide = __builtin_ia32_crc32di(wide, frame->unix_ns);
    wide = byteor_crc32c_raw_pclmul(__builtin_ia32_crc32si((uint32_t)wide, 0), payload, length);
    return ~(uint32_t)__builtin_ia32_crc32di(wide, segment);
}
#endif

static inline uint32_t byteor_journal_crc_filled(const byteor_journal_frame *frame, const void *payload, uint32_t length, uint64_t segment) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.2"))
        return byteor_journal_crc_filled_pclmul(frame, payload, length, segment);
#endif
    return byteor_journal_crc(frame, payload, length, segment);
}

static inline uint32_t byteor_journal_header_crc(byteor_journal_header header) {
    header.header_crc32c = 0;
    return byteor_crc32c(0, &header, sizeof header);
}

/* The whole frame at `offset`, or NULL: nothing there, or not whole. */
static inline const byteor_journal_frame *byteor_journal_at(const uint8_t *base, uint64_t bytes, uint64_t offset, uint64_t segment) {
    if (offset > bytes || bytes - offset < sizeof(byteor_journal_frame)) return NULL;
    const byteor_journal_frame *frame = (const byteor_journal_frame *)(const void *)(base + offset);
    if (frame->length == 0 || frame->length - 1u > BYTEOR_SLOT_BYTES_MAX) return NULL;
    uint32_t length = frame->length - 1u;
    if (byteor_journal_frame_bytes(length) > bytes - offset) return NULL;
    return byteor_journal_crc(frame, frame + 1, length, segment) == frame->crc32c ? frame : NULL;
}

/* What a scan of a segment found. */
typedef struct byteor_journal_scan {
    uint64_t frames;
    uint64_t next_sequence;
    uint64_t end_offset;  /* behind the last whole frame */
    uint64_t good_behind; /* offset of a whole frame behind a bad one: corruption; 0: none */
    uint64_t last_unix_ns;
    uint64_t last_rx_sequence;
} byteor_journal_scan;

/* Walk the frames from the header on. A bad one with nothing good behind it is a torn tail. */
static inline byteor_journal_scan byteor_journal_walk(const uint8_t *base, uint64_t bytes, uint64_t segment) {
    byteor_journal_scan scan = {.next_sequence = segment, .end_offset = sizeof(byteor_journal_header)};
    for (;;) {
        const byteor_journal_frame *frame = byteor_journal_at(base, bytes, scan.end_offset, segment);
        if (frame == NULL || frame->sequence != scan.next_sequence) break;
        scan.frames++;
        scan.next_sequence++;
        scan.last_unix_ns = frame->unix_ns;
        scan.last_rx_sequence = frame->rx_sequence;
        scan.end_offset += byteor_journal_frame_bytes(frame->length - 1u);
    }
    for (uint64_t at = scan.end_offset + 8u; at < bytes && scan.good_behind == 0; at += 8u) {
        const byteor_journal_frame *frame = byteor_journal_at(base, bytes, at, segment);
        if (frame != NULL && frame->sequence > scan.next_sequence) scan.good_behind = at;
    }
    return scan;
}

enum byteor_journal_sync { BYTEOR_SYNC_NONE = 0, BYTEOR_SYNC_INTERVAL = 1, BYTEOR_SYNC_EVERY_BATCH = 2 };

#define BYTEOR_JOURNAL_SEGMENTS_MAX 4096u
#define BYTEOR_JOURNAL_STRETCH (256u << 10) /* pages are made ready this many bytes at a time */
#define BYTEOR_JOURNAL_BEHIND 64u /* full segments that wait for their sync */
#define BYTEOR_JOURNAL_STAGE (2u << 20)
#define BYTEOR_JOURNAL_BLOCK 4096u /* of files and memory, for writes past the page cache */
#define BYTEOR_JOURNAL_SEEN 1024u /* bounds the batch of a reader */

/* The writer, in its worker. `segments` are the ids that are there, oldest first. */
typedef struct byteor_journal_writer {
    char directory[512];
    int directory_fd;
    int fd;
    uint8_t *map;
    uint64_t segment, segment_bytes, offset;
    uint64_t ready; /* pages below it are in memory and mapped */
    uint8_t *stage; /* BYTEOR_JOURNAL_STAGE bytes of whole blocks, what lies from `stage_at` on; NULL: frames go into the map */
    uint64_t stage_at; /* offset in the segment, of a block */
    uint32_t staged; /* bytes before `offset` that byteor_journal_put is to write */
    int direct_fd; /* of the segment, past the page cache; -1: not there */
    uint32_t unwritten; /* what was staged could not be written */
    uint8_t *spare; /* as large as the stage: from it a piece is written while the stage fills; NULL: all is written at once */
    uint64_t aio; /* the kernel's context for that; 0: not asked for yet */
    uint64_t flying, flying_from, flying_begin; /* bytes under way, 0: none; where they go; `offset` before what is in them */
    uint64_t flying_frames, flying_payload;
    uint64_t unput_frames, unput_payload; /* appended, and not known to be the kernel's */
    uint32_t behind_count;
    int behind[BYTEOR_JOURNAL_BEHIND]; /* of a staged one with an interval: who keeps to the interval takes and syncs them */
    uint64_t base; /* sequence of the run's first frame */
    uint64_t retention_bytes, retention_ns, sync_interval_ns, synced_ns;
    uint64_t retention_frames; /* this many stay at least, in segments that are full; 0: no bound */
    uint64_t id[BYTEOR_JOURNAL_SEGMENTS_MAX];
    uint64_t last_unix_ns[BYTEOR_JOURNAL_SEGMENTS_MAX];
    uint32_t segments;
    uint32_t sync, dirty, durable;
    uint32_t unsure; /* a sync failed: what was written may be lost, and a second one would not say so */
    int error_number;
    char error_text[640];
} byteor_journal_writer;

/* A reader, in its worker. It holds one segment; what retention took before it got there it has missed. */
typedef struct byteor_journal_reader {
    char directory[512];
    int directory_fd;
    uint8_t *map;
    uint64_t segment, segment_bytes, offset;
    uint64_t next; /* sequence of the frame at `offset` */
    uint64_t seen_sequence[BYTEOR_JOURNAL_SEEN]; /* plus 1; where frames of this segment lie that may be asked for again */
    uint64_t seen_offset[BYTEOR_JOURNAL_SEEN];
} byteor_journal_reader;

/* Go on at `offset` of segment `segment`: everything behind it is cut. -1 with the error noted. */
int byteor_journal_resume(byteor_journal_writer *w, uint64_t segment, uint64_t offset);
/* Append one frame; a full segment is followed by the next. -1 with the error noted: nothing more can be written. */
int byteor_journal_append(byteor_journal_writer *w, uint64_t sequence, uint64_t rx_sequence, const byteor_slot *slot, uint64_t unix_ns);
/* Of a staged writer: hand what is staged to the kernel, and with every_batch have it synced. -1 with the error noted and
 * `unsure`: nothing may follow what was staged, which is lost if it is `unwritten`, and else may be. */
int byteor_journal_put(byteor_journal_writer *w);
/* Begin to do so, and let it go on beside what is appended next: 1, it is under way; else as byteor_journal_put. */
int byteor_journal_start(byteor_journal_writer *w);
/* Wait for what is under way. -1 as byteor_journal_put: then what was staged since is lost too. */
int byteor_journal_settle(byteor_journal_writer *w);
/* Before the commit: as durable as the policy wants. -1 with the error noted: never tried again. */
int byteor_journal_flush(byteor_journal_writer *w, uint64_t now_ns);
/* After the commit: let the oldest segments go. */
void byteor_journal_retain(byteor_journal_writer *w, uint64_t unix_ns);
void byteor_journal_close(byteor_journal_writer *w);

/* The frame of absolute sequence `sequence`, which is committed, or NULL: it has gone, and *first is the oldest there is. */
const byteor_journal_frame *byteor_journal_find(byteor_journal_reader *r, uint64_t sequence, uint64_t *first);
void byteor_journal_reader_close(byteor_journal_reader *r);

#endif
