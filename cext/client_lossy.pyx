# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""LossyConsumer: any Python process as a lossy consumer of a fan-out, which it never holds up.

The GIL is released only while nothing is there. Locks, paths and plans are the business of `byteord.client`.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc

from byteord._cext.batch import Batch, Block
from byteord._cext.client import WAITS as _WAITS
from byteord._cext.client import ClosedError
from byteord._cext.region import RegionFault

from client_ring cimport (
    BYTEOR_NO_SEQUENCE,
    BYTEOR_REGION_CONTROL,
    BYTEOR_REGION_RING,
    BYTEOR_STAGE_ABI,
    BYTEOR_STATE_ENDED,
    BYTEOR_STATE_RUNNING,
    _sized_role,
    _sized_unit,
    byteor_batch,
    byteor_load_acquire32,
    byteor_map,
    byteor_monotonic_ns,
    byteor_payload,
    byteor_region_header,
    byteor_region_lost,
    byteor_region_open,
    byteor_region_unmap,
    byteor_ring,
    byteor_ring_view,
    byteor_role,
    byteor_slot,
    byteor_store_release32,
    byteor_unit,
    byteor_wait,
)

cdef extern from "client_lossy.h" nogil:
    enum:
        BYTEOR_LOSSY_MESSAGE
    ctypedef struct byteor_lossy:
        byteor_ring ring
        byteor_role *role
        uint64_t *word
        uint64_t position
        uint64_t missed
        uint64_t nonsense
        uint32_t ended
        byteor_wait wait
    void byteor_lossy_open(byteor_lossy *lossy)
    void byteor_lossy_show(byteor_lossy *lossy, uint64_t messages)
    int byteor_lossy_next(byteor_lossy *lossy, uint8_t *to)
    uint32_t byteor_lossy_run(byteor_lossy *lossy, uint8_t *to, uint32_t most)
    int byteor_lossy_wait(byteor_lossy *lossy, uint64_t bound_ns)

cdef extern from "layout.h" nogil:
    ctypedef struct _words_unit "byteor_unit":
        uint64_t undo_offset
        uint64_t undo_slot_bytes
        uint32_t selector

cdef uint64_t SLICE_NS = 20_000_000  # signals are looked at this often while waiting
cdef size_t BATCH_BYTES_MAX = 16 << 20  # of the copies of a batch


@cython.final
cdef class LossyConsumer:
    """A lossy consumer of a ring. One at a time; each message is a copy."""

    cdef byteor_map ring_map
    cdef byteor_map control_map
    cdef byteor_lossy lossy
    cdef byteor_unit *own_unit
    cdef uint8_t *slot
    cdef uint8_t *copies  # of a batch: room for so many slots
    cdef uint32_t room
    cdef byteor_batch in_hand
    cdef object batch_view
    cdef bint open, closed

    def __cinit__(self, int ring_fd, int control_fd, *, int role, int unit, size_t words, size_t word,
                  str wait="backoff"):
        """Continue where a predecessor was; `word` of its unit's `words` is where the role's port has its own."""
        cdef char text[256]
        cdef byteor_region_header *header
        cdef _words_unit *shown
        if byteor_region_open(ring_fd, BYTEOR_REGION_RING, 0, 1000, &self.ring_map, text, sizeof(text)):
            raise ValueError(f"ring: {text.decode('utf-8', 'replace')}")
        if byteor_region_open(control_fd, BYTEOR_REGION_CONTROL, 1, 1000, &self.control_map, text, sizeof(text)):
            raise ValueError(f"control region: {text.decode('utf-8', 'replace')}")
        byteor_ring_view(&self.ring_map, &self.lossy.ring)
        header = <byteor_region_header *> self.control_map.base
        if role < 0 or <uint32_t> role >= header.counts[1] or unit < 0 or <uint32_t> unit >= header.counts[0]:
            raise ValueError(f"role {role}, unit {unit}: the run has no such")
        at = self.control_map.base + header.section[2] + <size_t> role * sizeof(_sized_role)
        self.lossy.role = <byteor_role *> at
        at = self.control_map.base + header.section[1] + <size_t> unit * sizeof(_sized_unit)
        self.own_unit = <byteor_unit *> at
        shown = <_words_unit *> at
        if (word + 3 > words or words * 16 > shown.undo_slot_bytes
                or shown.undo_offset + words * 16 > self.control_map.bytes):
            raise ValueError(f"word {word} of {words}: the unit has room for {shown.undo_slot_bytes // 16}")
        at = self.control_map.base + shown.undo_offset
        self.lossy.word = <uint64_t *> at + (byteor_load_acquire32(&shown.selector) & 1) * words + word
        self.lossy.wait.kind = _WAITS[wait]
        self.lossy.wait.sleep_ns_max = 1_000_000
        self.slot = <uint8_t *> malloc(self.lossy.ring.slot_bytes)
        if self.slot == NULL:
            raise MemoryError
        self.batch_view = Batch()
        byteor_lossy_open(&self.lossy)

    def __dealloc__(self):
        free(self.slot)
        free(self.copies)
        byteor_region_unmap(&self.ring_map)
        byteor_region_unmap(&self.control_map)

    def _show(self, uint32_t pid, bint running):
        """Show in the run's control region who plays the role."""
        self.lossy.role.pid = pid
        byteor_store_release32(&self.lossy.role.state, BYTEOR_STATE_RUNNING if running else BYTEOR_STATE_ENDED)

    def _leave(self):
        """The session is over: the handle is of no use any more."""
        self.closed = True

    @property
    def payload_max(self):
        """Most bytes a message can have."""
        return self.lossy.ring.payload_max

    @property
    def capacity(self):
        """Slots of the ring."""
        return self.lossy.ring.capacity

    @property
    def position(self):
        """Next sequence."""
        return self.lossy.position

    @property
    def missed(self):
        """Messages that were written over before this consumer, or one before it, could read them."""
        return self.lossy.missed

    @property
    def nonsense(self):
        """Slots that held no message, passed over."""
        return self.lossy.nonsense

    @property
    def ended(self):
        """The producer has ended and everything was read or missed."""
        return bool(self.lossy.ended)

    cdef int believe(self) except -1:
        """Refuse to go on after the `with` block, or with regions of which a page is gone."""
        if self.closed:
            raise ClosedError("the session is over: attach again")
        if byteor_region_lost(&self.ring_map) or byteor_region_lost(&self.control_map):
            raise RegionFault("LOST", "a page of the ring or of its control region is gone: its file was truncated "
                "from outside, or its filesystem is full; the run is lost, attach to another")
        return 0

    cdef list at_hand(self, Py_ssize_t most):
        """Return up to `most` messages that can be read now."""
        cdef byteor_slot *slot = <byteor_slot *> self.slot
        cdef list found = []
        while len(found) < most and byteor_lossy_next(&self.lossy, self.slot) == BYTEOR_LOSSY_MESSAGE:
            found.append(PyBytes_FromStringAndSize(<const char *> byteor_payload(slot), slot.length))
        byteor_lossy_show(&self.lossy, len(found))
        return found

    cdef bint some(self, timeout_s) except -1:
        """Whether there is something to look for; waits for it `timeout_s` seconds (None: for ever)."""
        cdef uint64_t deadline = BYTEOR_NO_SEQUENCE
        cdef int late
        if self.open:
            raise BufferError("a batch of this consumer is open: leave its block first")
        if timeout_s is not None:
            deadline = byteor_monotonic_ns() + <uint64_t> (timeout_s * 1e9)
        while True:
            self.believe()
            if self.lossy.ended:
                return False
            with nogil:
                late = byteor_lossy_wait(&self.lossy, SLICE_NS)
            if not late:
                return True
            PyErr_CheckSignals()
            if byteor_monotonic_ns() >= deadline or byteor_load_acquire32(&self.own_unit.command) != 1:
                return False

    def take_many(self, Py_ssize_t most, timeout_s=None):
        """Return up to `most` messages that are at hand as a list of bytes; waits for the first as `take` does."""
        cdef list found = []
        while most > 0 and not found and self.some(timeout_s):
            found = self.at_hand(most)
        return found

    def take(self, timeout_s=None):
        """Return the next message as bytes; None at the end of input (see `ended`) or after `timeout_s` seconds."""
        found = self.take_many(1, timeout_s)
        return found[0] if found else None

    def batch(self, Py_ssize_t most=256, timeout_s=None):
        """Up to `most` messages as `Consumer.batch` gives them: `with consumer.batch() as batch: ...`.

        They are copies, which no producer writes over, and follow each other without a gap: what was missed was missed
        before the first. Read at the end of the block; where it raises, the next batch begins with the same message,
        or with a later one if that is missed by then.
        """
        return Block(self, most, timeout_s)

    def _begin(self, Py_ssize_t most, timeout_s):
        cdef uint32_t count = 0
        self.make_room(most)
        while not count and most > 0 and self.some(timeout_s):
            count = byteor_lossy_run(&self.lossy, self.copies, <uint32_t> min(<Py_ssize_t> self.room, most))
        self.in_hand.abi = BYTEOR_STAGE_ABI
        self.in_hand.count = count
        self.in_hand.slot_bytes = self.lossy.ring.slot_bytes
        self.in_hand.payload_max = self.lossy.ring.payload_max
        self.in_hand.first_sequence = self.lossy.position - count
        self.in_hand.slots = self.copies
        self.open = True
        self.batch_view.open_at(<uintptr_t> &self.in_hand, 0)
        return self.batch_view

    cdef int make_room(self, Py_ssize_t most) except -1:
        cdef size_t wanted = <size_t> max(most, 1), slot_bytes = self.lossy.ring.slot_bytes
        wanted = min(wanted, <size_t> self.lossy.ring.capacity, max(BATCH_BYTES_MAX // slot_bytes, <size_t> 1))
        if self.open or wanted <= self.room:
            return 0
        free(self.copies)
        self.room = 0
        self.copies = <uint8_t *> malloc(wanted * slot_bytes)
        if self.copies == NULL:
            raise MemoryError
        self.room = <uint32_t> wanted
        return 0

    def _finish(self, bint keep):
        held = self.batch_view.close_now()
        self.open = False
        if not keep or held:
            self.lossy.position = self.in_hand.first_sequence
        if keep and held:
            raise BufferError(f"{held} views of the batch are still held: nothing was read; copy what you keep")
        if keep:
            self.believe()
            byteor_lossy_show(&self.lossy, self.in_hand.count)

    def __iter__(self):
        """Yield messages as bytes until the end of input."""
        while not self.lossy.ended:
            found = self.take_many(256)
            yield from found
            if not found and byteor_load_acquire32(&self.own_unit.command) != 1:
                return
