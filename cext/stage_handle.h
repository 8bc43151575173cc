/* stage_handle.h: a stage instance as the worker's loop holds it: what to call, and on what. */
#ifndef BYTEOR_STAGE_HANDLE_H
#define BYTEOR_STAGE_HANDLE_H
#include "byteor_stage.h"

typedef struct byteor_stage_handle {
    const byteor_stage_vtable *vtable;
    void *self;
} byteor_stage_handle;

#endif
