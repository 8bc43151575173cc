/* stage_crc32c.c: `crc32c` writes the CRC32C of a range of the payload into it, or verifies the one
 * that it finds. */
#include "crc32c.h"
#include "stage_builtin.h"
#include "stage_config.h"

#define CRC_BYTES 4u

typedef struct crc32c_stage {
    int verify;
    int fail; /* on a mismatch: fail, else drop */
    int strip;
    int append; /* the checksum is the last four bytes of the payload */
    int big_endian;
    uint32_t offset;
    uint32_t length;
    uint32_t at;
    char error[160];
} crc32c_stage;

static inline uint32_t crc32c_order(const crc32c_stage *self, uint32_t crc) {
    return self->big_endian ? __builtin_bswap32(crc) : crc;
}

static inline uint32_t crc32c_of(const crc32c_stage *self, const uint8_t *payload,
                                 uint32_t length) {
    stage_view view = stage_range(payload, length, self->offset, self->length);
    return byteor_crc32c(0, view.data, view.bytes);
}

static int crc32c_stamp(crc32c_stage *self, byteor_batch *batch, uint32_t index,
                        byteor_slot *slot) {
    uint8_t *payload = byteor_payload(slot);
    uint32_t length = stage_length(batch, slot);
    uint32_t at = self->append ? length : self->at;
    uint32_t room = self->append ? batch->payload_max : length;
    if (at > room || room - at < CRC_BYTES) {
        (void)snprintf(self->error, sizeof self->error,
                       "no room for the checksum at byte %u: the payload has %u bytes, the slot %u",
                       at, length, batch->payload_max);
        return stage_fail(batch, index, self->error);
    }
    uint32_t crc = crc32c_order(self, crc32c_of(self, payload, length));
    memcpy(payload + at, &crc, CRC_BYTES);
    if (self->append) {
        slot->length = (uint16_t)(length + CRC_BYTES);
    }
    return BYTEOR_STAGE_OK;
}

/* 0 when the checksum is there and right; else `error` says what was wrong. */
static int crc32c_check(crc32c_stage *self, const uint8_t *payload, uint32_t length) {
    uint32_t at = self->append ? length - CRC_BYTES : self->at;
    uint32_t seen = 0;
    if (length < CRC_BYTES || at > length - CRC_BYTES) {
        (void)snprintf(self->error, sizeof self->error,
                       "the payload of %u bytes is too short to hold its checksum", length);
        return -1;
    }
    memcpy(&seen, payload + at, CRC_BYTES);
    seen = crc32c_order(self, seen);
    uint32_t wanted = crc32c_of(self, payload, self->append ? at : length);
    if (seen == wanted) {
        return 0;
    }
    if (self->fail) {
        (void)snprintf(self->error, sizeof self->error,
                       "checksum 0x%08x in the payload, 0x%08x computed over it", seen, wanted);
    }
    return -1;
}

static int crc32c_verify(crc32c_stage *self, byteor_batch *batch, uint32_t index,
                         byteor_slot *slot) {
    uint32_t length = stage_length(batch, slot);
    if (crc32c_check(self, byteor_payload(slot), length) == 0) {
        if (self->strip) {
            slot->length = (uint16_t)(length - CRC_BYTES);
        }
        return BYTEOR_STAGE_OK;
    }
    if (self->fail) {
        return stage_fail(batch, index, self->error);
    }
    byteor_drop(slot);
    return BYTEOR_STAGE_OK;
}

static int crc32c_process(void *self, byteor_batch *batch) {
    crc32c_stage *me = self;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        if (!byteor_live(slot)) {
            continue;
        }
        int outcome =
            me->verify ? crc32c_verify(me, batch, i, slot) : crc32c_stamp(me, batch, i, slot);
        if (outcome != BYTEOR_STAGE_OK) {
            return outcome;
        }
    }
    return BYTEOR_STAGE_OK;
}

/* A last message is stamped or verified like any other; one that would be dropped is emptied, since
 * the end slot stays. */
static int crc32c_end(void *self, byteor_batch *batch) {
    crc32c_stage *me = self;
    byteor_slot *slot = stage_last_message(batch);
    if (slot == NULL) {
        return BYTEOR_STAGE_OK;
    }
    if (!me->verify) {
        return crc32c_stamp(me, batch, 0, slot);
    }
    int outcome = crc32c_verify(me, batch, 0, slot);
    if ((slot->flags & BYTEOR_SLOT_DROPPED) != 0) {
        slot->flags = (uint8_t)(slot->flags & ~BYTEOR_SLOT_DROPPED);
        slot->length = 0;
    }
    return outcome;
}

static void crc32c_configure(stage_config *from, crc32c_stage *self) {
    static const char *const modes[] = {"stamp", "verify", NULL};
    static const char *const endians[] = {"little", "big", NULL};
    static const char *const mismatches[] = {"drop", "fail", NULL};
    uint32_t payload_max = from->config->payload_max;
    if (stage_config_text(from, "mode") == NULL) {
        stage_config_fail(from, "mode", NULL, "stamp or verify");
    }
    self->verify = stage_config_choice(from, "mode", 0, modes);
    self->fail = stage_config_choice(from, "on_mismatch", 0, mismatches);
    self->strip = stage_config_bool(from, "strip", 0);
    self->big_endian = stage_config_choice(from, "endian", 0, endians);
    self->offset = stage_config_u32(from, "offset", 0, 0, payload_max);
    uint32_t length = stage_config_u32(from, "length", 0, 0, payload_max);
    self->length = length == 0 ? UINT32_MAX : length;
    self->append = stage_config_text(from, "at") == NULL;
    self->at = stage_config_u32(from, "at", 0, 0, payload_max - CRC_BYTES);
    uint64_t end = (uint64_t)self->offset + self->length;
    if (!self->append && self->at < end && self->at + CRC_BYTES > self->offset) {
        stage_config_fail(from, "at", stage_config_text(from, "at"),
                          "a place outside the bytes that the checksum covers");
    }
}

static void *crc32c_create(const byteor_config *config, char *error, size_t error_bytes) {
    stage_config from = {config, error, error_bytes, 0};
    crc32c_stage *self = calloc(1, sizeof *self);
    if (self == NULL) {
        stage_config_fail(&from, "crc32c", NULL, "memory for the instance");
        return NULL;
    }
    crc32c_configure(&from, self);
    if (from.failed) {
        free(self);
        return NULL;
    }
    return self;
}

/* An appended checksum lies beyond the bytes that were in use, so no byte of the message changes.
 */
static void crc32c_declare(const void *self, byteor_stage_vtable *vtable) {
    const crc32c_stage *me = self;
    if (me->verify) {
        vtable->flags =
            (me->fail ? 0u : BYTEOR_STAGE_DROPS) | (me->strip ? BYTEOR_STAGE_RESIZES : 0u);
    } else {
        vtable->flags = me->append ? BYTEOR_STAGE_RESIZES : BYTEOR_STAGE_MUTATES;
    }
}

const byteor_builtin byteor_builtin_crc32c = {
    .vtable = {.abi = BYTEOR_STAGE_ABI,
               .struct_bytes = sizeof(byteor_stage_vtable),
               .name = "crc32c",
               .flags = BYTEOR_STAGE_MUTATES | BYTEOR_STAGE_DROPS | BYTEOR_STAGE_RESIZES,
               .create = crc32c_create,
               .process = crc32c_process,
               .end = crc32c_end,
               .destroy = free},
    .declare = crc32c_declare,
};
