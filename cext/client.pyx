# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Publisher and Consumer: any Python process as ingress or egress of a run, directly in shared memory.

The GIL is released only while the ring is empty or full. Locks, paths and plans are the business of `byteord.client`.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc

from byteord._cext.batch import Batch
from byteord._cext.region import RegionFault

from client_ring cimport (
    BYTEOR_NO_SEQUENCE,
    BYTEOR_REGION_CONTROL,
    BYTEOR_REGION_RING,
    BYTEOR_RUN_MEMBARRIER,
    BYTEOR_SLOT_DROPPED,
    BYTEOR_SLOT_END,
    BYTEOR_STAGE_ABI,
    BYTEOR_STAGE_MUTATES,
    BYTEOR_STAGE_RESIZES,
    BYTEOR_STATE_ENDED,
    BYTEOR_STATE_RUNNING,
    _sized_role,
    _sized_unit,
    byteor_batch,
    byteor_batch_begin,
    byteor_batch_release,
    byteor_client,
    byteor_client_ahead,
    byteor_client_available,
    byteor_client_batch,
    byteor_client_begin,
    byteor_client_continue,
    byteor_client_drop,
    byteor_client_end,
    byteor_client_progress,
    byteor_client_publish,
    byteor_client_publish_run,
    byteor_client_put,
    byteor_client_release,
    byteor_client_room,
    byteor_client_wait,
    byteor_list_misfit,
    byteor_list_publish,
    byteor_list_take,
    byteor_load_acquire32,
    byteor_load_acquire64,
    byteor_map,
    byteor_membarrier_register,
    byteor_monotonic_ns,
    byteor_region_header,
    byteor_region_lost,
    byteor_region_open,
    byteor_region_unmap,
    byteor_ring_contiguous,
    byteor_ring_slot,
    byteor_ring_view,
    byteor_role,
    byteor_slot,
    byteor_slot_bytes,
    byteor_store_release32,
    byteor_unit,
)

WAITS = {"spin": 0, "backoff": 1, "park": 1}  # a client that parks backs off: it has no doorbell of its own
cdef uint64_t SLICE_NS = 20_000_000  # signals are looked at this often while waiting
cdef uint64_t AT_ONCE = 1  # a deadline that has always passed


class ClosedError(Exception):
    """The run takes no more from this publisher: it drains, stops or has ended."""


cdef uint64_t _deadline(timeout_s) except? 0:
    if timeout_s is None:
        return BYTEOR_NO_SEQUENCE
    return byteor_monotonic_ns() + <uint64_t> (timeout_s * 1e9)


cdef class _Client:
    """What publisher and consumer share: the mapped ring, the role that it plays, whom to wake."""

    cdef byteor_map ring_map
    cdef byteor_map control_map
    cdef byteor_client c
    cdef byteor_unit *own_unit
    cdef bint closed

    def __cinit__(self, int ring_fd, int control_fd=-1, *, int role=-1, int unit=-1, doorbells=(), str wait="backoff",
                  **_of_subclass):
        """Map the ring, and the control region when it belongs to a run."""
        cdef char text[256]
        cdef byteor_region_header *header
        if byteor_region_open(ring_fd, BYTEOR_REGION_RING, 1, 1000, &self.ring_map, text, sizeof(text)):
            raise ValueError(f"ring: {text.decode('utf-8', 'replace')}")
        byteor_ring_view(&self.ring_map, &self.c.ring)
        self.c.membarrier = self.c.ring.header.flags & BYTEOR_RUN_MEMBARRIER
        if self.c.membarrier and byteor_membarrier_register() != 0:
            raise ValueError("this process cannot register for membarrier, which the run's regions say is used")
        self.c.wait.kind = WAITS[wait]
        self.c.wait.sleep_ns_max = 1_000_000
        if control_fd < 0:
            return
        if byteor_region_open(control_fd, BYTEOR_REGION_CONTROL, 1, 1000, &self.control_map, text, sizeof(text)):
            raise ValueError(f"control region: {text.decode('utf-8', 'replace')}")
        header = <byteor_region_header *> self.control_map.base
        if role < 0 or <uint32_t> role >= header.counts[1] or unit < 0 or <uint32_t> unit >= header.counts[0]:
            raise ValueError(f"role {role}, unit {unit}: the run has no such")
        self.c.role = <byteor_role *> (self.control_map.base + header.section[2] + <size_t> role * sizeof(_sized_role))
        at = <byteor_unit *> (self.control_map.base + header.section[1] + <size_t> unit * sizeof(_sized_unit))
        self.own_unit = at
        for other in doorbells[:16]:
            if other >= header.counts[0]:
                raise ValueError(f"unit {other}: the run has no such")
            at = <byteor_unit *> (self.control_map.base + header.section[1] + <size_t> other * sizeof(_sized_unit))
            self.c.doorbell[self.c.doorbell_count] = &at.parked
            self.c.doorbell_count += 1

    def __dealloc__(self):
        byteor_region_unmap(&self.ring_map)
        byteor_region_unmap(&self.control_map)

    def _show(self, uint32_t pid, bint running):
        """Show in the run's control region who plays the role."""
        if self.c.role != NULL:
            self.c.role.pid = pid
            byteor_store_release32(&self.c.role.state, BYTEOR_STATE_RUNNING if running else BYTEOR_STATE_ENDED)

    def _leave(self):
        """Nothing more through this handle: somebody else may play its role."""
        self.closed = True
        self.c.limit = self.c.position

    cdef bint commanded(self) noexcept:
        return self.own_unit != NULL and byteor_load_acquire32(&self.own_unit.command) != 1

    @property
    def payload_max(self):
        """Most bytes a message can have."""
        return self.c.ring.payload_max

    @property
    def capacity(self):
        """Slots of the ring."""
        return self.c.ring.capacity

    @property
    def position(self):
        """Next sequence."""
        return self.c.position

    cdef int believe(self) except -1:
        """Refuse to go on with a ring of which a page is gone, or after the session."""
        if self.closed:
            raise ClosedError("the session is over: attach again")
        if byteor_region_lost(&self.ring_map) or (self.c.role != NULL and byteor_region_lost(&self.control_map)):
            raise RegionFault("LOST", "a page of the ring or of its control region is gone: its file was truncated "
                "from outside, or its filesystem is full; the run is lost, attach to another")
        return 0

    cdef bint wait_for(self, bint consumer, uint64_t deadline) except -1:
        """Wait in slices; False when the deadline has passed or the run says stop."""
        cdef int late
        while True:
            with nogil:
                late = byteor_client_wait(&self.c, consumer, SLICE_NS)
            self.believe()
            if not late:
                return True
            PyErr_CheckSignals()
            if byteor_monotonic_ns() >= deadline or self.commanded():
                return False


@cython.final
cdef class Publisher(_Client):
    """The producer of a ring. One per ring at a time.

    A lane with `on_full = "drop"` discards what it has no room for, and counts it: nothing is waited for then.
    """

    cdef bint drops
    cdef bint claimed  # a batch is open: its slots have their times

    def __init__(self, *args, bint drops=False, **kwargs):
        """Continue where a predecessor stopped. `drops`: the lane discards what it has no room for."""
        self.drops = drops
        self._resume()

    def _resume(self):
        """Stand behind all that is written; ClosedError when that was the end."""
        if not byteor_client_continue(&self.c):
            raise ClosedError("the input of this ring has ended")

    cdef int room(self, uint64_t deadline) except -1:
        """Wait for a free slot; 0 when the deadline has passed."""
        self.believe()
        if self.c.ended:
            raise ClosedError("the publisher has ended its input")
        if self.commanded():
            raise ClosedError("the run takes no more input")
        if self.claimed:
            raise BufferError("a batch of this publisher is open: leave its block first")
        if byteor_client_room(&self.c):
            return 1
        if deadline == AT_ONCE:
            return 0
        if self.wait_for(False, deadline):
            return 1
        if self.commanded():
            raise ClosedError("the run takes no more input")
        return 0

    cdef int room_or_drop(self, uint64_t messages, uint64_t deadline) except -1:
        """Room as `room`, but a lane that drops has lost `messages` when there is none."""
        if self.room(AT_ONCE if self.drops else deadline):
            return 1
        if self.drops:
            byteor_client_drop(&self.c, messages)
        return 0

    def _progress(self):
        """Say that time has passed although nothing was published; False once there is no more to say."""
        if not self.claimed:
            byteor_client_progress(&self.c)
        return not self.c.ended

    cdef int check(self, Py_ssize_t size) except -1:
        if size > self.c.ring.payload_max:
            raise ValueError(f"{size} bytes: a message of this ring has at most {self.c.ring.payload_max}")
        return 0

    def publish(self, data, timeout_s=None):
        """Publish one message (bytes-like). False when there was no room for `timeout_s` seconds; None: for ever.

        Where the lane drops: False at once, and the message is discarded and counted.
        """
        cdef const uint8_t[::1] view
        cdef const char *source
        cdef Py_ssize_t size
        if PyBytes_CheckExact(data):
            source = PyBytes_AS_STRING(data)
            size = PyBytes_GET_SIZE(data)
        else:
            view = data
            size = view.shape[0]
            source = <const char *> &view[0] if size else NULL
        self.check(size)
        if self.c.position == self.c.limit or self.c.ended or self.claimed or self.own_unit != NULL:
            if not self.room_or_drop(1, _deadline(timeout_s)):
                return False
        byteor_client_put(&self.c, self.c.position, source, <uint32_t> size, byteor_client_begin(&self.c, 1))
        byteor_client_publish(&self.c, self.c.position + 1)
        return True

    def publish_many(self, list messages, timeout_s=None):
        """Publish a list of bytes; returns how many were taken before the timeout (all of them without one)."""
        cdef Py_ssize_t done = 0, total = PyList_GET_SIZE(messages), misfit
        cdef uint64_t room, deadline = _deadline(timeout_s)
        misfit = byteor_list_misfit(messages, self.c.ring.payload_max)
        if misfit >= 0:
            self.check(len(messages[misfit]) if PyBytes_CheckExact(messages[misfit]) else 0)
            raise TypeError(f"publish_many takes bytes, not {type(messages[misfit]).__name__}")
        while done < total and self.room_or_drop(total - done, deadline):
            total = min(total, PyList_GET_SIZE(messages))  # another thread may have had its turn
            room = min(byteor_client_room(&self.c), <uint64_t> (total - done))
            byteor_list_publish(&self.c, messages, done, room)
            done += room
        return done

    def publish_buffer(self, data, Py_ssize_t item_bytes, timeout_s=None):
        """Publish each `item_bytes` of a contiguous buffer as one message; returns how many were taken."""
        cdef const uint8_t[::1] view = memoryview(data).cast("B")
        cdef Py_ssize_t done = 0, total
        cdef uint64_t room, deadline = _deadline(timeout_s)
        if item_bytes <= 0 or view.shape[0] % item_bytes:
            raise ValueError(f"a buffer of {view.shape[0]} bytes is no whole number of items of {item_bytes}")
        self.check(item_bytes)
        total = view.shape[0] // item_bytes
        while done < total and self.room_or_drop(total - done, deadline):
            room = min(byteor_client_room(&self.c), <uint64_t> (total - done))
            byteor_client_publish_run(&self.c, &view[done * item_bytes], <uint32_t> item_bytes, room)
            done += room
        return done

    def batch(self, Py_ssize_t most, Py_ssize_t item_bytes, timeout_s=None):
        """Claim up to `most` slots in place: `with publisher.batch(256, 48) as batch: batch.as_array(dtype)[:] = ...`.

        The claimed slots (a contiguous run, so maybe fewer than `most`; see `len(batch)`) are published at the end
        of the block, or given back when it raises. TimeoutError when there is no room for `timeout_s` seconds: there is
        no message yet that a lane could drop.
        """
        self.check(item_bytes)
        if not self.room(_deadline(timeout_s)):
            raise TimeoutError(f"no free slot for {timeout_s} s")
        return _PublishBatch(self, most, item_bytes)

    def end(self, timeout_s=None):
        """Say that this was all: the run drains and completes. False when there was no room for it."""
        if self.c.ended:
            return True
        if self.claimed:
            raise BufferError("a batch of this publisher is open: leave its block first")
        if not byteor_client_room(&self.c):
            self.wait_for(False, _deadline(timeout_s))
        return self._end_for_client()

    def _end_for_client(self):
        """End the input although the run is commanded to drain; for the shim."""
        self.believe()
        if self.c.ended or not byteor_client_room(&self.c):
            return False
        byteor_client_end(&self.c)
        return True


@cython.final
cdef class _PublishBatch:
    """Slots claimed for writing in place."""

    cdef Publisher publisher
    cdef uint64_t most, item_bytes
    cdef byteor_batch batch
    cdef object view

    def __cinit__(self, Publisher publisher, uint64_t most, uint64_t item_bytes):
        self.publisher, self.most, self.item_bytes = publisher, most, item_bytes

    cdef claim(self):
        cdef byteor_client *c = &self.publisher.c
        cdef uint64_t i, time_ns
        cdef uint64_t count = min(min(byteor_client_room(c), byteor_ring_contiguous(&c.ring, c.position)), self.most)
        cdef byteor_slot *slot
        self.publisher.claimed = True
        time_ns = byteor_client_begin(c, count)
        for i in range(count):
            slot = byteor_ring_slot(&c.ring, c.position + i)
            slot.length = <uint16_t> self.item_bytes
            slot.type = 0
            slot.flags = 0
            slot.time_ns = time_ns + i
        self.batch.abi = BYTEOR_STAGE_ABI
        self.batch.count = <uint32_t> count
        self.batch.slot_bytes = c.ring.slot_bytes
        self.batch.payload_max = c.ring.payload_max
        self.batch.first_sequence = c.position
        self.batch.slots = <uint8_t *> byteor_ring_slot(&c.ring, c.position)
        self.batch.now_ns = time_ns

    def __enter__(self):
        self.claim()
        self.view = Batch()
        self.view.open_at(<uintptr_t> &self.batch, BYTEOR_STAGE_MUTATES | BYTEOR_STAGE_RESIZES)
        return self.view

    def __exit__(self, kind, value, trace):
        held = self.view.close_now()
        self.publisher.claimed = False
        self.publisher.believe()
        if kind is None:
            if held:
                raise BufferError(f"{held} views of the batch are still held: nothing was published")
            byteor_client_publish(&self.publisher.c, self.publisher.c.position + self.batch.count)


@cython.final
cdef class Consumer(_Client):
    """The last consumer of a ring, after its final stage (or after the producer of a ring without stages)."""

    cdef byteor_client_batch in_hand
    cdef object batch_view
    cdef bint open

    def __init__(self, *args, int cell, depends=(), **kwargs):
        """Continue where a predecessor had released."""
        if cell < 0 or <uint32_t> cell >= self.c.ring.cell_count:
            raise ValueError(f"cell {cell}: the ring has {self.c.ring.cell_count}")
        self.c.cell = cell
        self.c.depends_count = len(depends)
        for i, other in enumerate(depends):
            if other >= self.c.ring.cell_count:
                raise ValueError(f"cell {other}: the ring has {self.c.ring.cell_count}")
            self.c.depends[<size_t> i] = other
        self.c.position = byteor_load_acquire64(&self.c.ring.cells[cell].sequence)
        self.c.limit = self.c.position
        end = byteor_load_acquire64(&self.c.ring.producer.end_sequence)
        self.c.ended = end != BYTEOR_NO_SEQUENCE and self.c.position == end + 1
        self.batch_view = Batch()

    def __cinit__(self, *args, cell, depends=(), **kwargs):
        self.open = False
        self.in_hand.last = <uint8_t *> malloc(self.c.ring.slot_bytes)
        if self.in_hand.last == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.in_hand.last)

    @property
    def ended(self):
        """The producer has ended and everything was consumed."""
        return bool(self.c.ended)

    cdef bint some(self, timeout_s) except -1:
        """Whether something is at hand, within `timeout_s` seconds (None: for ever)."""
        cdef bint found
        if self.open:
            raise BufferError("a batch of this consumer is open: leave its block first")
        found = not self.c.ended and (byteor_client_available(&self.c, 1) or self.wait_for(True, _deadline(timeout_s)))
        self.believe()
        return found

    def take(self, timeout_s=None):
        """Return the next message as bytes; None at the end of input (see `ended`) or after `timeout_s` seconds."""
        cdef byteor_slot *slot
        cdef uint64_t live
        while self.some(timeout_s):
            slot = byteor_ring_slot(&self.c.ring, self.c.position)
            live = 0
            if not slot.flags & BYTEOR_SLOT_DROPPED and (slot.length or not slot.flags & BYTEOR_SLOT_END):
                data = byteor_slot_bytes(&self.c, slot)
                live = 1
            self.c.ended = slot.flags & BYTEOR_SLOT_END
            byteor_client_ahead(&self.c)
            byteor_client_release(&self.c, self.c.position + 1, live)
            if live:
                return data
        return None

    def take_many(self, Py_ssize_t most, timeout_s=None):
        """Return up to `most` messages that are at hand as a list of bytes; waits for the first as `take` does."""
        cdef uint64_t count, live = 0
        found = []
        while not live and self.some(timeout_s):
            count = byteor_client_available(&self.c, most)
            found = byteor_list_take(&self.c, count, &live)
            byteor_client_release(&self.c, self.c.position + count, live)
        return found

    def __iter__(self):
        """Yield messages as bytes until the end of input."""
        while not self.c.ended:
            yield from self.take_many(256)
            if self.commanded() and not byteor_client_available(&self.c, 1):
                return

    def batch(self, Py_ssize_t most=256, timeout_s=None):
        """Messages in place: `with consumer.batch() as batch: ...`; released at the end of the block, not if it raises.

        The batch is empty at the end of input and after `timeout_s` seconds. Views must not be kept past the block.
        """
        return _ConsumeBatch(self, most, timeout_s)

    cdef object begin(self, uint64_t most, timeout_s):
        while self.some(timeout_s):
            byteor_batch_begin(&self.c, &self.in_hand, most)
            if self.in_hand.batch.count or most == 0:
                break
        else:
            byteor_batch_begin(&self.c, &self.in_hand, 0)
        self.open = True
        self.batch_view.open_at(<uintptr_t> &self.in_hand.batch, 0)
        return self.batch_view

    cdef finish(self, bint keep):
        cdef uint64_t live = len(self.batch_view)
        held = self.batch_view.close_now()
        self.open = False
        if held and keep:
            raise BufferError(f"{held} views of the batch are still held: nothing was released; copy what you keep")
        if keep:
            self.believe()
            byteor_batch_release(&self.c, &self.in_hand, live)


@cython.final
cdef class _ConsumeBatch:
    """The block in which a consumer's batch is open: as `batch.Block`, with less to call for a message or two."""

    cdef Consumer consumer
    cdef uint64_t most
    cdef object timeout_s

    def __cinit__(self, Consumer consumer, uint64_t most, timeout_s):
        self.consumer, self.most, self.timeout_s = consumer, most, timeout_s

    def __enter__(self):
        return self.consumer.begin(self.most, self.timeout_s)

    def __exit__(self, kind, value, trace):
        self.consumer.finish(kind is None)
