/* region.h: creating and opening region files; the only place that trusts nothing.
 *
 * Opening validates every field of the header against the mapped size and its own arithmetic. Results are 0 or a negative
 * byteor_region_error; `text` gets what was seen and what was wanted. */
#ifndef BYTEOR_REGION_H
#define BYTEOR_REGION_H

#include <stddef.h>

#include "layout.h"
#include "ring.h"

enum byteor_region_error {
    BYTEOR_REGION_IO = -1,        /* a system call failed; errno */
    BYTEOR_REGION_NO_SPACE = -2,
    BYTEOR_REGION_TRUNCATED = -3, /* smaller than it says, or than any region */
    BYTEOR_REGION_FOREIGN = -4,   /* not a region */
    BYTEOR_REGION_VERSION = -5,   /* another layout, or features this version does not know */
    BYTEOR_REGION_CORRUPT = -6,   /* header checksum or arithmetic */
    BYTEOR_REGION_UNREADY = -7,   /* its creator did not finish */
    BYTEOR_REGION_KIND = -8       /* not the kind that was asked for */
};

typedef struct byteor_map {
    uint8_t *base;
    uint64_t bytes;
    uint32_t watch; /* of region_fault.h */
} byteor_map;

/* Fill the header of a new region. The caller has set kind, counts, sizes, sections, total_bytes, ids, clock. */
void byteor_header_seal(byteor_region_header *header);

/* fallocate `bytes` in the new file `fd` and map it, prefaulted. */
int byteor_region_allocate(int fd, uint64_t bytes, byteor_map *map, char *text, size_t text_bytes);

/* Mark a fully written region ready. */
void byteor_region_ready(byteor_map *map);

/* Map an existing region and validate it. Waits up to `wait_ms` for a creator that is still at work. */
int byteor_region_open(int fd, uint32_t kind, int writable, unsigned wait_ms, byteor_map *map, char *text, size_t text_bytes);

void byteor_region_unmap(byteor_map *map);

/* Whether a page of it turned out to be gone: what was read since is not to be believed. */
int byteor_region_lost(const byteor_map *map);

/* Views over a validated region. */
void byteor_ring_view(const byteor_map *map, byteor_ring *ring);

#endif
