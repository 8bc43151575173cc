/* source_replay.h: the ingress that gives captured messages again, with the times they had. Position word 0: sequence of the
 * next frame. No system call is made here. */
#ifndef BYTEOR_SOURCE_REPLAY_H
#define BYTEOR_SOURCE_REPLAY_H

#include "adapter.h"
#include "frames.h"

typedef struct byteor_replay_source {
    byteor_source base;
    byteor_frames frames;
    uint64_t end;       /* sequence of the first frame that is not given any more */
    uint64_t origin_ns; /* ingress time that is due at once */
    uint64_t began_ns;  /* run's clock at the first poll; 0: not yet */
    uint32_t whole;     /* gives as many messages as it is asked for, or none, until its end */
    double speed;       /* 0: as fast as possible; 1: as it was; 2: twice as fast */
} byteor_replay_source;

void byteor_replay_source_start(byteor_replay_source *self, uint64_t end, uint64_t origin_ns, double speed, int whole);

#endif
