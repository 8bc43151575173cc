# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""The batch that a Python stage sees, and the glue that makes a Python object a stage of the public ABI.

Owns the rule that no view outlives its batch. Must not copy payloads unless a method says so.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AsString
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

import gc
from array import array

from byteord.stages.raised import describe, forget

cdef extern from "unit_stages.h" nogil:
    enum:
        BYTEOR_STAGE_ABI
        BYTEOR_STAGE_OK, BYTEOR_STAGE_ERROR, BYTEOR_STAGE_VIEWS_KEPT, BYTEOR_STAGE_NONSENSE
        BYTEOR_STAGE_MUTATES, BYTEOR_STAGE_DROPS, BYTEOR_STAGE_RESIZES
        BYTEOR_SLOT_HEADER_BYTES, BYTEOR_SLOT_END, BYTEOR_STATE_DOUBLE_BYTES_MAX, BYTEOR_BATCH_EMITS
    const uint32_t BYTEOR_INDEX_UNKNOWN
    ctypedef struct byteor_slot:
        uint16_t length
        uint8_t type
        uint8_t flags
        uint64_t time_ns
    ctypedef struct byteor_batch:
        uint32_t abi
        uint32_t count
        uint32_t slot_bytes
        uint32_t payload_max
        uint64_t first_sequence
        uint8_t *slots
        void *state
        uint64_t state_bytes
        uint64_t now_ns
        uint32_t error_index
        uint32_t features
        const char *error_text
    ctypedef struct byteor_stage_vtable:
        uint32_t abi
        uint32_t struct_bytes
        const char *name
        uint32_t flags
        uint32_t touch_bytes_max
        int (*process)(void *self, byteor_batch *batch) noexcept
        int (*end)(void *self, byteor_batch *batch) noexcept
    ctypedef struct byteor_role:
        uint64_t busy_sequence
        uint32_t busy_exact
    void byteor_store_relaxed64(uint64_t *address, uint64_t value)
    ctypedef struct byteor_stage_handle:
        const byteor_stage_vtable *vtable
        void *self
    byteor_slot *byteor_slot_at(const byteor_batch *batch, uint32_t index)
    uint8_t *byteor_payload(byteor_slot *slot)
    int byteor_live(const byteor_slot *slot)
    void byteor_drop(byteor_slot *slot)
    int byteor_touch(byteor_batch *batch, void *address, uint32_t size)
    int byteor_emit(byteor_batch *batch, uint32_t index, const void *data, uint32_t size)


class BatchError(Exception):
    """A stage used its batch in a way that it did not declare, or after the batch was over."""


@cython.final
cdef class Batch:
    """Messages of one call, in place in shared memory.

    `len(batch)` live messages; `batch[i]` and iteration give memoryviews of the payloads (uint8, read-only unless the
    stage declares `mutates`). Views must not be kept past the call: copy what you keep (`bytes(view)`).
    """

    cdef byteor_batch *batch
    cdef uint32_t *live
    cdef uint32_t live_count
    cdef uint32_t live_room
    cdef uint32_t touched
    cdef uint32_t emitted_after  # index of the last message that something was emitted after
    cdef uint32_t flags
    cdef Py_ssize_t exports
    cdef uint32_t same_length  # of all live payloads, or BYTEOR_INDEX_UNKNOWN
    cdef object view
    cdef dict slot_dtypes
    cdef object last_dtype, last_slot_dtype, numpy  # of the last call of as_array
    cdef uint32_t last_slot_bytes
    cdef byteor_role *role  # NULL, or where it is shown which message the stage took last
    cdef readonly uint64_t gathered

    def __cinit__(self):
        """An empty batch; the worker opens it for each call."""
        self.slot_dtypes = {}

    def __dealloc__(self):
        free(self.live)

    cdef int open(self, byteor_batch *batch, uint32_t flags) except -1:
        cdef uint32_t i
        cdef byteor_slot *slot
        if batch.count > self.live_room:
            free(self.live)
            self.live_room = 0
            self.live = <uint32_t *> malloc(batch.count * sizeof(uint32_t))
            if self.live == NULL:
                raise MemoryError
            self.live_room = batch.count
        self.live_count = 0
        self.same_length = BYTEOR_INDEX_UNKNOWN
        for i in range(batch.count):
            slot = byteor_slot_at(batch, i)
            if not byteor_live(slot):
                continue
            if self.live_count == 0:
                self.same_length = slot.length
            elif slot.length != self.same_length:
                self.same_length = BYTEOR_INDEX_UNKNOWN
            self.live[self.live_count] = i
            self.live_count += 1
        self.batch = batch
        self.flags = flags
        self.touched = BYTEOR_INDEX_UNKNOWN
        self.emitted_after = 0
        if self.role != NULL:
            self.role.busy_exact = 0
        self.view = memoryview(self)
        return 0

    cdef Py_ssize_t close(self):
        """End the batch; returns how many views are still held."""
        self.view = None
        if self.exports:
            gc.collect()
        self.batch = NULL
        self.live_count = 0
        return self.exports

    def open_at(self, uintptr_t address, uint32_t flags):
        """Open over the `byteor_batch` at `address`; for the client of a ring."""
        self.open(<byteor_batch *> address, flags)

    def close_now(self):
        """End the batch; returns how many views are still held."""
        return self.close()

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if self.batch == NULL:
            raise BatchError("the batch is over: copy what you keep while it is open")
        readonly = not self.flags & BYTEOR_STAGE_MUTATES
        if readonly and flags & PyBUF_WRITABLE:
            raise BufferError("payloads are read-only: declare `mutates` in the spec to change them in place")
        PyBuffer_FillInfo(buffer, self, self.batch.slots, <Py_ssize_t> self.batch.count * self.batch.slot_bytes,
            readonly, flags)
        self.exports += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.exports -= 1

    cdef byteor_slot *at(self, Py_ssize_t index) except NULL:
        if self.batch == NULL:
            raise BatchError("the batch is over: copy what you keep while it is open")
        if index < 0:
            index += self.live_count
        if index < 0 or index >= self.live_count:
            raise IndexError(f"message {index} of a batch of {self.live_count}")
        self.touched = self.live[index]
        if self.role != NULL:
            byteor_store_relaxed64(&self.role.busy_sequence, self.batch.first_sequence + self.touched)
            self.role.busy_exact = 1
        return byteor_slot_at(self.batch, self.touched)

    def __len__(self):
        return self.live_count

    def __getitem__(self, Py_ssize_t index):
        return self.payload(index)

    def __iter__(self):
        cdef Py_ssize_t index
        for index in range(self.live_count):
            yield self.payload(index)

    cpdef payload(self, Py_ssize_t index):
        """Return a memoryview of the payload of live message `index`."""
        cdef byteor_slot *slot = self.at(index)
        cdef Py_ssize_t start = <Py_ssize_t> self.touched * self.batch.slot_bytes + BYTEOR_SLOT_HEADER_BYTES
        return self.view[start:start + slot.length]

    @property
    def payload_max(self):
        """Most bytes that a payload can have."""
        return self.batch.payload_max if self.batch != NULL else 0

    @property
    def now_ns(self):
        """The run's clock, read once for the batch, nanoseconds."""
        return self.batch.now_ns if self.batch != NULL else 0

    @property
    def lengths(self):
        """Payload lengths of the live messages: array of uint16, a copy."""
        return array("H", [byteor_slot_at(self.batch, self.live[i]).length for i in range(self.live_count)])

    @property
    def times(self):
        """Ingress times of the live messages: array of uint64 nanoseconds of the run's clock, a copy."""
        return array("Q", [byteor_slot_at(self.batch, self.live[i]).time_ns for i in range(self.live_count)])

    @property
    def sequences(self):
        """Sequences of the live messages: array of uint64, a copy."""
        return array("Q", [self.batch.first_sequence + self.live[i] for i in range(self.live_count)])

    def as_array(self, dtype):
        """Return the live payloads as a NumPy array of shape (len(batch),).

        Laid over the slots themselves (strided, no copy, writable if the stage declares `mutates`)
        when no message of the batch was dropped; else a read-only copy of the live ones. Every live payload
        must have exactly the size of `dtype`: BatchError names the first that does not.
        """
        numpy = self.numpy
        if numpy is None:
            import numpy
            self.numpy = numpy
        if self.batch == NULL:
            raise BatchError("the batch is over: copy what you keep while it is open")
        if dtype is not self.last_dtype or self.batch.slot_bytes != self.last_slot_bytes:
            self.last_dtype = dtype = numpy.dtype(dtype)
            self.last_slot_bytes = self.batch.slot_bytes
            self.last_slot_dtype = self.slot_dtype(numpy, dtype)
        self.check_lengths(dtype)
        if self.live_count == 0:
            return numpy.empty(0, dtype)
        over = numpy.frombuffer(self, self.last_slot_dtype)["payload"]
        if self.live_count == self.batch.count:
            return over
        self.gathered += 1
        copied = over[numpy.array([self.live[i] for i in range(self.live_count)], dtype=numpy.intp)]
        copied.flags.writeable = False
        return copied

    cdef slot_dtype(self, numpy, dtype):
        key = (dtype, self.batch.slot_bytes)
        if key not in self.slot_dtypes:
            self.slot_dtypes[key] = numpy.dtype({"names": ["payload"], "formats": [dtype],
                "offsets": [BYTEOR_SLOT_HEADER_BYTES], "itemsize": self.batch.slot_bytes})
        return self.slot_dtypes[key]

    cdef int check_lengths(self, dtype) except -1:
        """Name the first payload whose size is not that of `dtype`."""
        cdef uint32_t i, length, item = dtype.itemsize
        if self.same_length == item:
            return 0
        for i in range(self.live_count):
            length = byteor_slot_at(self.batch, self.live[i]).length
            if length != item:
                self.touched = self.live[i]
                raise BatchError(f"payload of sequence {self.batch.first_sequence + self.touched} has {length} bytes, "
                    f"{dtype} needs {item}")
        return 0

    def drop(self, Py_ssize_t index):
        """Take live message `index` out of the stream. Indices of the batch stay as they are until the call ends."""
        cdef byteor_slot *slot = self.at(index)
        if not self.flags & BYTEOR_STAGE_DROPS:
            raise BatchError("the stage drops a message: declare `drops = true` in the spec")
        byteor_drop(slot)

    def keep(self, mask):
        """Drop every live message whose entry in `mask` (one per live message) is false."""
        if len(mask) != self.live_count:
            raise BatchError(f"a mask of {len(mask)} entries for a batch of {self.live_count}")
        for index in range(self.live_count):
            if not mask[index]:
                self.drop(index)

    def replace(self, Py_ssize_t index, data):
        """Write `data` (bytes-like) as the payload of live message `index`, its length included."""
        cdef byteor_slot *slot = self.at(index)
        cdef const uint8_t[::1] source = data
        cdef Py_ssize_t size = source.shape[0]
        if not self.flags & BYTEOR_STAGE_MUTATES:
            raise BatchError("the stage changes a payload: declare `mutates` in the spec")
        if size != slot.length and not self.flags & BYTEOR_STAGE_RESIZES:
            raise BatchError(f"the stage changes a length from {slot.length} to {size}: declare `resizes = true` in "
                f"the spec")
        if size > self.batch.payload_max:
            raise BatchError(f"{size} bytes do not fit a payload of {self.batch.payload_max}: raise `ring.slot_bytes` "
                f"in the spec")
        if size:
            memcpy(byteor_payload(slot), &source[0], size)
        if size != slot.length:
            self.same_length = BYTEOR_INDEX_UNKNOWN
        slot.length = <uint16_t> size

    def emit(self, Py_ssize_t index, data):
        """Send one more message (bytes-like) right after live message `index`, with its type and ingress time.

        In a LaneGraph, for a stage with `outputs_max` above 1: that many of one message, itself included. In order of
        index. What was emitted stays when the message itself is dropped, and goes when the call fails. In `end`, with
        index 0, it comes after what `end` returns.
        """
        cdef const uint8_t[::1] source = data
        cdef Py_ssize_t size = source.shape[0]
        cdef uint32_t place = 0
        if self.batch == NULL or self.live_count or not self.is_end():
            self.at(index)
            place = self.touched
        fits = size <= self.batch.payload_max
        if not fits or byteor_emit(self.batch, place, &source[0] if size else NULL, <uint32_t> size) != 0:
            raise BatchError(self.not_emitted(place, size))
        self.emitted_after = place

    cdef bint is_end(self) noexcept:
        return self.batch.count == 1 and byteor_slot_at(self.batch, 0).flags & BYTEOR_SLOT_END

    cdef str not_emitted(self, uint32_t place, Py_ssize_t size):
        if not self.batch.features & BYTEOR_BATCH_EMITS:
            return "messages can be emitted in a LaneGraph only, by a stage that does not work in place"
        if size > self.batch.payload_max:
            return f"{size} bytes do not fit a payload of {self.batch.payload_max}: raise `slot_bytes` of its lanes"
        if place < self.emitted_after:
            return f"emitted after message {place} of the batch, and after {self.emitted_after} before: go in order"
        return "more messages of one than the stage may make: raise `outputs_max` of the stage in the spec"


@cython.final
cdef class Block:
    """The `with` block in which a batch of a client is open: released at its end, not if it raises."""

    cdef object client
    cdef tuple arguments

    def __init__(self, client, *arguments):
        """`client._begin(*arguments)` gives the batch, `client._finish(keep)` takes it."""
        self.client, self.arguments = client, arguments

    def __enter__(self):
        return self.client._begin(*self.arguments)

    def __exit__(self, kind, value, trace):
        self.client._finish(kind is None)


@cython.final
cdef class _State:
    """Exporter of the state area of the batch in hand."""

    cdef byteor_batch *batch
    cdef Py_ssize_t exports
    cdef bint logged

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if self.batch == NULL or self.batch.state == NULL:
            raise BatchError("state is at hand only inside process() and end(), of a stage that declares `state = "
                "\"state\"`")
        if self.batch.state_bytes > BYTEOR_STATE_DOUBLE_BYTES_MAX and not self.logged:
            if byteor_touch(self.batch, self.batch.state, <uint32_t> self.batch.state_bytes) != 0:
                raise BatchError("the state does not fit the undo area: raise `limits.undo_bytes` in the deployment")
            self.logged = True
        PyBuffer_FillInfo(buffer, self, self.batch.state, <Py_ssize_t> self.batch.state_bytes, 0, flags)
        self.exports += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.exports -= 1


@cython.final
cdef class PythonStage:
    """A Python object with `process(batch)` and, if it likes, `end(batch)`, as a stage of the public ABI."""

    cdef byteor_stage_vtable vtable
    cdef byteor_stage_handle handle
    cdef Batch batch
    cdef _State state_area
    cdef object instance
    cdef object end_method
    cdef bytes error

    def __cinit__(self, bint mutates, bint drops, bint resizes):
        """Declare what the spec declares for the stage."""
        self.batch = Batch()
        self.state_area = _State()
        self.vtable.abi = BYTEOR_STAGE_ABI
        self.vtable.struct_bytes = sizeof(byteor_stage_vtable)
        self.vtable.name = b"python"
        self.vtable.flags = (
            (BYTEOR_STAGE_MUTATES if mutates else 0)
            | (BYTEOR_STAGE_DROPS if drops else 0)
            | (BYTEOR_STAGE_RESIZES if resizes else 0)
        )
        self.vtable.process = _process
        self.vtable.end = _end
        self.handle.vtable = &self.vtable
        self.handle.self = <void *> self

    def show_progress(self, uintptr_t role):
        """Show in the `byteor_role` at that address which message the stage took last; it must outlive the stage."""
        self.batch.role = <byteor_role *> role

    def bind(self, instance):
        """Give it the object to call."""
        self.instance = instance
        self.end_method = getattr(instance, "end", None)

    def state_view(self):
        """Return a writable memoryview of the state area; valid inside a call only."""
        return memoryview(self.state_area)

    @property
    def now_ns(self):
        """The run's clock at the start of the call, nanoseconds; 0 outside a call."""
        return self.batch.batch.now_ns if self.batch.batch != NULL else 0

    @property
    def address(self):
        """Address of the stage handle for the worker's loop."""
        return <uintptr_t> &self.handle

    @property
    def flags(self):
        """What it declares, as in the C ABI."""
        return self.vtable.flags

    @property
    def touch_bytes_max(self):
        """0: state beyond the double-buffered size is logged whole, once a batch."""
        return 0

    @property
    def gathered(self):
        """Calls of as_array that had to copy."""
        return self.batch.gathered

    cdef int failed(self, byteor_batch *batch, int outcome, str text) noexcept:
        self.error = text.encode("utf-8", "replace")
        batch.error_text = PyBytes_AsString(self.error)
        batch.error_index = self.batch.touched
        return outcome

    cdef int finished(self, byteor_batch *batch) noexcept:
        cdef Py_ssize_t held = self.batch.close() + self.state_area.exports
        self.state_area.batch = NULL
        if held:
            return self.failed(batch, BYTEOR_STAGE_VIEWS_KEPT, f"{held} views of the batch are still held after the "
                f"call: copy what you keep")
        return BYTEOR_STAGE_OK

    cdef int call(self, byteor_batch *batch, bint is_end) noexcept:
        try:
            self.batch.open(batch, self.vtable.flags)
            self.state_area.batch = batch
            self.state_area.logged = False
            result = self.end_method(self.batch) if is_end else self.instance.process(self.batch)
            if is_end and result is not None:
                _leave_last(batch, result)
            elif result is not None:
                self.batch.touched = BYTEOR_INDEX_UNKNOWN
                text = f"process returned {type(result).__name__}, wanted None: change messages through the batch"
                self.batch.close()
                self.state_area.batch = NULL
                return self.failed(batch, BYTEOR_STAGE_NONSENSE, text)
            del result
        except BaseException as error:
            text = describe(error)
            forget(error)
            self.batch.close()
            self.state_area.batch = NULL
            return self.failed(batch, BYTEOR_STAGE_ERROR, text)
        return self.finished(batch)


cdef _leave_last(byteor_batch *batch, result):
    cdef const uint8_t[::1] source = result if not isinstance(result, str) else result.encode()
    cdef byteor_slot *slot = byteor_slot_at(batch, 0)
    cdef Py_ssize_t size = source.shape[0]
    if size > batch.payload_max:
        raise BatchError(f"a last message of {size} bytes does not fit a payload of {batch.payload_max}: raise "
            f"`ring.slot_bytes`")
    if size:
        memcpy(byteor_payload(slot), &source[0], size)
    slot.length = <uint16_t> size


cdef int _process(void *self, byteor_batch *batch) noexcept with gil:
    return (<PythonStage> self).call(batch, False)


cdef int _end(void *self, byteor_batch *batch) noexcept with gil:
    if (<PythonStage> self).end_method is None:
        return BYTEOR_STAGE_OK
    return (<PythonStage> self).call(batch, True)
