/* source_generator.h: messages made up on the spot, as fast as possible or at a rate. Position word 0: next sequence. */
#ifndef BYTEOR_SOURCE_GENERATOR_H
#define BYTEOR_SOURCE_GENERATOR_H

#include "adapter.h"
#include "generated.h"

typedef struct byteor_generator_options {
    uint32_t content; /* enum byteor_content */
    uint32_t size;    /* bytes of a message; text and trades have their own */
    uint32_t size_max; /* above `size`: sizes vary between the two */
    uint32_t at_once;  /* messages of one poll, 0: as many as there is room for */
    uint64_t count;   /* 0: endless */
    uint64_t rate;    /* messages a second, 0: as fast as possible */
    uint64_t seed;
} byteor_generator_options;

typedef struct byteor_generator_source {
    byteor_source base;
    byteor_generator_options options;
    uint64_t end;            /* messages in all */
    uint64_t most;           /* messages of one poll */
    uint64_t first_sequence; /* made in this life of the worker at `start_ns` */
    uint64_t start_ns;       /* run's clock of the first poll */
    uint8_t started;
    uint64_t due_sequence;   /* the message that `due_ns` is about */
    uint64_t intended_ns;    /* its time, rounded down */
    uint64_t due_ns;         /* when it may be made: its time, rounded up */
    uint64_t period_ns;      /* between two messages, rounded down */
    uint8_t filler[BYTEOR_FILLER_BYTES];
} byteor_generator_source;

byteor_generator_source *byteor_generator_source_new(const byteor_generator_options *options);

#endif
