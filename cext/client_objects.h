/* client_objects.h: Python's bytes into slots and out of them, in loops that call nothing of Python but what makes an object.
 * The GIL is held throughout. */
#ifndef BYTEOR_CLIENT_OBJECTS_H
#define BYTEOR_CLIENT_OBJECTS_H

#include <Python.h>

#include "client_ring.h"

#define LINES_AHEAD 8u /* of the second lines of slots; looking for stamps has brought the first */

/* A new bytes object of the slot's payload; NULL without memory. */
static inline PyObject *byteor_slot_bytes(const byteor_client *c, byteor_slot *slot) {
    uint32_t size = slot->length < c->ring.payload_max ? slot->length : c->ring.payload_max;
    PyObject *made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (made && size) byteor_payload_copy(PyBytes_AS_STRING(made), byteor_payload(slot), size);
    return made;
}

/* The first of a list that is no bytes object, or longer than a payload; -1 when all are fine. */
static inline Py_ssize_t byteor_list_misfit(PyObject *list, uint32_t payload_max) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *item = PyList_GET_ITEM(list, i);
        if (!PyBytes_CheckExact(item) || PyBytes_GET_SIZE(item) > (Py_ssize_t)payload_max) return i;
    }
    return -1;
}

/* Publish `count` bytes objects of a list from `first` on; there is room for them. */
static inline void byteor_list_publish(byteor_client *c, PyObject *list, Py_ssize_t first, uint64_t count) {
    uint64_t time_ns = byteor_client_begin(c, count);
    byteor_client_touch(c, count, (uint32_t)PyBytes_GET_SIZE(PyList_GET_ITEM(list, first)));
    for (uint64_t i = 0; i < count; i++) {
        PyObject *item = PyList_GET_ITEM(list, first + (Py_ssize_t)i);
        byteor_client_put(c, c->position + i, PyBytes_AS_STRING(item), (uint32_t)PyBytes_GET_SIZE(item), time_ns + i);
    }
    byteor_client_publish(c, c->position + count);
}

/* `count` messages from the position on as a list, the dropped ones left out, and the end noted; *live is how many were
 * messages. Nothing is released. NULL without memory. */
static inline PyObject *byteor_list_take(byteor_client *c, uint64_t count, uint64_t *live) {
    PyObject *list = PyList_New((Py_ssize_t)count);
    Py_ssize_t found = 0;
    if (list == NULL) return NULL;
    for (uint64_t i = 0; i < count; i++) {
        byteor_slot *slot = byteor_ring_slot(&c->ring, c->position + i);
        __builtin_prefetch((const uint8_t *)byteor_ring_slot(&c->ring, c->position + i + LINES_AHEAD) + BYTEOR_LINE);
        if (__builtin_expect(slot->flags & (BYTEOR_SLOT_END | BYTEOR_SLOT_DROPPED), 0)) {
            if (slot->flags & BYTEOR_SLOT_END) c->ended = 1;
            if (!(slot->flags & BYTEOR_SLOT_END) || slot->length == 0) continue;
        }
        PyObject *item = byteor_slot_bytes(c, slot);
        if (item == NULL) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, found++, item);
    }
    Py_SET_SIZE((PyVarObject *)list, found); /* the rest of its memory is empty, and stays its own */
    *live = (uint64_t)found;
    return list;
}

#endif
