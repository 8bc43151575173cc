/* killpoint.h: places where a test build kills its own process, to prove that a successor loses and repeats nothing.
 * In other builds they are nothing at all. */
#ifndef BYTEOR_KILLPOINT_H
#define BYTEOR_KILLPOINT_H

#ifdef BYTEOR_KILL_POINTS
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

extern uint32_t byteor_kill_at;    /* number of the point, 0: none */
extern uint64_t byteor_kill_after; /* passes to let go first */

static inline void byteor_kill_point(uint32_t point) {
    if (point == byteor_kill_at && byteor_kill_after-- == 0) kill(getpid(), SIGKILL);
}
#define BYTEOR_KILL_POINT(point) byteor_kill_point(point)
#else
#define BYTEOR_KILL_POINT(point) ((void)0)
#endif

#endif
