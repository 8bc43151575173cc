/* layout.h: every byte of a region that two processes share. Version 1.
 *
 * A region is one file: a page of header, then its sections. All integers are little endian and naturally aligned; one
 * writer per cache line. Readers treat a region as untrusted input: region.h validates the header, and every length and
 * index that is read later is bounded before use.
 */
#ifndef BYTEOR_LAYOUT_H
#define BYTEOR_LAYOUT_H

#include <stdint.h>

#include "adapter.h"
#include "byteor_stage.h"

#define BYTEOR_LINE 64u
#define BYTEOR_PAGE 4096u
#define BYTEOR_LAYOUT_VERSION 1u
#define BYTEOR_FEATURES_KNOWN 0u /* required_features a reader of this version understands */
#define BYTEOR_MAGIC "BYTEORv\n"

#define BYTEOR_CAPACITY_MIN 8u
#define BYTEOR_CAPACITY_MAX (1u << 24)
#define BYTEOR_SLOT_BYTES_MIN 64u
#define BYTEOR_SLOT_BYTES_MAX 65536u
#define BYTEOR_CELLS_MAX 8u
#define BYTEOR_ROLES_MAX 1024u
#define BYTEOR_MEMBERS_MAX 8u   /* roles of one unit */
#define BYTEOR_POSITIONS_MAX 64u /* rings that one role works on */
#define BYTEOR_ERRORS_MAX 16u   /* distinct errors kept per role */
#define BYTEOR_NO_SEQUENCE UINT64_MAX

enum byteor_region_kind { BYTEOR_REGION_RING = 1, BYTEOR_REGION_CONTROL = 2 };
enum byteor_init { BYTEOR_INIT_NONE = 0, BYTEOR_INIT_BUSY = 1, BYTEOR_INIT_READY = 2 };

/* The run's clock: nanoseconds = base_ns + ((tsc - base_tsc) * mult >> 32), or CLOCK_MONOTONIC when mult is 0. */
typedef struct byteor_clock {
    uint64_t base_tsc;
    uint64_t base_ns;
    uint64_t mult;
    uint64_t unix_offset_ns; /* Unix time minus run clock, when the region was made */
} byteor_clock;

typedef struct byteor_region_header {
    uint8_t magic[8];
    uint32_t layout_version;
    uint32_t kind;
    uint64_t required_features;
    uint64_t total_bytes;
    uint8_t spec_sha256[32];
    char run_id[40];
    char boot_id[40];
    uint64_t epoch;
    uint64_t creator_start_ticks; /* field 22 of /proc/PID/stat */
    uint32_t creator_pid;
    uint32_t flags; /* BYTEOR_RUN_* */
    byteor_clock clock;
    /* ring: producer, cells, slots. control: run block, units, roles, areas. */
    uint64_t section[4];
    /* ring: slot_bytes, cells. control: unit_count, role_count. */
    uint32_t counts[2];
    /* ring: capacity. control: stride of a unit. */
    uint64_t size_a;
    /* ring: 0. control: stride of a role. */
    uint64_t size_b;
    uint32_t reserved;
    uint32_t header_crc32c; /* of all bytes before it */
} byteor_region_header;

#define BYTEOR_RUN_MEMBARRIER 0x1u /* parkers use membarrier, so wakers need only a load */

#define BYTEOR_INIT_OFFSET (BYTEOR_PAGE - BYTEOR_LINE) /* u32 enum byteor_init, the last line of the header page */

/* --- ring ------------------------------------------------------------------------------------------------------- */

typedef struct byteor_ring_producer {
    uint64_t cursor;  /* next sequence to publish; stored after the stamps */
    uint64_t claimed; /* no sequence at or above it has been written to; stored before the first payload store */
    uint64_t progress_ns; /* every message up to this time is published */
    uint64_t dropped[2];  /* by a client, which keeps no record: the lane was full, the message too long */
    uint8_t pad0[24];
    uint64_t end_sequence; /* of the end slot, BYTEOR_NO_SEQUENCE until there is one. Followers read it for every batch,
                            * so its line is one that nobody writes while messages flow */
    uint8_t pad1[56];
} byteor_ring_producer;

typedef struct byteor_cell {
    uint64_t sequence; /* next sequence its owner will release */
    uint8_t pad[56];
} byteor_cell;

/* --- control ---------------------------------------------------------------------------------------------------- */

enum byteor_command { BYTEOR_COMMAND_RUN = 1, BYTEOR_COMMAND_DRAIN = 2, BYTEOR_COMMAND_FINISH = 3, BYTEOR_COMMAND_STOP = 4 };

enum byteor_state {
    BYTEOR_STATE_NONE = 0,
    BYTEOR_STATE_STARTING = 1,
    BYTEOR_STATE_RUNNING = 2,
    BYTEOR_STATE_IDLE = 3,    /* nothing to work on */
    BYTEOR_STATE_BLOCKED = 4, /* no room downstream, or the outside does not take more */
    BYTEOR_STATE_ENDED = 5,
    BYTEOR_STATE_FAILED = 6,
    BYTEOR_STATE_STOPPED = 7
};

enum byteor_role_kind {
    BYTEOR_ROLE_INGRESS = 1,
    BYTEOR_ROLE_STAGE = 2,
    BYTEOR_ROLE_EGRESS = 3,
    BYTEOR_ROLE_BRIDGE = 4,
    BYTEOR_ROLE_ROUTER = 5,
    BYTEOR_ROLE_MERGE = 6
};

enum byteor_failure {
    BYTEOR_FAILURE_NONE = 0,
    BYTEOR_FAILURE_STAGE = 1,    /* the stage said so, or raised */
    BYTEOR_FAILURE_VIEWS = 2,    /* views kept past the batch */
    BYTEOR_FAILURE_NONSENSE = 3, /* a result that cannot be */
    BYTEOR_FAILURE_ADAPTER = 4,
    BYTEOR_FAILURE_HANG = 5,     /* recorded by the shim */
    BYTEOR_FAILURE_DEATH = 6,    /* recorded by the shim */
    BYTEOR_FAILURE_START = 7,    /* a role could not be loaded or opened */
    BYTEOR_FAILURE_REGION = 8,   /* a page of a region was gone when it was touched */
    BYTEOR_FAILURE_TUNING = 9,   /* recorded by the shim: the run must not begin on this host as it is */
    BYTEOR_FAILURE_DRAIN = 10,   /* recorded by the shim: it did not drain in time */
    BYTEOR_FAILURE_CAPTURE = 11  /* recorded by the shim: what must be recorded cannot be */
};

/* Line 0 is written by the daemon and the shim, line 1 by the first role that fails, line 2 by the egress. */
typedef struct byteor_run_block {
    uint64_t created_ns; /* admission, run clock */
    uint64_t ready_ns;
    uint64_t lease_until_ns; /* run clock; side effects may happen before it, 0: none. The daemon's alone; released */
    uint8_t pad0[40];
    uint32_t failed_role; /* index + 1; compare-exchanged from 0: the first failure wins */
    uint32_t failure;     /* enum byteor_failure; stored with release after the rest of the line */
    uint64_t failed_sequence;
    uint8_t failed_sha256[32]; /* of the payload; zero when no message was in hand */
    uint8_t pad1[16];
    uint64_t first_message_ns;
    uint8_t pad2[56];
} byteor_run_block;

/* What a commit makes true, all at once. Only the parts that a unit's roles can change are written. */
typedef struct byteor_member_count {
    uint64_t received;
    uint64_t dropped;
    uint64_t skipped;
} byteor_member_count;

typedef struct byteor_adapter_record {
    uint64_t position[BYTEOR_POSITION_WORDS];
    uint64_t bytes_total;
    uint64_t rejected[BYTEOR_REJECT_MAX];
} byteor_adapter_record;

typedef struct byteor_record {
    uint64_t position;        /* next sequence for the unit's stages; for an ingress, next to publish */
    uint64_t egress_position; /* next sequence for the egress in the unit */
    uint64_t time_last;       /* last ingress time given */
    uint64_t ended;           /* 0; 1: the end slot has been published (ingress) or processed (stages) */
    uint64_t state_select;    /* bit m: active state buffer of member m */
    uint64_t commits;
    byteor_member_count member[BYTEOR_MEMBERS_MAX];
    byteor_adapter_record source;
    byteor_adapter_record sink;
    uint64_t ring_position[BYTEOR_POSITIONS_MAX]; /* scatter and gather: one per ring */
} byteor_record;

/* Undo of the batch in hand. Slot entries first, then the log of touched state, both in the unit's undo area. */
typedef struct byteor_undo {
    uint64_t valid_for;   /* position + 1 of the batch it undoes; 0: none */
    uint32_t slot_count;
    uint32_t slot_stride;
    uint64_t first_sequence;
    uint64_t log_used;    /* bytes of whole log entries */
    uint8_t pad[32];
} byteor_undo;

typedef struct byteor_undo_log_entry {
    uint64_t offset; /* from the start of the control region */
    uint64_t bytes;  /* then the old bytes, padded to 8 */
} byteor_undo_log_entry;

#define BYTEOR_HISTOGRAM_BUCKETS 2112u

typedef struct byteor_histogram {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t pad[5];
    uint64_t bucket[BYTEOR_HISTOGRAM_BUCKETS];
} byteor_histogram;

typedef struct byteor_unit {
    uint32_t command; /* line 0: the shim's */
    uint32_t worker;
    uint32_t member_count;
    uint32_t member_role[BYTEOR_MEMBERS_MAX];
    uint8_t pad0[20];
    uint32_t parked; /* line 1: the doorbell; set by the unit, cleared by who wakes it */
    uint8_t pad1[60];
    uint32_t selector; /* line 2: index of the record in force */
    uint32_t pad2;
    uint64_t undo_offset; /* from the start of the region */
    uint64_t undo_bytes;
    uint64_t undo_slot_bytes; /* part of it for slot entries */
    uint8_t pad3[32];
    byteor_undo undo; /* line 3 */
    byteor_record record[2];
    byteor_histogram gaps; /* jitter.h: of the thread that begins with this unit */
} byteor_unit;

typedef struct byteor_error {
    uint32_t code; /* enum byteor_failure, or 100 + enum byteor_reject */
    uint32_t text_bytes;
    uint64_t count; /* stored with release after the rest */
    uint64_t first_sequence;
    uint64_t digest; /* of code and text: equal errors are one entry */
    uint8_t text[480];
} byteor_error;

typedef struct byteor_role {
    char name[64];
    char stage[192];
    uint32_t kind;
    uint32_t unit;
    uint32_t member;
    int32_t ring; /* -1: all */
    int32_t cell; /* -1: none */
    uint32_t depends_count;
    uint32_t depends[BYTEOR_CELLS_MAX];
    uint64_t state_offset; /* of the first buffer, from the start of the region; 0: none */
    uint64_t state_bytes;  /* of one buffer; above BYTEOR_STATE_DOUBLE_BYTES_MAX there is one, else two */
    uint8_t pad0[56];
    /* Written by the worker from here on. */
    uint32_t state;
    uint32_t pid;
    uint64_t heartbeat_ns;
    uint64_t busy_since_ns; /* 0: not in a stage */
    uint64_t busy_sequence;
    uint32_t restarts; /* the shim's, while no worker runs */
    uint32_t busy_exact; /* 1: busy_sequence is the message that the stage took last; 0: the first of its batch */
    uint8_t pad2[24];
    uint64_t received;
    uint64_t published;
    uint64_t dropped;
    uint64_t skipped;
    uint64_t batches;
    uint64_t bytes_total;
    uint64_t cycle_ns_max;
    uint64_t gathered; /* as_array calls that had to copy */
    uint64_t rejected[BYTEOR_REJECT_MAX];
    uint32_t sample_length[BYTEOR_REJECT_MAX];
    uint8_t sample[BYTEOR_REJECT_MAX][BYTEOR_SAMPLE_BYTES];
    uint8_t pad3[32];
    byteor_error error[BYTEOR_ERRORS_MAX];
    byteor_histogram service;
    byteor_histogram latency;
} byteor_role;

_Static_assert(sizeof(byteor_slot) == BYTEOR_SLOT_HEADER_BYTES, "slot header");
_Static_assert(sizeof(byteor_region_header) < BYTEOR_INIT_OFFSET, "header fits its page");
_Static_assert(sizeof(byteor_region_header) == 264, "header layout is frozen");
_Static_assert(sizeof(byteor_record) == 960, "record layout is frozen");
_Static_assert(__builtin_offsetof(byteor_role, state) == 6 * BYTEOR_LINE, "status line");
_Static_assert(sizeof(byteor_role) % BYTEOR_LINE == 0 && sizeof(byteor_unit) % BYTEOR_LINE == 0, "whole lines");
_Static_assert(sizeof(byteor_ring_producer) == 2 * BYTEOR_LINE, "producer lines");
_Static_assert(sizeof(byteor_cell) == BYTEOR_LINE, "one cell a line");
_Static_assert(sizeof(byteor_run_block) == 3 * BYTEOR_LINE, "run block lines");
_Static_assert(__builtin_offsetof(byteor_run_block, lease_until_ns) == 16, "the lease stands in the daemon's line");
_Static_assert(__builtin_offsetof(byteor_unit, parked) == BYTEOR_LINE, "doorbell line");
_Static_assert(__builtin_offsetof(byteor_unit, selector) == 2 * BYTEOR_LINE, "selector line");
_Static_assert(__builtin_offsetof(byteor_unit, undo) == 3 * BYTEOR_LINE, "undo line");
_Static_assert(__builtin_offsetof(byteor_unit, record) == 4 * BYTEOR_LINE, "records");
_Static_assert(sizeof(byteor_error) == 512, "error entry");

#endif
