/* stage_table.h: a bounded table of keys inside a state area, for `dedupe` and `count`.
 *
 * Layout: a header of 64 bytes, the bucket heads (u32, 0 for none, else index + 1), the nodes in
 * order of insertion, each a header and the whole key. Zeroed bytes are an empty table. Every
 * change is announced with byteor_touch before it is made, in pieces of 8 bytes at least. Indices
 * read back are bounded: a damaged area is an error, never a stray access.
 */
#ifndef BYTEOR_STAGE_TABLE_H
#define BYTEOR_STAGE_TABLE_H

#include "stage_builtin.h"

#define TABLE_NONE UINT32_MAX
#define TABLE_BAD (UINT32_MAX - 1)
#define TABLE_HEADER_BYTES 64u
/* Most bytes touched to take one node out and put one in, its key not counted: two links, node
 * header, bucket, stage's words. */
#define TABLE_TOUCH_BYTES 64u

typedef struct table_node {
    uint64_t count; /* free for the stage */
    uint32_t hash;
    uint32_t next; /* of the bucket's chain: 0 for none, else index + 1 */
    uint32_t key_bytes;
    uint32_t reserved;
} table_node; /* 24 bytes; the key follows */

typedef struct table {
    uint32_t nodes_max;
    uint32_t key_max;
    uint32_t buckets; /* a power of two */
    uint32_t node_bytes;
} table;

static inline table table_of(uint32_t nodes_max, uint32_t key_max) {
    table shape = {nodes_max, key_max, 2, (uint32_t)sizeof(table_node) + ((key_max + 7) & ~7u)};
    while (shape.buckets < nodes_max) {
        shape.buckets *= 2;
    }
    return shape;
}

static inline uint64_t table_bytes(const table *shape) {
    return TABLE_HEADER_BYTES + (uint64_t)shape->buckets * 4 +
           (uint64_t)shape->nodes_max * shape->node_bytes;
}

static inline uint32_t *table_bucket(const table *shape, void *state, uint32_t hash) {
    return (uint32_t *)(void *)((uint8_t *)state + TABLE_HEADER_BYTES) +
           (hash & (shape->buckets - 1));
}

static inline table_node *table_node_at(const table *shape, void *state, uint32_t index) {
    uint8_t *nodes = (uint8_t *)state + TABLE_HEADER_BYTES + (size_t)shape->buckets * 4;
    return (table_node *)(void *)(nodes + (size_t)index * shape->node_bytes);
}

static inline uint8_t *table_key(table_node *node) {
    return (uint8_t *)node + sizeof *node;
}

/* Announces the aligned 8 bytes around a link. */
static inline int table_touch_link(byteor_batch *batch, uint32_t *link) {
    return byteor_touch(batch, (void *)((uintptr_t)link & ~(uintptr_t)7), 8);
}

/* Index of the node with this key, TABLE_NONE, or TABLE_BAD for a damaged table. */
static inline uint32_t table_find(const table *shape, void *state, uint32_t hash, stage_view key) {
    uint32_t link = *table_bucket(shape, state, hash);
    for (uint32_t steps = 0; link != 0; steps++) {
        if (link > shape->nodes_max || steps > shape->nodes_max) {
            return TABLE_BAD;
        }
        table_node *node = table_node_at(shape, state, link - 1);
        if (node->hash == hash && node->key_bytes == key.bytes &&
            stage_equal(table_key(node), key.data, key.bytes)) {
            return link - 1;
        }
        link = node->next;
    }
    return TABLE_NONE;
}

/* Takes node `index` out of its chain. Text of what went wrong, or NULL. */
static inline const char *table_unlink(const table *shape, byteor_batch *batch, uint32_t index) {
    table_node *node = table_node_at(shape, batch->state, index);
    uint32_t *link = table_bucket(shape, batch->state, node->hash);
    for (uint32_t steps = 0; *link != index + 1; steps++) {
        if (*link == 0 || *link > shape->nodes_max || steps > shape->nodes_max) {
            return STAGE_BAD_STATE;
        }
        link = &table_node_at(shape, batch->state, *link - 1)->next;
    }
    if (table_touch_link(batch, link) != 0) {
        return STAGE_TOUCH_FULL;
    }
    *link = node->next;
    return NULL;
}

/* Writes node `index`, which is in no chain, and puts it at the head of its bucket's. */
static inline const char *table_link(const table *shape, byteor_batch *batch, uint32_t index,
                                     uint32_t hash, stage_view key) {
    table_node *node = table_node_at(shape, batch->state, index);
    uint32_t *bucket = table_bucket(shape, batch->state, hash);
    if (byteor_touch(batch, node, (uint32_t)sizeof *node + key.bytes) != 0 ||
        table_touch_link(batch, bucket) != 0) {
        return STAGE_TOUCH_FULL;
    }
    node->count = 0;
    node->hash = hash;
    node->next = *bucket;
    node->key_bytes = key.bytes;
    memcpy(table_key(node), key.data, key.bytes);
    *bucket = index + 1;
    return NULL;
}

#endif
