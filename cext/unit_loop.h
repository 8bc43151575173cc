/* unit_loop.h: the loop of a thread: its units in turn, from first batch to last, and what it does while there is nothing to do.
 *
 * Allocates nothing, takes no lock, and makes a system call only when no unit has anything to do. */
#ifndef BYTEOR_UNIT_LOOP_H
#define BYTEOR_UNIT_LOOP_H

#include "jitter.h"
#include "unit_graph.h"

#define BYTEOR_LOOP_FDS_MAX 16u /* adapters that a sleeping thread waits for at once; sleeps are bounded for all others */

/* What one turn over all units came to. */
typedef struct byteor_loop {
    int worked;      /* some unit did something */
    uint32_t alive;  /* units that are not done */
    uint32_t failed; /* units that failed in this turn */
    uint32_t waits;
    struct pollfd wait[BYTEOR_LOOP_FDS_MAX]; /* what units without work wait for */
} byteor_loop;

static inline void byteor_loop_state(byteor_unit_runtime *u, uint32_t state) {
    if (u->shown_state == state) return;
    u->shown_state = state;
    for (uint32_t m = 0; m < u->member_count; m++) byteor_store_release32(&u->member[m].role->state, state);
}

static inline void byteor_loop_beat(byteor_unit_runtime *u, uint64_t now) {
    for (uint32_t m = 0; m < u->member_count; m++) byteor_store_relaxed64(&u->member[m].role->heartbeat_ns, now);
}

static inline void byteor_loop_note_turn(byteor_unit_runtime *u) {
    if (u->turn_ended_ns <= u->turn_began_ns) return;
    const uint64_t cycle = u->turn_ended_ns - u->turn_began_ns;
    byteor_loop_beat(u, u->turn_ended_ns);
    if (cycle <= byteor_load_relaxed64(&u->member[0].role->cycle_ns_max)) return;
    for (uint32_t m = 0; m < u->member_count; m++) byteor_store_relaxed64(&u->member[m].role->cycle_ns_max, cycle);
}

static inline void byteor_loop_wait_for(byteor_loop *loop, const byteor_adapter_common *common) {
    if (common->wait_fd < 0 || loop->waits == BYTEOR_LOOP_FDS_MAX) return;
    loop->wait[loop->waits++] = (struct pollfd){.fd = common->wait_fd, .events = common->wait_events};
}

static inline void byteor_loop_unit(byteor_loop *loop, byteor_unit_runtime *u) {
    const uint32_t command = byteor_load_acquire32(&u->unit->command);
    if (command == BYTEOR_COMMAND_STOP) {
        u->done = 1;
        byteor_loop_state(u, BYTEOR_STATE_STOPPED);
        return;
    }
    u->outcome = (uint32_t)byteor_any_duty(u, command);
    if (u->outcome == BYTEOR_DUTY_WORKED) {
        loop->worked = 1;
        loop->alive++;
        byteor_loop_note_turn(u);
        byteor_loop_state(u, BYTEOR_STATE_RUNNING);
    } else if (u->outcome == BYTEOR_DUTY_ENDED) {
        u->done = 1;
        byteor_loop_state(u, BYTEOR_STATE_ENDED);
    } else if (u->outcome == BYTEOR_DUTY_FAILED) {
        u->done = 1;
        loop->failed++;
    } else if (u->outcome == BYTEOR_DUTY_IDLE && command == BYTEOR_COMMAND_FINISH) {
        u->done = 1;
        byteor_loop_state(u, BYTEOR_STATE_STOPPED);
    } else {
        loop->alive++;
        if (u->outcome == BYTEOR_DUTY_INPUT) byteor_loop_wait_for(loop, &u->source->common);
        else if (u->outcome == BYTEOR_DUTY_OUTPUT) byteor_loop_wait_for(loop, &u->sink->common);
    }
}

static inline void byteor_loop_turn(byteor_loop *loop, byteor_unit_runtime **units, uint32_t count) {
    loop->worked = 0;
    loop->alive = loop->failed = loop->waits = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!units[i]->done) byteor_loop_unit(loop, units[i]);
}

static inline void byteor_loop_show_idle(byteor_unit_runtime **units, uint32_t count) {
    const uint64_t now = byteor_now_ns(units[0]->clock);
    for (uint32_t i = 0; i < count; i++) {
        byteor_unit_runtime *u = units[i];
        if (u->done) continue;
        byteor_loop_beat(u, now);
        if (u->outcome == BYTEOR_DUTY_NO_ROOM || u->outcome == BYTEOR_DUTY_OUTPUT) byteor_loop_state(u, BYTEOR_STATE_BLOCKED);
        else if (u->outcome != BYTEOR_DUTY_WORKED) byteor_loop_state(u, BYTEOR_STATE_IDLE);
    }
}

static inline void byteor_loop_note_worked(byteor_gap_watch *gap, byteor_unit_runtime **units, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (units[i]->outcome == BYTEOR_DUTY_WORKED) byteor_gap_worked(gap, units[i]->turn_began_ns, units[i]->turn_ended_ns);
        if (units[i]->lingered) gap->last_ns = BYTEOR_NO_TRAIL; /* on purpose: that is no gap */
    }
}

/* What an idle turn did: looked only, asked an adapter too, or is followed by one that sleeps. */
static inline int byteor_loop_did(byteor_unit_runtime **units, uint32_t count, const byteor_wait *wait) {
    if (wait->kind != BYTEOR_WAIT_SPIN && wait->idle_turns >= byteor_wait_spins(wait)) return BYTEOR_IDLE_SLEEPS;
    for (uint32_t i = 0; i < count; i++)
        if (units[i]->outcome == BYTEOR_DUTY_INPUT || units[i]->outcome == BYTEOR_DUTY_OUTPUT) return BYTEOR_IDLE_ASKS;
    return BYTEOR_IDLE_SPINS;
}

/* One turn without work is over: wait as the first unit does. */
static inline void byteor_loop_idle(byteor_loop *loop, byteor_gap_watch *gap, byteor_unit_runtime **units, uint32_t count) {
    byteor_wait *wait = &units[0]->wait;
    if (wait->idle_turns == 0) byteor_wait_reset(wait);
    if (wait->idle_turns % 1024 == BYTEOR_WAIT_SPINS || byteor_wait_yielded(wait)) byteor_loop_show_idle(units, count);
    byteor_gap_idle(gap, wait->idle_turns, byteor_loop_did(units, count, wait), units[0]->clock);
    if (!byteor_wait_turn_on(wait, loop->wait, loop->waits)) return;
    byteor_park_announce(wait);
    byteor_loop_turn(loop, units, count);
    if (loop->worked || loop->failed || loop->alive == 0 || loop->waits) byteor_unpark(wait);
    else byteor_park(wait, BYTEOR_PARK_NS_MAX);
}

/* Turn until every unit is done, or some have failed: the caller records that and comes back for the others. Or until
 * `*halt`, a line that the threads of a worker only read until one of them sets it: then after the turn in hand. */
static inline void byteor_loop_run(byteor_unit_runtime **units, uint32_t count, const uint32_t *halt) {
    byteor_wait *wait = &units[0]->wait;
    byteor_gap_watch gap = {.gaps = &units[0]->unit->gaps, .last_ns = BYTEOR_NO_TRAIL};
    byteor_loop loop = {.alive = 1};
    if (count == 1 && wait->kind == BYTEOR_WAIT_SPIN) units[0]->looks = units[0]->source ? 8 : 2; /* nobody else waits for this thread */
    while (loop.alive && !loop.failed && !byteor_load_relaxed32(halt)) { /* orders nothing: partner: Host.halt */
        byteor_loop_turn(&loop, units, count);
        if (loop.worked) {
            wait->idle_turns = 0;
            byteor_loop_note_worked(&gap, units, count);
        } else if (loop.alive && !loop.failed) {
            byteor_loop_idle(&loop, &gap, units, count);
        }
    }
}

#endif
