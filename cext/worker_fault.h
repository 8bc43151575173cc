/* worker_fault.h: a worker under which a page of a region is gone records that as the failure of the role at work, by name,
 * before it ends. Everything here runs in a signal's handler or right before the loop. */
#ifndef BYTEOR_WORKER_FAULT_H
#define BYTEOR_WORKER_FAULT_H

#include "unit.h"

/* End this process with `code` at such a fault; `units` are all that it hosts (entries may be NULL). */
void byteor_worker_fault_watch(byteor_unit_runtime **units, uint32_t count, int code);

/* Which units the calling thread runs; they are looked at first. */
void byteor_worker_fault_thread(byteor_unit_runtime **units, uint32_t count);

#endif
