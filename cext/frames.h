/* frames.h: the frames of segments that lie in memory, one after the other, whoever wrote them. Nothing is written. */
#ifndef BYTEOR_FRAMES_H
#define BYTEOR_FRAMES_H

#include "journal.h"

typedef struct byteor_segment_view {
    const uint8_t *base;
    uint64_t bytes;
    uint64_t id;
} byteor_segment_view;

typedef struct byteor_frames {
    const byteor_segment_view *segment;
    uint32_t segments;
    uint32_t at;     /* segment that is being read */
    uint64_t offset; /* of the next frame in it */
    uint64_t next;   /* sequence of that frame */
} byteor_frames;

static inline void byteor_frames_begin(byteor_frames *f, const byteor_segment_view *segment, uint32_t segments) {
    f->segment = segment;
    f->segments = segments;
    f->at = 0;
    f->offset = sizeof(byteor_journal_header);
    f->next = segments ? segment[0].id : 0;
}

/* The next whole frame, or NULL: there is none, or it does not follow the one before. */
static inline const byteor_journal_frame *byteor_frames_peek(byteor_frames *f) {
    while (f->at < f->segments) {
        const byteor_segment_view *s = &f->segment[f->at];
        const byteor_journal_frame *frame = byteor_journal_at(s->base, s->bytes, f->offset, s->id);
        if (frame != NULL) return frame->sequence == f->next ? frame : NULL;
        if (f->at + 1 == f->segments || f->segment[f->at + 1].id != f->next) return NULL;
        f->at++;
        f->offset = sizeof(byteor_journal_header);
    }
    return NULL;
}

static inline void byteor_frames_take(byteor_frames *f, const byteor_journal_frame *frame) {
    f->offset += byteor_journal_frame_bytes(frame->length - 1u);
    f->next++;
}

/* Go on to the frame of a sequence; 0 where it is not there. */
static inline int byteor_frames_seek(byteor_frames *f, uint64_t sequence) {
    const byteor_journal_frame *frame;
    while (f->at + 1 < f->segments && f->segment[f->at + 1].id <= sequence) {
        f->at++;
        f->offset = sizeof(byteor_journal_header);
        f->next = f->segment[f->at].id;
    }
    while (f->next < sequence && (frame = byteor_frames_peek(f)) != NULL) byteor_frames_take(f, frame);
    return f->next == sequence;
}

#endif
