/* stage_rate_limit.c: `rate_limit` is a token bucket on ingress time, so a replay drops the same
 * messages.
 *
 * The bucket is held as what is missing from it, in integers: one message costs `cost` units, each
 * nanosecond brings back `rate` of them. Zeroed state is a full bucket.
 */
#include "stage_builtin.h"
#include "stage_config.h"

#define RATE_MAX 1000000000u
#define PERIOD_S_MAX 86400u
#define SECOND_NS UINT64_C(1000000000)
#define BURST_PERIODS_MAX                                                                          \
    UINT64_C(8000000000) /* burst times period: keeps the bucket below 2^63 units */

typedef struct rate_limit {
    uint64_t rate;
    uint64_t cost;
    uint64_t missing_max; /* with more missing than this, there is no whole token left */
} rate_limit;

typedef struct rate_limit_state {
    uint64_t last_ns;
    uint64_t missing;
} rate_limit_state;

static inline uint64_t rate_limit_refill(const rate_limit *self, uint64_t missing,
                                         uint64_t elapsed_ns) {
    uint64_t back = 0;
    if (__builtin_mul_overflow(elapsed_ns, self->rate, &back) || back >= missing) {
        return 0;
    }
    return missing - back;
}

static int rate_limit_process(void *self, byteor_batch *batch) {
    const rate_limit *me = self;
    rate_limit_state *state = batch->state;
    if (!stage_has_state(batch, sizeof *state)) {
        return stage_fail(batch, 0, STAGE_NO_STATE);
    }
    uint64_t last_ns = state->last_ns;
    uint64_t missing = state->missing;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        if (!byteor_live(slot)) {
            continue;
        }
        if (slot->time_ns > last_ns) {
            missing = rate_limit_refill(me, missing, slot->time_ns - last_ns);
            last_ns = slot->time_ns;
        }
        if (missing <= me->missing_max) {
            missing += me->cost;
        } else {
            byteor_drop(slot);
        }
    }
    state->last_ns = last_ns;
    state->missing = missing;
    return BYTEOR_STAGE_OK;
}

static void rate_limit_configure(stage_config *from, rate_limit *self) {
    if (stage_config_text(from, "rate") == NULL) {
        stage_config_fail(from, "rate", NULL, "messages per `period_s`");
    }
    self->rate = stage_config_u64(from, "rate", 1, 1, RATE_MAX);
    uint64_t period_s = stage_config_u64(from, "period_s", 1, 1, PERIOD_S_MAX);
    uint64_t burst_max = BURST_PERIODS_MAX / period_s;
    uint64_t fallback = self->rate < burst_max ? self->rate : burst_max;
    uint64_t burst = stage_config_u64(from, "burst", fallback, 1, burst_max);
    self->cost = SECOND_NS * period_s;
    self->missing_max = (burst - 1) * self->cost;
}

static void *rate_limit_create(const byteor_config *config, char *error, size_t error_bytes) {
    stage_config from = {config, error, error_bytes, 0};
    rate_limit *self = calloc(1, sizeof *self);
    if (self == NULL) {
        stage_config_fail(&from, "rate_limit", NULL, "memory for the instance");
        return NULL;
    }
    rate_limit_configure(&from, self);
    if (from.failed) {
        free(self);
        return NULL;
    }
    return self;
}

static uint64_t rate_limit_state_bytes(const byteor_config *config, char *error,
                                       size_t error_bytes) {
    (void)config;
    (void)error;
    (void)error_bytes;
    return sizeof(rate_limit_state);
}

const byteor_builtin byteor_builtin_rate_limit = {
    .vtable = {.abi = BYTEOR_STAGE_ABI,
               .struct_bytes = sizeof(byteor_stage_vtable),
               .name = "rate_limit",
               .flags = BYTEOR_STAGE_DROPS,
               .state_bytes = rate_limit_state_bytes,
               .create = rate_limit_create,
               .process = rate_limit_process,
               .destroy = free},
};
