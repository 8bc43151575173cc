/* stage_builtin.c: the list of built-in stages, and `identity`. */
#include "stage_builtin.h"

static char identity_instance;

static void *identity_create(const byteor_config *config, char *error, size_t error_bytes) {
    (void)config;
    (void)error;
    (void)error_bytes;
    return &identity_instance;
}

static int identity_process(void *self, byteor_batch *batch) {
    (void)self;
    (void)batch;
    return BYTEOR_STAGE_OK;
}

const byteor_builtin byteor_builtin_identity = {
    .vtable = {.abi = BYTEOR_STAGE_ABI,
               .struct_bytes = sizeof(byteor_stage_vtable),
               .name = "identity",
               .create = identity_create,
               .process = identity_process},
};

const byteor_builtin *const byteor_builtins[] = {
    &byteor_builtin_count,
    &byteor_builtin_crc32c,
    &byteor_builtin_dataguard_check,
    &byteor_builtin_dataguard_fused,
    &byteor_builtin_dataguard_redact,
    &byteor_builtin_dedupe,
    &byteor_builtin_filter,
    &byteor_builtin_identity,
    &byteor_builtin_rate_limit,
    &byteor_builtin_sample,
    &byteor_builtin_select,
    NULL,
};
