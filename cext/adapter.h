/* adapter.h: how the worker's loop drives an ingress (source) and an egress (sink).
 *
 * Everything that can be slow or fail to start (opening, binding, resolving, joining) happens in Python before the loop;
 * what is here runs on the hot path: it never blocks, allocates, logs or raises. A source fills claimed slots in place; a
 * sink writes the live messages of a batch. Positions make both restartable: the loop stores them in the commit record
 * and hands the committed ones back when a restarted worker opens the adapter again.
 */
#ifndef BYTEOR_ADAPTER_H
#define BYTEOR_ADAPTER_H

#include <string.h>

#include "byteor_stage.h"

#define BYTEOR_POSITION_WORDS 4
#define BYTEOR_SAMPLE_BYTES 96

enum byteor_adapter_status {
    BYTEOR_ADAPTER_READY = 0,  /* call again, now or later */
    BYTEOR_ADAPTER_WAITING = 1, /* nothing to do until wait_fd is ready (or a moment has passed) */
    BYTEOR_ADAPTER_ENDED = 2,  /* source: no more input, ever. sink: finished */
    BYTEOR_ADAPTER_FAILED = 3  /* error_number and error_text say why */
};

/* Who sets slot->time_ns of what a source gives. */
enum byteor_times {
    BYTEOR_TIMES_LOOP = 0,     /* the loop, from its clock */
    BYTEOR_TIMES_INTENDED = 1, /* the source: when it was meant to come, by the run's clock */
    BYTEOR_TIMES_REPLAYED = 2  /* the source: when it came once, by a clock that is not the run's */
};

/* Why input was not taken or needed repair. Counted exactly (part of the commit record), first sample of each kept. */
enum byteor_reject {
    BYTEOR_REJECT_OVERSIZE = 0,  /* does not fit a slot's payload; skipped whole */
    BYTEOR_REJECT_MALFORMED = 1, /* framing or format is wrong; resynchronised where the format allows */
    BYTEOR_REJECT_TRUNCATED = 2, /* input ended inside a message, or a datagram was cut */
    BYTEOR_REJECT_FILTERED = 3,  /* not what was asked for (pcap: no UDP payload); skipped, not an error */
    BYTEOR_REJECT_CORRUPT = 4,   /* a checksum did not match */
    BYTEOR_REJECT_KERNEL = 5,    /* datagrams the kernel dropped before they were read (SO_RXQ_OVFL) */
    BYTEOR_REJECT_MAX = 8
};

/* A fresh message of `bytes`: length, type 0 and no flags are one store. */
static inline void byteor_slot_begin(byteor_slot *slot, uint32_t bytes) { memcpy(&slot->length, &bytes, 4); }

typedef struct byteor_adapter_common {
    uint32_t status; /* enum byteor_adapter_status, after each call */
    int32_t wait_fd; /* -1: none. The loop may poll() it while idle */
    int16_t wait_events;
    int16_t stamps_time; /* source: enum byteor_times */
    int32_t error_number; /* errno, or 0 */
    const char *error_text; /* static or instance-owned */
    uint64_t position[BYTEOR_POSITION_WORDS]; /* after the last call; restored from the commit record before the first */
    uint64_t bytes_total;                     /* bytes read or written outside, for metrics; restored */
    uint64_t rejected[BYTEOR_REJECT_MAX];     /* restored */
    uint64_t rejects; /* of this process; grows with each change to `rejected` */
    uint32_t sample_length[BYTEOR_REJECT_MAX]; /* 0: none yet. First bytes of the first rejected input of each kind */
    uint8_t sample[BYTEOR_REJECT_MAX][BYTEOR_SAMPLE_BYTES];
} byteor_adapter_common;

/* Ingress. poll fills slots[0..n) of `batch` (count is the room) and returns n >= 0, setting length, type, flags (0) and
 * payload of each; never the stamp. After ENDED or FAILED it is not called again. */
typedef struct byteor_source {
    byteor_adapter_common common;
    int (*poll)(struct byteor_source *self, byteor_batch *batch);
} byteor_source;

/* Egress. write takes messages in order from batch slot 0 and returns how many slots it is done with (dropped ones count
 * as done; an end slot with length > 0 is a message). A slot counts as done only when its bytes have been handed to the
 * kernel: there is no buffer that a crash could lose. What is not done is presented again. finish is called after the
 * end slot is done, until status is ENDED or FAILED: flush, fsync, send the end. */
typedef struct byteor_sink {
    byteor_adapter_common common;
    int (*write)(struct byteor_sink *self, const byteor_batch *batch);
    void (*finish)(struct byteor_sink *self);
} byteor_sink;

static inline void byteor_reject(byteor_adapter_common *common, int reason, const void *data, size_t bytes) {
    if (common->sample_length[reason] == 0 && common->rejected[reason] == 0 && bytes) {
        size_t kept = bytes < BYTEOR_SAMPLE_BYTES ? bytes : BYTEOR_SAMPLE_BYTES;
        memcpy(common->sample[reason], data, kept);
        common->sample_length[reason] = (uint32_t)kept;
    }
    common->rejected[reason]++;
    common->rejects++;
}

static inline int byteor_adapter_fail(byteor_adapter_common *common, int error_number, const char *text) {
    common->status = BYTEOR_ADAPTER_FAILED;
    common->error_number = error_number;
    common->error_text = text;
    return 0;
}

#endif
