/* byteor_stage.h: the public C ABI of a stage.
 *
 * A shared library exports one object of type byteor_stage_vtable; a spec names it as
 * `cabi:library.so:symbol`. Built-in stages use the same ABI, so it can do all that they do. Plain
 * C11, no other header of byteor is needed.
 *
 * Calls: state_bytes (optional) -> create -> process ... process -> end (once, on the end-of-input
 * slot) -> destroy. All calls for one instance come from one thread. process and end are on the hot
 * path: no allocation, no lock, no log, no system call. Messages are read and changed in place, in
 * the slot of the ring.
 */
#ifndef BYTEOR_STAGE_H
#define BYTEOR_STAGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BYTEOR_STAGE_ABI 1u

/* Flags of a slot. The low nibble says what became of the message, the high one what it is. */
#define BYTEOR_SLOT_DROPPED 0x01u /* not live any more: later stages and the egress pass it over */
#define BYTEOR_SLOT_END 0x10u     /* end of a finite input; empty, or a stage's last message */

/* One slot. `stamp` belongs to the ring: a stage never touches it. Times are nanoseconds of the
 * run's clock. */
typedef struct byteor_slot {
    uint32_t stamp;
    uint16_t length;  /* payload bytes in use */
    uint8_t type;     /* free for the application; adapters write 0 */
    uint8_t flags;    /* BYTEOR_SLOT_* */
    uint64_t time_ns; /* ingress time, strictly increasing per ingress */
} byteor_slot;        /* 16 bytes; the payload follows */

#define BYTEOR_SLOT_HEADER_BYTES 16u

/* Outcome of process and end. */
enum {
    BYTEOR_STAGE_OK = 0,
    BYTEOR_STAGE_ERROR = -1 /* batch->error_index and batch->error_text say where and why; nothing
                               of the batch is kept */
};

/* What a stage declares of itself; the loop holds it to that. */
#define BYTEOR_STAGE_MUTATES 0x01u /* writes payload bytes */
#define BYTEOR_STAGE_DROPS 0x02u   /* may drop messages */
#define BYTEOR_STAGE_RESIZES 0x04u /* may change length or type */

#define BYTEOR_STATE_DOUBLE_BYTES_MAX 4096u /* up to here state is double-buffered: write it freely */

/* A contiguous run of slots. Dropped messages are still in it: look at the flags, or use
 * byteor_live(). */
typedef struct byteor_batch {
    uint32_t abi;            /* BYTEOR_STAGE_ABI */
    uint32_t count;          /* slots in this batch */
    uint32_t slot_bytes;     /* distance between slots */
    uint32_t payload_max;    /* most bytes a payload can have */
    uint64_t first_sequence; /* sequence of slot 0 */
    uint8_t *slots;
    void *state; /* state area in shared memory, survives a crash; NULL when the stage keeps none */
    uint64_t state_bytes;
    uint64_t now_ns;     /* the run's clock, read once for the batch */
    void *touch_context; /* for byteor_touch() only */
    int (*touch)(void *touch_context, void *address, uint32_t bytes);
    uint32_t error_index; /* set with BYTEOR_STAGE_ERROR: index of the message at fault */
    uint32_t features;    /* BYTEOR_BATCH_*: which of the later members are there */
    const char *error_text; /* set with BYTEOR_STAGE_ERROR: static or instance-owned text */
    void *emit_context;     /* for byteor_emit() only, with BYTEOR_BATCH_EMITS */
    int (*emit)(void *emit_context, uint32_t index, const void *data, uint32_t bytes);
} byteor_batch;

#define BYTEOR_BATCH_EMITS 0x01u /* in a LaneGraph: a message may become several */

static inline byteor_slot *byteor_slot_at(const byteor_batch *batch, uint32_t index) {
    return (byteor_slot *)(void *)(batch->slots + (size_t)index * batch->slot_bytes);
}

static inline uint8_t *byteor_payload(byteor_slot *slot) {
    return (uint8_t *)slot + BYTEOR_SLOT_HEADER_BYTES;
}

/* A message that process has to look at: neither dropped nor the end slot. */
static inline int byteor_live(const byteor_slot *slot) {
    return (slot->flags & (BYTEOR_SLOT_DROPPED | BYTEOR_SLOT_END)) == 0;
}

static inline void byteor_drop(byteor_slot *slot) {
    slot->flags = (uint8_t)(slot->flags | BYTEOR_SLOT_DROPPED);
}

/* Call before each change to state larger than BYTEOR_STATE_DOUBLE_BYTES_MAX: the old bytes go to
 * the undo log, so that an uncommitted batch can be taken back. At most `touch_bytes_max` bytes per
 * message, as declared. 0, or -1 when over it. */
static inline int byteor_touch(byteor_batch *batch, void *address, uint32_t bytes) {
    return batch->touch ? batch->touch(batch->touch_context, address, bytes) : 0;
}

/* Send one more message after message `index` of the batch, with its type and time. In order of
 * index, and no more of one input than the role's `outputs_max` less one. 0, or -1: not in a
 * LaneGraph, out of order, too long, or too many. What was emitted goes with the batch: a dropped
 * input keeps its further outputs. In `end`, with index 0, it comes after the last message. */
static inline int byteor_emit(byteor_batch *batch, uint32_t index, const void *data,
                              uint32_t bytes) {
    if (!(batch->features & BYTEOR_BATCH_EMITS)) return -1;
    return batch->emit(batch->emit_context, index, data, bytes);
}

/* Configuration of the stage: the keys of its `config` table in canonical text (integers decimal,
 * booleans true/false, nested keys dotted, arrays by index), sorted by key. */
typedef struct byteor_config_item {
    const char *key;
    const char *value;
} byteor_config_item;

typedef struct byteor_config {
    const byteor_config_item *items;
    size_t count;
    uint32_t payload_max; /* of the ring the stage will work on */
    uint32_t features;    /* BYTEOR_CONFIG_*: which of the later members are there */
    uint64_t seed;        /* with BYTEOR_CONFIG_SEED: of this stage in this run; use byteor_seed() */
} byteor_config;

#define BYTEOR_CONFIG_SEED 0x01u

/* Where whatever is drawn at random has to come from, so that a replay draws the same: another one
 * for each stage, shard and run, unless the deployment fixes it. An instance that is made anew after
 * a crash gets the same again: keep in `state` how far it was drawn from. 0 from a byteor that gives
 * none. */
static inline uint64_t byteor_seed(const byteor_config *config) {
    return config->features & BYTEOR_CONFIG_SEED ? config->seed : 0;
}

typedef struct byteor_stage_vtable {
    uint32_t abi;          /* BYTEOR_STAGE_ABI */
    uint32_t struct_bytes; /* sizeof(byteor_stage_vtable) as the library was compiled */
    const char *name;
    uint32_t flags;           /* BYTEOR_STAGE_MUTATES | _DROPS | _RESIZES */
    uint32_t touch_bytes_max; /* most state bytes touched for one message; 0 with double-buffered
                                 state */
    /* Bytes of state wanted, 0 for none; UINT64_MAX with a message in `error` for a bad
     * configuration. May be NULL. */
    uint64_t (*state_bytes)(const byteor_config *config, char *error, size_t error_bytes);
    /* New instance, or NULL with a message in `error`. State starts zeroed; after a crash it holds
     * what was committed. */
    void *(*create)(const byteor_config *config, char *error, size_t error_bytes);
    int (*process)(void *self, byteor_batch *batch);
    /* The batch holds just the end slot. A last message may be left in it (length, payload), and in
     * a LaneGraph more may be emitted. May be NULL. */
    int (*end)(void *self, byteor_batch *batch);
    void (*destroy)(void *self); /* may be NULL */
} byteor_stage_vtable;

#ifdef __cplusplus
}
#endif
#endif
