/* guard_chain.c: views of messages through the rules of several data protection stages. */
#include "guard_chain.h"

#include "journal.h"

void guard_chain_free(guard_chain *self) {
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->count; i++) {
        guard_free(self->stage[i]);
    }
    free(self);
}

/* Which stages know the message as it is: a rule of one may take away what another tells it by.
 * -1: it must not be seen. A fixed row of another length is a message of another type. */
static int guard_chain_known(guard_chain *self, guard_slice payload, uint32_t *known) {
    uint32_t unreadable = 0;
    uint32_t read = 0;
    *known = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        guard_slice left;
        uint32_t format = 1u << self->stage[i]->format;
        switch (guard_pass(self->stage[i], payload, &left)) {
        case GUARD_PASSED:
            *known |= 1u << i;
            read |= format;
            break;
        case GUARD_UNKNOWN:
            break;
        case GUARD_UNREADABLE:
            unreadable |= self->stage[i]->format == GUARD_FIXED ? 0 : format;
            break;
        default:
            return -1;
        }
    }
    return *known == 0 || (unreadable & read) != 0 ? -1 : 0;
}

static int guard_chain_apply(guard_chain *self, guard_slice payload, guard_slice *left) {
    uint32_t known = 0;
    *left = payload;
    if (self->count == 1) {
        return guard_pass(self->stage[0], payload, left) == GUARD_PASSED;
    }
    if (guard_chain_known(self, payload, &known) != 0) {
        return 0;
    }
    for (uint32_t i = 0; i < self->count; i++) {
        guard_slice before = *left;
        if ((known >> i & 1) && guard_pass(self->stage[i], before, left) != GUARD_PASSED) {
            return 0;
        }
    }
    return 1;
}

int guard_chain_pass(guard_chain *self, guard_slice payload, guard_slice *left) {
    int passed = guard_chain_apply(self, payload, left);
    self->messages++;
    if (!passed) {
        self->withheld++;
        left->bytes = 0;
        return 0;
    }
    self->changed += left->data != payload.data;
    return 1;
}

uint64_t guard_chain_frames(guard_chain *self, const uint8_t *data, uint64_t *reached, uint64_t end,
                            uint64_t sealed, uint8_t *out, uint64_t room) {
    const byteor_journal_header *header = (const void *)data;
    uint64_t used = 0;
    const byteor_journal_frame *frame;
    while (*reached < end &&
           (frame = byteor_journal_at(data, end, *reached, header->segment)) != NULL &&
           byteor_journal_frame_bytes(BYTEOR_SLOT_BYTES_MAX) <= room - used) {
        guard_slice payload = {(const uint8_t *)(frame + 1), frame->length - 1u};
        guard_slice left;
        (void)guard_chain_pass(self, payload, &left);
        uint64_t bytes = byteor_journal_frame_bytes(left.bytes);
        byteor_journal_frame made = *frame;
        made.length = left.bytes + 1u;
        made.crc32c = byteor_journal_crc(&made, left.data, left.bytes, sealed);
        memset(out + used, 0, bytes);
        memcpy(out + used, &made, sizeof made);
        memcpy(out + used + sizeof made, left.data, left.bytes);
        used += bytes;
        *reached += byteor_journal_frame_bytes(payload.bytes);
    }
    return used;
}
