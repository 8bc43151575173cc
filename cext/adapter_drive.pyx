# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Driving sources and sinks alone, in private slots: for tests and measurements, never for a run.

Works on handles' C addresses, as the worker's loop does.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset


cdef extern from "adapter.h" nogil:
    enum: BYTEOR_ADAPTER_WAITING
    enum: BYTEOR_ADAPTER_ENDED
    enum: BYTEOR_ADAPTER_FAILED

    ctypedef struct byteor_slot:
        uint16_t length
        uint8_t flags
        uint64_t time_ns

    ctypedef struct byteor_batch:
        uint32_t abi
        uint32_t count
        uint32_t slot_bytes
        uint32_t payload_max
        uint64_t first_sequence
        uint8_t *slots
        uint64_t now_ns

    ctypedef struct byteor_adapter_common:
        uint32_t status

    ctypedef struct byteor_source:
        byteor_adapter_common common
        int (*poll)(byteor_source *, byteor_batch *) noexcept nogil

    ctypedef struct byteor_sink:
        byteor_adapter_common common
        int (*write)(byteor_sink *, const byteor_batch *) noexcept nogil
        void (*finish)(byteor_sink *) noexcept nogil

    byteor_slot *byteor_slot_at(const byteor_batch *, uint32_t)
    uint8_t *byteor_payload(byteor_slot *)


cdef class _Slots:
    """A private run of slots, as the ring's."""

    cdef byteor_batch batch

    def __cinit__(self, uint32_t slot_bytes, uint32_t count):
        memset(&self.batch, 0, sizeof(self.batch))
        self.batch.abi = 1
        self.batch.slot_bytes = slot_bytes
        self.batch.payload_max = slot_bytes - 16
        self.batch.slots = <uint8_t *>calloc(count, slot_bytes)
        if self.batch.slots == NULL:
            raise MemoryError("no memory for private slots")

    def __dealloc__(self):
        free(self.batch.slots)


cdef size_t _address(handle) except 0:
    if not handle.address:
        raise ValueError("this adapter is closed")
    return handle.address


def drain(handle, *, uint32_t slot_bytes=256, uint32_t max_batch=64, limit=None,
          uint64_t now_ns=0, bint stamped=False, bint once=False):
    """Poll until the source waits, ends, fails, `limit` messages came, or `once`; return them.

    With `stamped` each comes with its slot's time.
    """
    cdef byteor_source *source = <byteor_source *>_address(handle)
    cdef _Slots slots = _Slots(slot_bytes, max_batch)
    cdef byteor_slot *slot
    cdef int filled, i
    messages = []
    slots.batch.now_ns = now_ns
    while source.common.status < BYTEOR_ADAPTER_ENDED and (limit is None or len(messages) < limit):
        slots.batch.count = max_batch if limit is None else min(max_batch, limit - len(messages))
        with nogil:
            filled = source.poll(source, &slots.batch)
        for i in range(filled):
            slot = byteor_slot_at(&slots.batch, i)
            payload = (<const char *>byteor_payload(slot))[:slot.length]
            messages.append((payload, slot.time_ns) if stamped else payload)
        if once or source.common.status == BYTEOR_ADAPTER_WAITING:
            break
    return messages


def push(handle, payloads, *, uint32_t slot_bytes=256, flags=None, uint64_t first_sequence=0):
    """Present `payloads` as one batch; return how many slots the sink is done with."""
    cdef byteor_sink *sink = <byteor_sink *>_address(handle)
    cdef uint32_t count = len(payloads)
    cdef _Slots slots = _Slots(slot_bytes, max(1, count))
    cdef byteor_slot *slot
    cdef uint32_t i
    cdef int done
    slots.batch.count = count
    slots.batch.first_sequence = first_sequence
    for i in range(count):
        payload = bytes(payloads[i])
        if len(payload) > slot_bytes - 16:
            raise ValueError(f"payload of {len(payload)} bytes; a slot holds {slot_bytes - 16}")
        slot = byteor_slot_at(&slots.batch, i)
        slot.length = len(payload)
        slot.flags = flags[i] if flags is not None else 0
        memcpy(byteor_payload(slot), <const char *>payload, len(payload))
    with nogil:
        done = sink.write(sink, &slots.batch)
    return done


def finish(handle):
    """Call the sink's finish once and return its status."""
    cdef byteor_sink *sink = <byteor_sink *>_address(handle)
    with nogil:
        sink.finish(sink)
    return sink.common.status


cdef void _take_all(byteor_sink *sink, byteor_batch *batch, uint32_t count) noexcept nogil:
    cdef byteor_batch left = batch[0]
    cdef int done
    left.count = count
    while left.count and sink.common.status != BYTEOR_ADAPTER_FAILED:
        done = sink.write(sink, &left)
        left.count -= done
        left.slots += <size_t>done * left.slot_bytes


def spin(source_handle, sink_handle=None, *, uint32_t slot_bytes=64, uint32_t max_batch=256,
         uint64_t messages):
    """Move up to `messages` from source to sink in one loop without the GIL; return how many."""
    cdef byteor_source *source = <byteor_source *>_address(source_handle)
    cdef byteor_sink *sink = NULL
    cdef _Slots slots = _Slots(slot_bytes, max_batch)
    cdef uint64_t moved = 0
    cdef int filled
    if sink_handle is not None:
        sink = <byteor_sink *>_address(sink_handle)
    with nogil:
        while moved < messages:
            slots.batch.count = <uint32_t>min(<uint64_t>max_batch, messages - moved)
            filled = source.poll(source, &slots.batch)
            if source.common.status >= BYTEOR_ADAPTER_ENDED:
                break
            if sink != NULL:
                _take_all(sink, &slots.batch, filled)
            moved += filled
    return moved
