/* sink_digest.h: the egress of a replay: the digest of what comes, held against what came live.
 *
 * Its area is a file that others read when the run is over, however it ended. What it lets out, if anything, goes through
 * another sink. No system call is made here. */
#ifndef BYTEOR_SINK_DIGEST_H
#define BYTEOR_SINK_DIGEST_H

#include "action_budget.h"
#include "adapter.h"
#include "frames.h"
#include "rolling.h"

#define BYTEOR_DIGEST_AREA_VERSION 1u
#define BYTEOR_DIGEST_PAYLOAD_MAX 65536u

/* How the first message that differs was found. */
enum { BYTEOR_DIVERGED_NOT = 0, BYTEOR_DIVERGED_MESSAGE = 1, BYTEOR_DIVERGED_EXTRA = 2, BYTEOR_DIVERGED_MARK = 3 };

typedef struct byteor_digest_mark {
    uint64_t count; /* after this many messages the digest ... */
    uint8_t wanted[SHA256_BYTES]; /* ... was this live, ... */
    uint8_t seen[SHA256_BYTES];   /* ... and this now */
    uint64_t reached;
} byteor_digest_mark;

typedef struct byteor_digest_area {
    uint32_t version;
    uint32_t marks;
    uint32_t next_mark;
    uint32_t diverged; /* BYTEOR_DIVERGED_*; what follows is about that message, or about the one at the mark */
    byteor_rolling rolling;
    uint64_t first_ns; /* monotonic clock at the first batch, */
    uint64_t last_ns;  /* and at the last */
    uint64_t index; /* its place among the messages of this egress, from 0 */
    uint64_t time_ns;
    uint64_t sequence;
    uint32_t length;
    uint32_t type;
    uint8_t payload[BYTEOR_DIGEST_PAYLOAD_MAX];
} byteor_digest_area; /* the marks follow */

typedef struct byteor_digest_sink {
    byteor_sink base;
    byteor_digest_area *area;
    byteor_sink *inner;   /* may be NULL */
    byteor_action_budget *budget; /* of what `inner` lets out, a message each; may be NULL */
    uint64_t actions_max;
    byteor_frames expected;
    uint8_t compares;     /* `expected` is every message that left live */
    uint8_t stops;        /* at the first difference */
} byteor_digest_sink;

static inline byteor_digest_mark *byteor_digest_marks(byteor_digest_area *area) {
    return (byteor_digest_mark *)(void *)(area + 1);
}

void byteor_digest_sink_start(byteor_digest_sink *self, byteor_digest_area *area, byteor_sink *inner);

#endif
