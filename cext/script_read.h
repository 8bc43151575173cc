/* script_read.h: what was recorded of a role's choices, taken apart into the scripts that a replay has it follow. */
#ifndef BYTEOR_SCRIPT_READ_H
#define BYTEOR_SCRIPT_READ_H

#include <stdlib.h>

#include "capture.h"
#include "frames.h"
#include "script.h"

#define BYTEOR_SCRIPT_SOURCES_MAX 65536u /* inputs or outputs of a role: more are nonsense */

enum byteor_script_outcome { BYTEOR_SCRIPT_OK = 0, BYTEOR_SCRIPT_NO_MEMORY = -1, BYTEOR_SCRIPT_NONSENSE = -2 };

/* Records that grow. */
typedef struct byteor_script_list {
    uint8_t *data;
    size_t bytes, room;
} byteor_script_list;

/* Of one input or output. */
typedef struct byteor_script_source {
    byteor_script_list output; /* byteor_choice: what it kept and dropped */
    byteor_script_list lost;   /* byteor_lost: what it missed */
    uint64_t place;            /* how many messages it has given or missed */
} byteor_script_source;

typedef struct byteor_scripts {
    byteor_script_list take, steer, calls; /* byteor_choice */
    byteor_script_source *source;
    uint32_t sources;
} byteor_scripts;

static inline int byteor_script_append(byteor_script_list *list, const void *record, size_t bytes) {
    if (list->bytes + bytes > list->room) {
        const size_t room = list->room ? list->room * 2 : 4096;
        uint8_t *data = (uint8_t *)realloc(list->data, room);
        if (data == NULL) return BYTEOR_SCRIPT_NO_MEMORY;
        list->data = data;
        list->room = room;
    }
    memcpy(list->data + list->bytes, record, bytes);
    list->bytes += bytes;
    return BYTEOR_SCRIPT_OK;
}

static inline int byteor_script_reach(byteor_scripts *s, uint32_t source) {
    if (source < s->sources) return BYTEOR_SCRIPT_OK;
    if (source >= BYTEOR_SCRIPT_SOURCES_MAX) return BYTEOR_SCRIPT_NONSENSE;
    byteor_script_source *grown = (byteor_script_source *)realloc(s->source, (source + 1) * sizeof *grown);
    if (grown == NULL) return BYTEOR_SCRIPT_NO_MEMORY;
    memset(grown + s->sources, 0, (source + 1 - s->sources) * sizeof *grown);
    s->source = grown;
    s->sources = source + 1;
    return BYTEOR_SCRIPT_OK;
}

/* An input missed `count` messages: with those before, if they follow each other. */
static inline int byteor_script_miss(byteor_script_source *from, uint64_t count) {
    byteor_lost lost = {.first = from->place, .count = count}, last;
    if (count == 0) return BYTEOR_SCRIPT_OK;
    if (from->lost.bytes) {
        uint8_t *at = from->lost.data + from->lost.bytes - sizeof last;
        memcpy(&last, at, sizeof last);
        if (last.first + last.count == lost.first) {
            last.count += count;
            memcpy(at, &last, sizeof last);
            return BYTEOR_SCRIPT_OK;
        }
    }
    return byteor_script_append(&from->lost, &lost, sizeof lost);
}

static inline int byteor_script_add(byteor_scripts *s, const byteor_choice *choice) {
    int outcome;
    if (choice->kind == BYTEOR_CHOICE_BATCH || choice->kind == BYTEOR_CHOICE_FAIL) return byteor_script_append(&s->calls, choice, sizeof *choice);
    if (choice->kind == BYTEOR_CHOICE_ROUTE) return byteor_script_append(&s->steer, choice, sizeof *choice);
    if (choice->kind < BYTEOR_CHOICE_TAKE || choice->kind > BYTEOR_CHOICE_MISS) return BYTEOR_SCRIPT_NONSENSE;
    if ((outcome = byteor_script_reach(s, choice->source)) != BYTEOR_SCRIPT_OK) return outcome;
    byteor_script_source *from = &s->source[choice->source];
    if (choice->kind == BYTEOR_CHOICE_TAKE) {
        from->place += choice->count;
        return byteor_script_append(&s->take, choice, sizeof *choice);
    }
    if (choice->kind != BYTEOR_CHOICE_MISS) return byteor_script_append(&from->output, choice, sizeof *choice);
    outcome = byteor_script_miss(from, choice->count);
    from->place += choice->count;
    return outcome;
}

/* Take all frames of recorded choices apart. `at`: sequence of the frame where it did not go on. */
static inline int byteor_script_read(byteor_scripts *s, byteor_frames *frames, uint64_t *at) {
    const byteor_journal_frame *frame;
    byteor_choice choice;
    while ((frame = byteor_frames_peek(frames)) != NULL) {
        const uint8_t *data = (const uint8_t *)(frame + 1);
        const uint32_t bytes = frame->length - 1u;
        *at = frame->sequence;
        if (bytes % sizeof choice) return BYTEOR_SCRIPT_NONSENSE;
        for (uint32_t offset = 0; offset < bytes; offset += (uint32_t)sizeof choice) {
            memcpy(&choice, data + offset, sizeof choice);
            const int outcome = byteor_script_add(s, &choice);
            if (outcome != BYTEOR_SCRIPT_OK) return outcome;
        }
        byteor_frames_take(frames, frame);
    }
    return BYTEOR_SCRIPT_OK;
}

static inline void byteor_scripts_free(byteor_scripts *s) {
    for (uint32_t i = 0; i < s->sources; i++) {
        free(s->source[i].output.data);
        free(s->source[i].lost.data);
    }
    free(s->source);
    free(s->take.data);
    free(s->steer.data);
    free(s->calls.data);
    memset(s, 0, sizeof *s);
}

#endif
