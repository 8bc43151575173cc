/* wait_turns.c: what a wait makes of those who share its CPU: the kernel's answers are given here, one by one.
 *
 * usage: wait_turns   Prints "ok" when haste, its end, and the bound up to the first sleep are as wait.h promises. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wait.h"

#define WAITS 80u
#define CHECK(what, ...)                          \
    do {                                          \
        if (!(what)) {                            \
            fprintf(stderr, __VA_ARGS__);         \
            fprintf(stderr, ": " #what "\n");     \
            exit(1);                              \
        }                                         \
    } while (0)

static int shared; /* somebody else wants the CPU */
static long switches;
static unsigned asked, yielded;

/* In place of those of the C library. */
int sched_yield(void) {
    yielded++;
    switches += shared;
    return 0;
}

int getrusage(__rusage_who_t who, struct rusage *usage) {
    (void)who;
    asked++;
    memset(usage, 0, sizeof *usage);
    usage->ru_nivcsw = switches;
    return 0;
}

/* Idle turns of a wait until its first yield, which is the last one of them. */
static unsigned until_yield(byteor_wait *wait) {
    unsigned turns = 0, before = yielded;
    wait->idle_turns = 0;
    while (yielded == before) {
        CHECK(++turns <= BYTEOR_WAIT_SPINS + 1, "turn %u", turns);
        CHECK(byteor_wait_turn(wait, -1, 0) == 0, "turn %u", turns);
    }
    return turns;
}

/* Idle turns until the role parks. */
static unsigned until_park(byteor_wait *wait) {
    unsigned turns = 1;
    wait->idle_turns = 0;
    while (!byteor_wait_turn(wait, -1, 0)) CHECK(++turns <= 2 * (BYTEOR_WAIT_SPINS + BYTEOR_WAIT_YIELDS), "it never parks");
    return turns;
}

static void with_others(byteor_wait *wait) {
    shared = 1;
    CHECK(until_yield(wait) == BYTEOR_WAIT_SPINS + 1, "the first wait spins");
    CHECK(asked == 2, "asked %u times", asked);
    for (unsigned i = 0; i < WAITS; i++) CHECK(until_yield(wait) == 1, "wait %u begins with a yield", i);
    CHECK(asked == 2 + 2 * WAITS / BYTEOR_WAIT_TRUSTS, "asked %u times in %u waits", asked, WAITS);
    CHECK(until_park(wait) == BYTEOR_WAIT_YIELDS + 1, "a wait in haste yields, then parks");
}

static void alone_again(byteor_wait *wait) {
    unsigned waits = 0;
    shared = 0;
    while (wait->haste == BYTEOR_WAIT_SPINS) {
        CHECK(++waits <= BYTEOR_WAIT_TRUSTS, "still in haste after %u waits alone", waits);
        (void)until_yield(wait);
    }
    while (wait->haste) {
        unsigned before = asked, haste = wait->haste;
        CHECK(until_yield(wait) == BYTEOR_WAIT_SPINS - haste + 1, "haste %u", haste);
        CHECK(asked == before + 2 && wait->haste == haste / 2, "haste %u", haste);
    }
    CHECK(until_yield(wait) == BYTEOR_WAIT_SPINS + 1, "it spins again");
    CHECK(until_park(wait) == BYTEOR_WAIT_SPINS + BYTEOR_WAIT_YIELDS + 1, "it spins, yields, then parks");
}

int main(void) {
    uint32_t doorbell = 0;
    byteor_wait wait = {.kind = BYTEOR_WAIT_PARK, .doorbell = &doorbell, .sleep_ns_max = 1000};
    byteor_wait_reset(&wait);
    for (int round = 0; round < 3; round++) {
        asked = 0;
        with_others(&wait);
        alone_again(&wait);
    }
    puts("ok");
    return 0;
}
