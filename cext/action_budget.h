/* action_budget.h: how many actions a replay may attempt, over all of its workers. One small file in the run directory,
 * mapped by each of them. */
#ifndef BYTEOR_ACTION_BUDGET_H
#define BYTEOR_ACTION_BUDGET_H

#include "atomics.h"

typedef struct byteor_action_budget {
    uint64_t used;  /* attempts taken */
    uint64_t spent; /* one was wanted when none was left */
} byteor_action_budget;

/* Take up to `wanted` of `most` attempts; returns how many. Nobody else learns anything from the count, so no order. */
static inline uint64_t byteor_action_take(byteor_action_budget *budget, uint64_t most, uint64_t wanted) {
    uint64_t used = byteor_load_relaxed64(&budget->used), taken;
    do {
        const uint64_t left = used < most ? most - used : 0;
        taken = wanted < left ? wanted : left;
    } while (taken && !byteor_compare_exchange_relaxed64(&budget->used, &used, used + taken));
    if (wanted && !taken) byteor_store_relaxed64(&budget->spent, 1);
    return taken;
}

/* Give back attempts that were not made. */
static inline void byteor_action_return(byteor_action_budget *budget, uint64_t count) {
    if (count) byteor_subtract_relaxed64(&budget->used, count);
}

#endif
