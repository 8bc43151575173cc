/* region_fault.h: what happens when a page of a mapped region is gone: the file was truncated from outside, or a page was
 * punched out of it and /dev/shm is full. The kernel says so with SIGBUS at the touch.
 *
 * Every mapping of a region is watched from its opening to its unmapping, by a fixed table that the signal's handler walks
 * without a lock. In a worker the handler tells a hook (which records the failure) and ends the process. Everywhere else,
 * where somebody only looks or is a guest in a process of the user's, it puts an empty page there and marks the mapping as
 * lost: the reader finds zeros, then asks byteor_region_lost and refuses what it has read. A fault of any other memory goes
 * to whoever handled SIGBUS before. */
#ifndef BYTEOR_REGION_FAULT_H
#define BYTEOR_REGION_FAULT_H

#include <stddef.h>
#include <stdint.h>

#define BYTEOR_FAULT_NAME_BYTES 160u

typedef struct byteor_fault {
    const uint8_t *base;
    uint64_t bytes;
    uint64_t offset; /* of the page */
    const char *name; /* path of the region file */
    int fd;          /* it was mapped from; may be closed */
} byteor_fault;

/* Called in the signal's handler: async-signal-safe. */
typedef void (*byteor_fault_hook)(const byteor_fault *fault);

/* Watch a mapping of `fd`; returns a number for the other functions, 0 when the table is full. */
uint32_t byteor_fault_watch(const uint8_t *base, uint64_t bytes, int fd);
void byteor_fault_forget(uint32_t watch);

/* Whether a page of the mapping was found missing. */
int byteor_fault_lost(uint32_t watch);

/* From now on a missing page ends this process with `code`, after the hook. */
void byteor_fault_exit(int code, byteor_fault_hook hook);

/* Give the calling thread a stack of its own for the handler; returns what byteor_fault_leave wants, NULL without memory. */
void *byteor_fault_enter(void);
void byteor_fault_leave(void *stack);

#endif
