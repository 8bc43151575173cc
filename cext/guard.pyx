# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Views of messages through the rules of data protection stages, outside of any run.

Owns the instances and what they count. It must not know specs, deployments or files.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from byteord.errors import StageError


cdef extern from "byteor_stage.h" nogil:
    ctypedef struct byteor_config_item:
        const char *key
        const char *value

    ctypedef struct byteor_config:
        const byteor_config_item *items
        size_t count
        uint32_t payload_max


cdef extern from "guard_chain.h" nogil:
    const uint32_t GUARD_CHAIN_MAX
    const uint32_t GUARD_CHECKS
    const uint32_t GUARD_REDACTS
    const uint32_t GUARD_SHOWS

    ctypedef struct guard_stage:
        pass

    ctypedef struct guard_slice:
        const uint8_t *data
        uint32_t bytes

    ctypedef struct guard_chain:
        uint32_t count
        guard_stage **stage
        uint64_t messages
        uint64_t changed
        uint64_t withheld

    guard_stage *guard_create(
        const byteor_config *config, uint32_t mode, char *error, size_t error_bytes)
    void guard_chain_free(guard_chain *self)
    bint guard_chain_pass(guard_chain *self, guard_slice payload, guard_slice *left)
    uint64_t guard_chain_frames(
        guard_chain *self, const uint8_t *data, uint64_t *reached, uint64_t end, uint64_t sealed,
        uint8_t *out, uint64_t room)


cdef guard_stage *_open(dict config, uint32_t payload_max) except NULL:
    """Open one stage with a configuration in native form, which no error repeats."""
    cdef byteor_config native
    cdef char[512] error
    cdef guard_stage *stage
    cdef byteor_config_item *items
    cdef size_t index
    texts = [(key.encode(), config[key].encode()) for key in sorted(config)]
    items = <byteor_config_item *>calloc(len(texts) + 1, sizeof(byteor_config_item))
    if items == NULL:
        raise MemoryError
    try:
        for index, (key, value) in enumerate(texts):
            items[index].key = key
            items[index].value = value
        memset(error, 0, sizeof(error))
        native.items = items
        native.count = len(texts)
        native.payload_max = payload_max
        stage = guard_create(
            &native, GUARD_CHECKS | GUARD_REDACTS | GUARD_SHOWS, error, sizeof(error) - 1)
    finally:
        free(items)
    if stage == NULL:
        said = (<bytes>error).decode("utf-8", "replace")
        raise StageError(f"data protection: {said}", reason="STAGE_CONFIG_INVALID")
    return stage


@cython.final
cdef class Guard:
    """The rules of one or more stages, applied in turn. Use it from one thread at a time."""

    cdef guard_chain *chain

    def __cinit__(self, list configs not None, uint32_t payload_max):
        """Open a stage for each native configuration; StageError (STAGE_CONFIG_INVALID)."""
        cdef guard_stage *stage
        if not 0 < len(configs) <= GUARD_CHAIN_MAX:
            raise ValueError(f"{len(configs)} stages; wanted 1 to {GUARD_CHAIN_MAX}")
        self.chain = <guard_chain *>calloc(1, sizeof(guard_chain))
        if self.chain == NULL:
            raise MemoryError
        for config in configs:
            stage = _open(config, payload_max)
            self.chain.stage[self.chain.count] = stage
            self.chain.count += 1

    def __dealloc__(self):
        guard_chain_free(self.chain)

    @property
    def messages(self) -> int:
        """Messages that were looked at."""
        return self.chain.messages

    @property
    def changed(self) -> int:
        """Of those the ones that a rule changed."""
        return self.chain.changed

    @property
    def withheld(self) -> int:
        """Of those the ones that must not be seen at all."""
        return self.chain.withheld

    def view(self, bytes payload not None):
        """Return what may be seen of a payload; None: it fits no schema, and nothing may be."""
        cdef guard_slice given
        cdef guard_slice left
        given.data = <const uint8_t *>PyBytes_AS_STRING(payload)
        given.bytes = <uint32_t>len(payload)
        if not guard_chain_pass(self.chain, given, &left):
            return None
        return PyBytes_FromStringAndSize(<const char *>left.data, left.bytes)

    def frames(
        self, const uint8_t[::1] data not None, uint64_t offset, uint64_t end, uint64_t sealed,
        uint8_t[::1] out not None
    ):
        """Write frames of a segment from `offset` to `end` as they may be seen, as many as fit.

        `sealed`: id of the segment that they go to; `out` has room for the largest frame at least.
        Return (bytes written, offset reached); nothing is written for what is no whole frame.
        """
        cdef uint64_t reached = offset
        cdef uint64_t written
        if end > <uint64_t>data.shape[0] or end < 64:
            raise ValueError(f"end {end}: the segment has {data.shape[0]} bytes")
        with nogil:
            written = guard_chain_frames(
                self.chain, &data[0], &reached, end, sealed, &out[0], out.shape[0])
        return written, reached
