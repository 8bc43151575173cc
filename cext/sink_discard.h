/* sink_discard.h: the egress that keeps nothing, but can prove what came. Position word 0: next sequence wanted. */
#ifndef BYTEOR_SINK_DISCARD_H
#define BYTEOR_SINK_DISCARD_H

#include "adapter.h"

typedef struct byteor_discard_sink {
    byteor_sink base;
    uint8_t verify; /* messages are the generator's `checksummed`, all of them, in order */
    char text[256]; /* instance-owned error text */
} byteor_discard_sink;

byteor_discard_sink *byteor_discard_sink_new(int verify);

#endif
