/* guard_config.h: an instance of the data protection stages, and how it reads what Python compiled
 * of the stage's configuration, the registry and the key. Errors never repeat the key. */
#ifndef BYTEOR_GUARD_CONFIG_H
#define BYTEOR_GUARD_CONFIG_H

#include "guard.h"
#include "stage_builtin.h"
#include "stage_config.h"

#define GUARD_CHECKS 1u
#define GUARD_REDACTS 2u
#define GUARD_SHOWS 4u /* makes views of messages, which earlier rules may have been applied to */
#define GUARD_STATE_BYTES 4160u
#define GUARD_TOUCH_BYTES 320u /* totals and counts by rule */
#define GUARD_KEY_MAX 1024u
#define GUARD_EXCUSED_MAX 256u

typedef struct guard_stage {
    uint32_t mode;
    uint32_t format;
    uint32_t drops;
    char message_type[GUARD_NAME_MAX + 1];
    uint32_t type_bytes; /* 0: a field says the type */
    char type_field[GUARD_NAME_MAX + 1];
    uint32_t type_field_bytes;
    char version_field[GUARD_NAME_MAX + 1];
    uint32_t version_field_bytes; /* 0: all messages are of `version` */
    uint64_t version;
    uint32_t schema_count;
    uint32_t rule_count;
    guard_key key;
    guard_rule rule[GUARD_RULES_MAX];
    guard_schema schema[GUARD_SCHEMAS_MAX];
    char excused[GUARD_EXCUSED_MAX][GUARD_NAME_MAX + 1]; /* fields under any rule of a view */
    uint32_t excused_count;
    guard_message message; /* the one in hand */
    guard_text scratch;
    guard_text out;
} guard_stage;

guard_stage *guard_create(const byteor_config *config, uint32_t mode, char *error,
                          size_t error_bytes);

void guard_free(guard_stage *self);

enum guard_passing {
    GUARD_PASSED,    /* `left` is what may be seen of it */
    GUARD_UNKNOWN,   /* of a type that this stage has no schema for */
    GUARD_UNREADABLE, /* not a message of this format */
    GUARD_REFUSED    /* it does not fit its schema, or a rule cannot be applied */
};

/* What a stage leaves of one payload; `left` points into the payload or the instance. */
enum guard_passing guard_pass(guard_stage *self, guard_slice payload, guard_slice *left);

#endif
