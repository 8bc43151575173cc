/* stages_fuzz.c: every built-in stage over random batches and damaged state, for a build with
 * sanitizers: whatever lies in ring and state, no stage reads or writes outside them.
 *
 *   stages_fuzz ROUNDS SEED
 */
#include <stdio.h>
#include <stdlib.h>

#include "crc32c.h"
#include "stage_builtin.h"
#include "stage_function.h"

#define SLOT_BYTES 64u
#define PAYLOAD_MAX (SLOT_BYTES - BYTEOR_SLOT_HEADER_BYTES)
#define BATCH_MAX 40u
#define ITEMS_MAX 12u

typedef struct fuzz_case {
    const char *stage;
    byteor_config_item items[ITEMS_MAX];
} fuzz_case;

static const fuzz_case cases[] = {
    {"identity", {{0}}},
    {"filter", {{"offset", "3"}, {"value", "-2"}, {"signed", "true"}, {"width", "8"}}},
    {"filter", {{"values.0", "1"}, {"values.1", "9"}, {"offset", "47"}}},
    {"filter", {{"contains", "aba"}}},
    {"filter", {{"contains", "a"}, {"invert", "true"}}},
    {"filter", {{"equals", "hex:6162"}, {"offset", "46"}}},
    {"select", {{"ranges.0.offset", "2"}, {"ranges.0.length", "5"}, {"ranges.1.offset", "40"}}},
    {"sample", {{"every", "3"}}},
    {"sample", {{"fraction", "0.5"}, {"by", "content"}, {"offset", "45"}}},
    {"rate_limit", {{"rate", "7"}, {"burst", "3"}}},
    {"crc32c", {{"mode", "stamp"}, {"at", "44"}, {"length", "40"}}},
    {"crc32c", {{"mode", "stamp"}}},
    {"crc32c", {{"mode", "verify"}, {"strip", "true"}}},
    {"crc32c", {{"mode", "verify"}, {"at", "0"}, {"offset", "4"}, {"on_mismatch", "fail"}}},
    {"dedupe", {{"length", "3"}, {"window", "5"}}},
    {"dedupe", {{"window", "300"}, {"offset", "1"}}},
    {"count", {{"length", "2"}, {"keys_max", "4"}, {"forward", "true"}}},
    {"count", {{"length", "0"}, {"keys_max", "200"}}},
    {"count", {{"length", "8"}, {"format", "integer"}, {"signed", "true"}}},
    {"count", {{0}}},
    {"dataguard_fused",
     {{"format", "json"}, {"on_reject", "drop"}, {"message_type", "t"}, {"version", "1"},
      {"rules.0.field", "a"}, {"rules.0.action", "mask"}, {"rules.0.text", "*"},
      {"rules.0.prefix", "1"}, {"schemas.0.message_type", "t"}, {"schemas.0.additional", "true"},
      {"schemas.0.fields.0.name", "a"}}},
    {"dataguard_redact",
     {{"format", "msgpack"}, {"on_reject", "drop"}, {"message_type", "t"}, {"version", "1"},
      {"rules.0.field", "a"}, {"rules.0.action", "hash"}, {"hash_key", "00ff"},
      {"schemas.0.message_type", "t"}, {"schemas.0.additional", "true"},
      {"schemas.0.fields.0.name", "a"}}},
    {"dataguard_redact",
     {{"format", "fixed"}, {"on_reject", "drop"}, {"message_type", "t"}, {"version", "1"},
      {"rules.0.field", "a"}, {"rules.0.action", "truncate"}, {"rules.0.length", "3"},
      {"schemas.0.message_type", "t"}, {"schemas.0.fields.0.name", "a"},
      {"schemas.0.fields.0.type", "string"}, {"schemas.0.fields.0.bytes", "20"}}},
};

static uint64_t random_state;

static uint32_t random_below(uint32_t bound) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % bound;
}

static const byteor_builtin *find_builtin(const char *name) {
    for (size_t i = 0; byteor_builtins[i] != NULL; i++) {
        if (strcmp(byteor_builtins[i]->vtable.name, name) == 0) {
            return byteor_builtins[i];
        }
    }
    return NULL;
}

/* The beginning of a message in JSON or MessagePack, then what such messages are made of. */
static void fill_message(uint8_t *payload) {
    static const char parts[] = "{}[]:,\"\\u12e-.tfn \x81\xa1\xa2\xd9\xdc\xdf\xc4\xc7\xcb\xd3\x93\x05";
    const char *first = random_below(2) ? "{\"a\":\"" : "\x82\xa1" "a";
    size_t bytes = strlen(first);
    for (uint32_t k = 0; k < PAYLOAD_MAX; k++) {
        payload[k] = k < bytes ? (uint8_t)first[k]
                               : (uint8_t)parts[random_below((uint32_t)sizeof parts - 1)];
    }
}

/* Lengths beyond the payload and any flags: what a damaged ring could hold. */
static void fill_slots(byteor_batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        slot->length = (uint16_t)(random_below(20) == 0 ? random_below(65536) : random_below(49));
        slot->flags = (uint8_t)(random_below(4) == 0 ? random_below(256) : 0);
        slot->time_ns = random_below(1000000000);
        for (uint32_t k = 0; k < PAYLOAD_MAX; k++) {
            byteor_payload(slot)[k] = (uint8_t)("ab\xff"[random_below(3)]);
        }
        if (random_below(2) == 0) {
            fill_message(byteor_payload(slot));
        }
    }
}

static int check_lengths(const byteor_batch *batch, const byteor_slot *before) {
    for (uint32_t i = 0; i < batch->count; i++) {
        const byteor_slot *slot = byteor_slot_at(batch, i);
        if (slot->length > PAYLOAD_MAX && slot->length != before[i].length) {
            (void)fprintf(stderr, "slot %u got a length of %u\n", i, slot->length);
            return -1;
        }
    }
    return 0;
}

static int drive_once(const byteor_stage_vtable *vtable, void *self, uint8_t *state,
                      uint64_t state_bytes) {
    byteor_slot before[BATCH_MAX];
    byteor_batch batch = {.abi = BYTEOR_STAGE_ABI,
                          .count = 1 + random_below(BATCH_MAX),
                          .slot_bytes = SLOT_BYTES,
                          .payload_max = PAYLOAD_MAX,
                          .first_sequence = random_below(1000),
                          .state = state,
                          .state_bytes = state_bytes};
    batch.slots = calloc(batch.count, SLOT_BYTES);
    if (batch.slots == NULL) {
        return -1;
    }
    fill_slots(&batch);
    for (uint32_t i = 0; i < batch.count; i++) {
        before[i] = *byteor_slot_at(&batch, i);
    }
    int outcome = vtable->process(self, &batch);
    int bad =
        (outcome != BYTEOR_STAGE_OK && batch.error_text == NULL) || check_lengths(&batch, before);
    batch.count = 1;
    byteor_slot_at(&batch, 0)->flags = BYTEOR_SLOT_END;
    if (vtable->end != NULL && random_below(3) == 0) {
        outcome = vtable->end(self, &batch);
        bad |= outcome == BYTEOR_STAGE_OK && byteor_slot_at(&batch, 0)->flags != BYTEOR_SLOT_END;
    }
    free(batch.slots);
    return bad ? -1 : 0;
}

static int fuzz_case_rounds(const fuzz_case *one, uint32_t rounds) {
    const byteor_stage_vtable *vtable = &find_builtin(one->stage)->vtable;
    byteor_config config = {.items = one->items, .payload_max = PAYLOAD_MAX};
    char error[200] = "";
    while (config.count < ITEMS_MAX && one->items[config.count].key != NULL) {
        config.count++;
    }
    void *self = vtable->create(&config, error, sizeof error);
    uint64_t state_bytes =
        vtable->state_bytes != NULL ? vtable->state_bytes(&config, error, sizeof error) : 0;
    uint8_t *state = state_bytes > 0 ? calloc(1, state_bytes) : NULL;
    int bad = self == NULL || state_bytes == UINT64_MAX;
    for (uint32_t i = 0; i < rounds && !bad; i++) {
        if (state != NULL && random_below(5) == 0) {
            state[random_below((uint32_t)state_bytes)] = (uint8_t)random_below(256);
        }
        bad = drive_once(vtable, self, state, state_bytes) != 0;
    }
    if (bad) {
        (void)fprintf(stderr, "stage %s (%s) misbehaved: %s\n", one->stage,
                      one->items[0].key ? one->items[0].key : "no keys", error);
    }
    if (vtable->destroy != NULL && self != NULL) {
        vtable->destroy(self);
    }
    free(state);
    return bad;
}

/* Configurations that must be refused, with a message and without a leak. */
static int refuse_bad_configs(void) {
    static const fuzz_case wrong[] = {
        {"filter", {{0}}},
        {"filter", {{"value", "300"}}},
        {"filter", {{"contains", "hex:0"}}},
        {"select", {{"ranges.0.offset", "3"}, {"ranges.1.offset", "2"}}},
        {"sample", {{"fraction", "2"}}},
        {"rate_limit", {{"rate", "99999999999999999999"}}},
        {"crc32c", {{"mode", "stamp"}, {"at", "4"}}},
        {"dedupe", {{"window", "-1"}}},
        {"count", {{"length", "3"}, {"format", "integer"}}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        byteor_config config = {.items = wrong[i].items, .payload_max = PAYLOAD_MAX};
        char error[200] = "";
        while (config.count < ITEMS_MAX && wrong[i].items[config.count].key != NULL) {
            config.count++;
        }
        if (find_builtin(wrong[i].stage)->vtable.create(&config, error, sizeof error) != NULL ||
            error[0] == '\0') {
            (void)fprintf(stderr, "stage %s took wrong configuration %zu\n", wrong[i].stage, i);
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000;
    random_state = (argc > 2 ? strtoull(argv[2], NULL, 10) : 1) * 2 + 1;
    int bad = refuse_bad_configs();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bad |= fuzz_case_rounds(&cases[i], rounds);
    }
    return bad;
}
