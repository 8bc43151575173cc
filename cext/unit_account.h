/* unit_account.h: what a turn leaves in the histograms and counters that observers read.
 *
 * A turn is one batch, or several small ones taken one after the other while the next is already there. Each batch is
 * committed and published by itself; the clock is read when the turn begins, after its first batch, and at its end. A
 * message is charged the reading that follows it: never understated, by less than one turn too much. What can wait until
 * the messages are on their way is kept in byteor_pending and added after that. */
#ifndef BYTEOR_UNIT_ACCOUNT_H
#define BYTEOR_UNIT_ACCOUNT_H

#include "unit.h"

#define BYTEOR_TURN_NS_MAX 500u /* a turn whose first batch took longer is over */

/* Ages that follow one another and fall into one bucket are one addition. */
typedef struct byteor_age_run {
    uint64_t low, high; /* of the bucket; empty at first */
    uint64_t value, count;
} byteor_age_run;

static inline void byteor_age_run_end(byteor_histogram *histogram, const byteor_age_run *run) {
    if (run->count) byteor_histogram_add(histogram, run->value, run->count);
}

static inline void byteor_age_run_add(byteor_histogram *histogram, byteor_age_run *run, uint64_t age) {
    if (age - run->low < run->high - run->low) {
        run->count++;
        return;
    }
    byteor_age_run_end(histogram, run);
    uint32_t bucket = byteor_histogram_index(age);
    *run = (byteor_age_run){byteor_histogram_low(bucket), byteor_histogram_low(bucket + 1), age, 1};
}

static inline uint64_t byteor_age(uint64_t now, uint64_t time_ns) { return now > time_ns ? now - time_ns : 0; }

/* Age of each live message at `now`, into the histogram. Returns the live ones, or UINT32_MAX - index of a slot whose
 * length cannot be. */
static inline uint32_t byteor_account(byteor_histogram *latency, const uint8_t *slots, uint32_t slot_bytes, uint32_t count, uint64_t now) {
    byteor_age_run run = {0, 0, 0, 0};
    uint32_t live = 0, payload_max = slot_bytes - BYTEOR_SLOT_HEADER_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        const byteor_slot *slot = (const byteor_slot *)(const void *)(slots + (size_t)i * slot_bytes);
        if (slot->length > payload_max) return UINT32_MAX - i;
        if (!byteor_live(slot)) continue;
        live++;
        byteor_age_run_add(latency, &run, byteor_age(now, slot->time_ns));
    }
    byteor_age_run_end(latency, &run);
    return live;
}

static inline uint64_t byteor_time_at(const uint8_t *slots, uint32_t slot_bytes, uint32_t index) {
    return ((const byteor_slot *)(const void *)(slots + (size_t)index * slot_bytes))->time_ns;
}

/* How many of `count` messages from `first` on are not younger than `low`; the first one is `age` old. Each is at least a
 * nanosecond younger than the one before it, so not many need a look. */
static inline uint32_t byteor_ages_down_to(const uint8_t *slots, uint32_t slot_bytes, uint32_t first, uint32_t count, uint64_t now, uint64_t age, uint64_t low) {
    uint32_t inside = 0, outside = age - low < count ? (uint32_t)(age - low) + 1 : count;
    if (age == 0) return count;
    while (outside - inside > 1) {
        uint32_t middle = inside + (outside - inside) / 2;
        if (byteor_age(now, byteor_time_at(slots, slot_bytes, first + middle)) >= low) inside = middle;
        else outside = middle;
    }
    return inside + 1;
}

/* `count` ages, each a nanosecond less than the one before it, down from `oldest`, which is at least `count` - 1: bucket by
 * bucket, without a look at any message. */
static inline void byteor_account_dense(byteor_histogram *latency, uint64_t oldest, uint32_t count) {
    uint32_t bucket = byteor_histogram_index(oldest), rest = count;
    uint64_t sum = 0;
    for (uint64_t age = oldest; rest; bucket--) {
        uint64_t low = byteor_histogram_low(bucket), run = age - low < rest ? age - low + 1 : rest;
        byteor_count(&latency->bucket[bucket], run);
        sum += age * run;
        rest -= (uint32_t)run;
        age = low - 1;
    }
    byteor_count(&latency->sum_ns, sum);
}

/* The same as byteor_account for slots that are all live and whose times only grow: a search for each bucket instead of a
 * look at each message. */
static inline void byteor_account_ordered(byteor_histogram *latency, const uint8_t *slots, uint32_t slot_bytes, uint32_t count, uint64_t now) {
    uint64_t sum = 0, first_time = byteor_time_at(slots, slot_bytes, 0), oldest = byteor_age(now, first_time);
    byteor_count(&latency->count, count);
    if (oldest > byteor_load_relaxed64(&latency->max_ns)) byteor_store_relaxed64(&latency->max_ns, oldest);
    if (oldest >= count && byteor_time_at(slots, slot_bytes, count - 1) - first_time == count - 1) { /* as a burst is */
        byteor_account_dense(latency, oldest, count);
        return;
    }
    for (uint32_t first = 0, run; first < count; first += run) {
        uint64_t age = byteor_age(now, byteor_time_at(slots, slot_bytes, first));
        uint32_t bucket = byteor_histogram_index(age);
        run = byteor_ages_down_to(slots, slot_bytes, first, count - first, now, age, byteor_histogram_low(bucket));
        byteor_count(&latency->bucket[bucket], run);
        sum += age * run;
    }
    byteor_count(&latency->sum_ns, sum);
}

/* Keep the times of a small batch for the end of the turn. Returns as byteor_account does. */
static inline uint32_t byteor_keep_ages(byteor_pending *pending, const uint8_t *slots, uint32_t slot_bytes, uint32_t count) {
    uint32_t kept = pending->count, payload_max = slot_bytes - BYTEOR_SLOT_HEADER_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        const byteor_slot *slot = (const byteor_slot *)(const void *)(slots + (size_t)i * slot_bytes);
        if (slot->length > payload_max) return UINT32_MAX - i;
        pending->time_ns[kept] = slot->time_ns;
        kept += (uint32_t)byteor_live(slot);
    }
    uint32_t live = kept - pending->count;
    pending->count = kept;
    return live;
}

/* The ages of a batch that member `m` was done with at `after`, 0 for a batch that ends with the turn. `in_order`: its
 * messages are all live, and each is younger than the one before it. */
static inline uint32_t byteor_note_slots(byteor_unit_runtime *u, uint32_t m, const uint8_t *slots, uint32_t slot_bytes, uint32_t count, uint32_t in_order,
                                         uint64_t before, uint64_t after) {
    byteor_role *role = u->member[m].role;
    byteor_pending *pending = &u->pending[m];
    uint32_t live = count;
    pending->batches++;
    if (count > BYTEOR_SMALL_BATCH) {
        if (in_order) byteor_account_ordered(&role->latency, slots, slot_bytes, count, after);
        else live = byteor_account(&role->latency, slots, slot_bytes, count, after);
    } else {
        live = byteor_keep_ages(pending, slots, slot_bytes, count);
        if (live > count) return live;
        if (after) pending->timed = pending->count;
    }
    if (after) {
        pending->after_ns = after;
        pending->service_ns = after - before;
    }
    return live;
}

/* The same for slots of the unit's ring. */
static inline uint32_t byteor_note_batch(byteor_unit_runtime *u, uint32_t m, const uint8_t *slots, uint32_t count, uint64_t before, uint64_t after) {
    return byteor_note_slots(u, m, slots, u->rings[0].slot_bytes, count, u->all_live, before, after);
}

static inline void byteor_pending_mark(byteor_unit_runtime *u) {
    for (uint32_t m = 0; m < u->member_count; m++) u->pending[m].mark = u->pending[m].count;
}

/* The batch in hand is taken back. */
static inline void byteor_pending_undo(byteor_unit_runtime *u) {
    for (uint32_t m = 0; m < u->member_count; m++) u->pending[m].count = u->pending[m].mark;
}

/* End of a turn: `now` is charged to messages that have no reading yet. */
static inline void byteor_pending_show(byteor_role *role, byteor_pending *pending, uint64_t now) {
    byteor_age_run run = {0, 0, 0, 0};
    if (pending->batches == 0) return;
    for (uint32_t i = 0; i < pending->count; i++)
        byteor_age_run_add(&role->latency, &run, byteor_age(i < pending->timed ? pending->after_ns : now, pending->time_ns[i]));
    byteor_age_run_end(&role->latency, &run);
    if (pending->after_ns) byteor_histogram_add(&role->service, pending->service_ns, 1);
    byteor_count(&role->batches, pending->batches);
    pending->batches = pending->timed = pending->count = 0;
    pending->after_ns = 0;
}

static inline void byteor_show_turn(byteor_unit_runtime *u, uint64_t now) {
    u->clock_ns = now;
    u->turn_ended_ns = now;
    for (uint32_t m = 0; m < u->member_count; m++) byteor_pending_show(u->member[m].role, &u->pending[m], now);
    if (u->source) byteor_show_adapter_news(u->member[0].role, &u->source->common, &u->source_shown);
    if (u->sink) byteor_show_adapter_news(u->member[u->member_count - 1].role, &u->sink->common, &u->sink_shown);
    byteor_show_counters(u);
}

#endif
