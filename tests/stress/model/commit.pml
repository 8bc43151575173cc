/* commit.pml: a unit's batch as unit.h, unit_duty.h and unit_stages.h store it, killed between any two stores and restarted.
 *
 * Two units on one ring of two slots: an ingress that reads a source of MESSAGES messages, and a stage that changes payloads in
 * place, keeps a state in two buffers and writes to a file that a restart truncates.
 * Stores happen in program order here (a successor sees what its predecessor stored; the memory model between processes is
 * Relacy's part, see ring_relacy.cpp). Asserted: nothing is lost, doubled, torn or out of order; state equals what was written.
 *
 * $KILLS and $FAULT say how many kills there may be in all, and which reordering is planted, which the search has to find:
 *   1 the selector before the record; 2 the cell before the commit; 3 the undo mark before the undo; 4 state in place;
 *   5 the stamp before the commit; 6 no undo; 7 the cursor before the stamps, which recovery publishes from. */
c_decl {
\#include <stdlib.h>
}
#define MESSAGES 3
#define CAPACITY 2
#define SLOT(s) ((s) % CAPACITY)

byte kills, fault;

/* The ring. A payload is two words, so that it can be torn; message s is first (s+1, s+1). */
byte stamp[CAPACITY], word_a[CAPACITY], word_b[CAPACITY];
byte cursor, cell;

/* Ingress: two records and a selector. */
byte in_position[2], in_source[2];
bit in_selector;

/* Stage: two records and a selector, its undo, two state buffers, and the file of its sink. */
byte st_position[2], st_file[2];
bit st_used[2], st_selector;
byte undo_valid, undo_count, undo_a[CAPACITY], undo_b[CAPACITY];
byte state[2], file[MESSAGES], file_length;

bit in_done, st_done;

/* The process may end here, and be restarted; nothing private survives. */
#define KILL if :: kills > 0 -> kills--; goto killed :: skip fi
#define STORE(to, what) atomic { to = what; KILL }

inline publish_ingress(upto) {
    /* byteor_ring_publish(ring, cursor, position): stamps first, the cursor after them */
    if
    :: fault == 7 -> STORE(cursor, upto)
    :: else
    fi;
    s = cursor;
    do
    :: atomic { s < upto -> stamp[SLOT(s)] = s + 1; s++; KILL }
    :: else -> break
    od;
    cursor = upto
}

proctype ingress() {
    byte position, source, s, n;
    bit inactive;
restart:
    position = in_position[in_selector];
    source = in_source[in_selector];
    publish_ingress(position);
    do
    :: position == MESSAGES -> break
    :: position < MESSAGES && position - cell < CAPACITY ->
        n = 1;
        if /* a batch of one, or of all that there is room for */
        :: position + 1 < MESSAGES && position + 1 - cell < CAPACITY -> n = 2
        :: skip
        fi;
        s = position;
        do
        :: s < position + n ->
            assert(s - cell < CAPACITY);
            STORE(word_a[SLOT(s)], source + 1);
            STORE(word_b[SLOT(s)], source + 1);
            d_step { source++; s++ }
        :: else -> break
        od;
        if
        :: fault == 5 -> STORE(stamp[SLOT(position)], position + 1)
        :: else
        fi;
        position = position + n;
        inactive = 1 - in_selector;
        if
        :: fault == 1 -> STORE(in_selector, inactive)
        :: else
        fi;
        STORE(in_position[inactive], position);
        STORE(in_source[inactive], source);
        STORE(in_selector, inactive); /* the commit point */
        publish_ingress(position)
    od;
    goto done;
killed: skip;
    d_step { position = 0; source = 0; s = 0; n = 0; inactive = 0 }
    goto restart;
done: skip;
    d_step { s = 0; n = 0; inactive = 0; in_done = 1 }
}

proctype stage() {
    byte position, length, s, n;
    bit inactive, used, other;
restart:
    position = st_position[st_selector];
    length = st_file[st_selector];
    used = st_used[st_selector];
    if
    :: undo_valid == position + 1 -> /* byteor_undo_apply: not committed, so put back */
        s = 0;
        do
        :: s < undo_count ->
            STORE(word_a[SLOT(position + s)], undo_a[s]);
            STORE(word_b[SLOT(position + s)], undo_b[s]);
            s++
        :: else -> break
        od;
        STORE(undo_valid, 0)
    :: else
    fi;
    file_length = length; /* the sink truncates to the recorded position */
    assert(position >= cell);
    STORE(cell, position);
    do
    :: position == MESSAGES -> break
    :: position < MESSAGES && stamp[SLOT(position)] == position + 1 ->
        n = 1;
        if
        :: position + 1 < MESSAGES && stamp[SLOT(position + 1)] == position + 2 -> n = 2
        :: skip
        fi;
        /* byteor_undo_save */
        STORE(undo_valid, 0);
        if
        :: fault == 3 -> undo_count = n; STORE(undo_valid, position + 1)
        :: else
        fi;
        s = 0;
        do
        :: atomic { s < n -> undo_a[s] = word_a[SLOT(position + s)]; undo_b[s] = word_b[SLOT(position + s)]; s++; KILL }
        :: else -> break
        od;
        STORE(undo_count, n);
        if
        :: fault != 6 -> STORE(undo_valid, position + 1)
        :: else
        fi;
        /* the stage: new state into the inactive buffer, payloads in place */
        other = (fault == 4 -> used : 1 - used);
        STORE(state[other], state[used]);
        s = position;
        do
        :: s < position + n ->
            assert(word_a[SLOT(s)] == s + 1 && word_b[SLOT(s)] == s + 1); /* whole, and changed by nobody */
            STORE(word_a[SLOT(s)], s + 101);
            STORE(word_b[SLOT(s)], s + 101);
            STORE(state[other], state[other] + 1);
            s++
        :: else -> break
        od;
        /* its sink takes the batch before the commit */
        s = position;
        do
        :: atomic {
            s < position + n ->
            assert(word_a[SLOT(s)] == s + 101 && word_b[SLOT(s)] == s + 101);
            file[file_length] = word_a[SLOT(s)]; file_length++; s++; KILL
           }
        :: else -> break
        od;
        position = position + n;
        if
        :: fault == 2 -> STORE(cell, position)
        :: else
        fi;
        inactive = 1 - st_selector;
        STORE(st_position[inactive], position);
        STORE(st_file[inactive], file_length);
        STORE(st_used[inactive], other);
        STORE(st_selector, inactive); /* the commit point */
        used = other;
        STORE(cell, position)
    od;
    goto done;
killed: skip;
    d_step { position = 0; length = 0; s = 0; n = 0; inactive = 0; used = 0; other = 0 }
    goto restart;
done: skip;
    assert(state[used] == MESSAGES && file_length == MESSAGES);
    s = 0;
    do
    :: s < MESSAGES -> assert(file[s] == s + 101); s++
    :: else -> break
    od;
    st_done = 1
}

init {
    c_code {
        now.kills = getenv("KILLS") ? atoi(getenv("KILLS")) : 0;
        now.fault = getenv("FAULT") ? atoi(getenv("FAULT")) : 0;
    };
    atomic { run ingress(); run stage() };
    (in_done && st_done)
}
