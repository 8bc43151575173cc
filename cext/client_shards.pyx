# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""ShardPublisher, ShardConsumer, StripeConsumer: any Python process as an end of a run with several rings.

Spreads by the run's shard key and joins in ingress-time order, as a run's own ingress and egress do, or visits the
rings of several producers in turn. The GIL is released only while rings are empty or full. Locks, paths and plans are
the business of `byteord.client`.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc

from byteord._cext.batch import Batch, Block
from byteord._cext.client import WAITS as _WAITS
from byteord._cext.client import ClosedError
from byteord._cext.region import RegionFault

from client_ring cimport (
    BYTEOR_NO_SEQUENCE,
    BYTEOR_REGION_CONTROL,
    BYTEOR_REGION_RING,
    BYTEOR_RUN_MEMBARRIER,
    BYTEOR_SLOT_END,
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
    byteor_client_available,
    byteor_client_batch,
    byteor_client_release,
    byteor_client_room,
    byteor_list_take,
    byteor_load_acquire32,
    byteor_load_acquire64,
    byteor_map,
    byteor_membarrier_register,
    byteor_monotonic_ns,
    byteor_payload,
    byteor_region_header,
    byteor_region_lost,
    byteor_region_open,
    byteor_region_unmap,
    byteor_ring_slot,
    byteor_ring_view,
    byteor_role,
    byteor_slot,
    byteor_store_release32,
    byteor_unit,
)
from client_shards cimport (
    BYTEOR_POSITIONS_MAX,
    byteor_shards,
    byteor_shards_end,
    byteor_shards_ended,
    byteor_shards_next,
    byteor_shards_publish,
    byteor_shards_publish_staged,
    byteor_shards_resume,
    byteor_shards_ring,
    byteor_shards_room,
    byteor_shards_stage,
    byteor_shards_wait,
)

cdef uint64_t SLICE_NS = 20_000_000  # signals are looked at this often while waiting
cdef size_t BATCH_BYTES_MAX = 16 << 20  # of what a batch keeps outside the rings


cdef uint64_t _deadline(timeout_s) except? 0:
    if timeout_s is None:
        return BYTEOR_NO_SEQUENCE
    return byteor_monotonic_ns() + <uint64_t> (timeout_s * 1e9)


cdef class _Shards:
    """What publisher and consumer share: the mapped rings, the role that they play, whom to wake."""

    cdef byteor_map *ring_maps
    cdef byteor_map control_map
    cdef byteor_shards s
    cdef byteor_unit *own_unit
    cdef object batch_view
    cdef bint open, closed

    def __cinit__(self, list ring_fds, int control_fd, *, int role, int unit, doorbells=(), str wait="backoff",
                  **_of_subclass):
        """Map the rings and the control region of their run."""
        cdef char text[256]
        cdef Py_ssize_t count = len(ring_fds)
        if not 1 <= count <= BYTEOR_POSITIONS_MAX:
            raise ValueError(f"{count} rings: a client takes 1 to {BYTEOR_POSITIONS_MAX}")
        self.ring_maps = <byteor_map *> calloc(<size_t> count, sizeof(byteor_map))
        self.s.client = <byteor_client *> calloc(<size_t> count, sizeof(byteor_client))
        if self.ring_maps == NULL or self.s.client == NULL:
            raise MemoryError
        if byteor_region_open(control_fd, BYTEOR_REGION_CONTROL, 1, 1000, &self.control_map, text, sizeof(text)):
            raise ValueError(f"control region: {text.decode('utf-8', 'replace')}")
        for i in range(count):
            if byteor_region_open(ring_fds[i], BYTEOR_REGION_RING, 1, 1000, &self.ring_maps[i], text, sizeof(text)):
                raise ValueError(f"ring {i}: {text.decode('utf-8', 'replace')}")
            self.s.count = <uint32_t> (i + 1)
            self._open(&self.s.client[i], &self.ring_maps[i], role, unit, doorbells, wait)
        self.batch_view = Batch()

    cdef int _open(self, byteor_client *c, byteor_map *ring_map, int role, int unit, doorbells, str wait) except -1:
        cdef byteor_region_header *header = <byteor_region_header *> self.control_map.base
        cdef uint8_t *units = self.control_map.base + header.section[1]
        if role < 0 or <uint32_t> role >= header.counts[1] or unit < 0 or <uint32_t> unit >= header.counts[0]:
            raise ValueError(f"role {role}, unit {unit}: the run has no such")
        byteor_ring_view(ring_map, &c.ring)
        c.membarrier = c.ring.header.flags & BYTEOR_RUN_MEMBARRIER
        if c.membarrier and byteor_membarrier_register() != 0:
            raise ValueError("this process cannot register for membarrier, which the run's regions say is used")
        c.wait.kind = _WAITS[wait]
        c.wait.sleep_ns_max = 1_000_000
        c.role = <byteor_role *> (self.control_map.base + header.section[2] + <size_t> role * sizeof(_sized_role))
        self.own_unit = <byteor_unit *> (units + <size_t> unit * sizeof(_sized_unit))
        for other in doorbells[:16]:
            if other >= header.counts[0]:
                raise ValueError(f"unit {other}: the run has no such")
            c.doorbell[c.doorbell_count] = &(<byteor_unit *> (units + <size_t> other * sizeof(_sized_unit))).parked
            c.doorbell_count += 1
        return 0

    def __dealloc__(self):
        for r in range(self.s.count):
            byteor_region_unmap(&self.ring_maps[r])
        byteor_region_unmap(&self.control_map)
        free(self.s.client)
        free(self.ring_maps)

    def _show(self, uint32_t pid, bint running):
        """Show in the run's control region who plays the role."""
        self.s.client[0].role.pid = pid
        byteor_store_release32(&self.s.client[0].role.state, BYTEOR_STATE_RUNNING if running else BYTEOR_STATE_ENDED)

    def _leave(self):
        """The session is over: the handle is of no use any more."""
        self.closed = True

    cdef bint commanded(self) noexcept:
        return byteor_load_acquire32(&self.own_unit.command) != 1

    @property
    def payload_max(self):
        """Most bytes a message can have."""
        return self.s.client[0].ring.payload_max

    @property
    def capacity(self):
        """Slots of each ring."""
        return self.s.client[0].ring.capacity

    @property
    def positions(self):
        """Next sequence in each ring."""
        return [self.s.client[r].position for r in range(self.s.count)]

    cdef int outside_batch(self) except -1:
        if self.open:
            raise BufferError("a batch of this client is open: leave its block first")
        return 0

    cdef int believe(self) except -1:
        """Refuse to go on after the `with` block, or with a ring of which a page is gone."""
        cdef bint lost = byteor_region_lost(&self.control_map)
        if self.closed:
            raise ClosedError("the session is over: attach again")
        for r in range(self.s.count):
            lost = lost or byteor_region_lost(&self.ring_maps[r])
        if lost:
            raise RegionFault("LOST", "a page of a ring or of its control region is gone: its file was truncated "
                "from outside, or its filesystem is full; the run is lost, attach to another")
        return 0

    cdef bint wait_for(self, int ring, uint64_t deadline) except -1:
        """Wait in slices, for room in a ring or with -1 for a message; False after the deadline or a command."""
        cdef int late
        while True:
            with nogil:
                late = byteor_shards_wait(&self.s, ring, SLICE_NS)
            self.believe()
            if not late:
                return True
            PyErr_CheckSignals()
            if byteor_monotonic_ns() >= deadline or self.commanded():
                return False


@cython.final
cdef class ShardPublisher(_Shards):
    """The producer of all rings of a run with several shards. One at a time.

    As `Publisher`. Where a message goes depends on its content, so a batch is written to memory of its own.
    """

    cdef bint ended
    cdef byteor_batch in_hand
    cdef uint8_t *staged
    cdef size_t staged_bytes

    def __init__(self, *args, tuple key, **kwargs):
        """Continue where a predecessor stopped; `key`: offset and length of the shard key."""
        self.s.key_offset, self.s.key_length = key
        for r in range(self.s.count):
            if byteor_load_acquire64(&self.s.client[r].ring.producer.end_sequence) != BYTEOR_NO_SEQUENCE:
                self.s.client[r].ended = 1
        if byteor_shards_ended(&self.s):
            raise ClosedError("the input of these rings has ended")
        byteor_shards_resume(&self.s)

    def __dealloc__(self):
        free(self.staged)

    cdef int room(self, uint32_t ring, uint64_t deadline) except -1:
        """Wait for a free slot; 0 when the deadline has passed."""
        self.believe()
        self.outside_batch()
        if self.ended or self.s.client[ring].ended:
            raise ClosedError("the publisher has ended its input")
        if self.commanded():
            raise ClosedError("the run takes no more input")
        if byteor_client_room(&self.s.client[ring]) or self.wait_for(<int> ring, deadline):
            return 1
        if self.commanded():
            raise ClosedError("the run takes no more input")
        return 0

    cdef int put(self, const uint8_t *data, Py_ssize_t size, uint64_t deadline) except -1:
        cdef uint32_t ring = byteor_shards_ring(&self.s, data, <uint64_t> size)
        if size > self.s.client[0].ring.payload_max:
            raise ValueError(f"{size} bytes: a message of this run has at most {self.s.client[0].ring.payload_max}")
        if not self.room(ring, deadline):
            return 0
        byteor_shards_publish(&self.s, ring, data, <uint32_t> size)
        return 1

    def publish(self, data, timeout_s=None):
        """Publish one message (bytes-like). False when there was no room for `timeout_s` seconds; None: for ever."""
        cdef const uint8_t[::1] view = data
        cdef Py_ssize_t size = view.shape[0]
        return bool(self.put(&view[0] if size else NULL, size, _deadline(timeout_s)))

    def publish_many(self, list messages, timeout_s=None):
        """Publish a list of bytes; returns how many were taken before the timeout (all of them without one)."""
        cdef const uint8_t[::1] view
        cdef uint64_t deadline = _deadline(timeout_s)
        cdef Py_ssize_t done = 0, size
        for message in messages:
            view = message
            size = view.shape[0]
            if not self.put(&view[0] if size else NULL, size, deadline):
                break
            done += 1
        return done

    def publish_buffer(self, data, Py_ssize_t item_bytes, timeout_s=None):
        """Publish each `item_bytes` of a contiguous buffer as one message; returns how many were taken."""
        cdef const uint8_t[::1] view = memoryview(data).cast("B")
        cdef uint64_t deadline = _deadline(timeout_s)
        cdef Py_ssize_t done = 0
        if item_bytes <= 0 or view.shape[0] % item_bytes:
            raise ValueError(f"a buffer of {view.shape[0]} bytes is no whole number of items of {item_bytes}")
        while done * item_bytes < view.shape[0] and self.put(&view[done * item_bytes], item_bytes, deadline):
            done += 1
        return done

    def batch(self, Py_ssize_t most, Py_ssize_t item_bytes, timeout_s=None):
        """Up to `most` messages to write to, as `Publisher.batch`; there is room for them in whatever rings.

        Published at the end of the block, in the order of the batch; none of them where it raises. TimeoutError when
        one of the rings has no room for `timeout_s` seconds.
        """
        cdef int payload_max = self.s.client[0].ring.payload_max
        if not 0 <= item_bytes <= payload_max:
            raise ValueError(f"{item_bytes} bytes: a message of this run has at most {payload_max}")
        return Block(self, most, item_bytes, timeout_s)

    def _begin(self, Py_ssize_t most, Py_ssize_t item_bytes, timeout_s):
        cdef uint64_t deadline = _deadline(timeout_s), count
        cdef uint32_t slot_bytes = self.s.client[0].ring.slot_bytes
        for r in range(self.s.count):
            if not self.room(r, deadline):
                raise TimeoutError(f"no free slot for {timeout_s} s")
        count = min(byteor_shards_room(&self.s), <uint64_t> max(most, 0), BATCH_BYTES_MAX // slot_bytes)
        if count * slot_bytes > self.staged_bytes:
            free(self.staged)
            self.staged_bytes = 0
            self.staged = <uint8_t *> malloc(count * slot_bytes)
            if self.staged == NULL:
                raise MemoryError
            self.staged_bytes = count * slot_bytes
        byteor_shards_stage(&self.s, &self.in_hand, self.staged, <uint32_t> count, <uint32_t> item_bytes)
        self.open = True
        self.batch_view.open_at(<uintptr_t> &self.in_hand, BYTEOR_STAGE_MUTATES | BYTEOR_STAGE_RESIZES)
        return self.batch_view

    def _finish(self, bint keep):
        held = self.batch_view.close_now()
        self.open = False
        if keep:
            self.believe()
            if held:
                raise BufferError(f"{held} views of the batch are still held: nothing was published")
            byteor_shards_publish_staged(&self.s, &self.in_hand)

    def end(self, timeout_s=None):
        """Say that this was all: the run drains and completes. False when there was no room for it."""
        cdef uint64_t deadline = _deadline(timeout_s)
        self.outside_batch()
        for r in range(self.s.count):
            if self.s.client[r].ended:
                continue
            if not byteor_client_room(&self.s.client[r]) and not self.wait_for(<int> r, deadline):
                if not self.commanded() or not byteor_client_room(&self.s.client[r]):
                    return False
            byteor_shards_end(&self.s, <uint32_t> r)
        self.ended = True
        return True

    def _end_for_client(self):
        """End the input although the run is commanded to drain; for the shim."""
        for r in range(self.s.count):
            if not self.s.client[r].ended and byteor_client_room(&self.s.client[r]):
                byteor_shards_end(&self.s, <uint32_t> r)
        self.ended = bool(byteor_shards_ended(&self.s))
        return bool(self.ended)


cdef class _Reader(_Shards):
    """The last consumer of all rings of its role. One at a time."""

    def __init__(self, *args, int cell, depends=(), **kwargs):
        """Continue where a predecessor had released."""
        cdef byteor_client *c
        for r in range(self.s.count):
            c = &self.s.client[r]
            if cell < 0 or <uint32_t> cell >= c.ring.cell_count:
                raise ValueError(f"cell {cell}: ring {r} has {c.ring.cell_count}")
            c.cell = cell
            c.depends_count = len(depends)
            for i, other in enumerate(depends):
                if other >= c.ring.cell_count:
                    raise ValueError(f"cell {other}: ring {r} has {c.ring.cell_count}")
                c.depends[<size_t> i] = other
            c.position = byteor_load_acquire64(&c.ring.cells[cell].sequence)
            c.limit = c.position
            end = byteor_load_acquire64(&c.ring.producer.end_sequence)
            c.ended = end != BYTEOR_NO_SEQUENCE and c.position == end + 1

    @property
    def ended(self):
        """All producers have ended and everything was consumed."""
        return bool(byteor_shards_ended(&self.s))

    cdef bytes next(self):
        """Return the next message that is at hand; None: there is none."""
        cdef int ring = byteor_shards_next(&self.s)
        cdef byteor_client *c
        cdef byteor_slot *slot
        cdef bytes data
        if ring < 0:
            return None
        c = &self.s.client[ring]
        slot = byteor_ring_slot(&c.ring, c.position)
        data = PyBytes_FromStringAndSize(<char *> byteor_payload(slot), min(<uint32_t> slot.length, c.ring.payload_max))
        if slot.flags & BYTEOR_SLOT_END:
            c.ended = 1
        byteor_client_release(c, c.position + 1, 1)
        self.s.place = (<uint32_t> ring + 1) % self.s.count
        return data

    def take(self, timeout_s=None):
        """Return the next message as bytes; None at the end of input (see `ended`) or after `timeout_s` seconds."""
        cdef uint64_t deadline = _deadline(timeout_s)
        self.believe()
        self.outside_batch()
        while True:
            data = self.next()
            if data is not None or self.ended or not self.wait_for(-1, deadline):
                return data

    def __iter__(self):
        """Yield messages as bytes until the end of input."""
        while not self.ended:
            yield from self.take_many(256)
            if self.commanded() and byteor_shards_next(&self.s) < 0:
                return


@cython.final
cdef class ShardConsumer(_Reader):
    """The last consumer of all rings of a run with several shards, in ingress-time order.

    As `Consumer`, without `batch`: neighbours lie in different rings.
    """

    def take_many(self, Py_ssize_t most, timeout_s=None):
        """Return up to `most` messages that are at hand as a list of bytes; waits for the first as `take` does."""
        cdef list found = []
        data = self.take(timeout_s) if most > 0 else None
        while data is not None:
            found.append(data)
            data = self.next() if len(found) < most else None
        return found


@cython.final
cdef class StripeConsumer(_Reader):
    """The consumer of a lane with several producers: in the order of each of them, visiting them in turn."""

    cdef byteor_client_batch in_hand
    cdef uint32_t ring  # of the batch in hand

    def __init__(self, *args, **kwargs):
        """Continue where a predecessor had released, in each ring."""
        super().__init__(*args, **kwargs)
        self.s.in_turn = 1
        self.in_hand.last = <uint8_t *> malloc(self.s.client[0].ring.slot_bytes)
        if self.in_hand.last == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.in_hand.last)

    def batch(self, Py_ssize_t most=256, timeout_s=None):
        """Messages of one producer in place, as `Consumer.batch`: `with consumer.batch() as batch: ...`.

        The next batch is of the next producer that has something; one of a block that raised comes again.
        """
        return Block(self, most, timeout_s)

    def _begin(self, Py_ssize_t most, timeout_s):
        cdef uint64_t deadline = _deadline(timeout_s)
        cdef int ring = -1
        self.believe()
        self.outside_batch()
        while most > 0 and ring < 0 and not self.ended:
            ring = byteor_shards_next(&self.s)
            if ring < 0 and not self.wait_for(-1, deadline):
                break
        self.ring = <uint32_t> max(ring, 0)
        byteor_batch_begin(&self.s.client[self.ring], &self.in_hand, <uint64_t> most if ring >= 0 else 0)
        self.open = True
        self.batch_view.open_at(<uintptr_t> &self.in_hand.batch, 0)
        return self.batch_view

    def _finish(self, bint keep):
        cdef uint64_t live = len(self.batch_view)
        held = self.batch_view.close_now()
        self.open = False
        if held and keep:
            raise BufferError(f"{held} views of the batch are still held: nothing was released; copy what you keep")
        if keep:
            self.believe()
            byteor_batch_release(&self.s.client[self.ring], &self.in_hand, live)
            if live:
                self.s.place = (self.ring + 1) % self.s.count

    def take_many(self, Py_ssize_t most, timeout_s=None):
        """Return up to `most` messages that are at hand as a list of bytes; waits for the first as `take` does."""
        cdef list found = []
        cdef uint64_t deadline = _deadline(timeout_s)
        self.believe()
        self.outside_batch()
        while most > 0 and not found and not self.ended:
            if byteor_shards_next(&self.s) < 0 and not self.wait_for(-1, deadline):
                break
            self.sweep(found, most)
        return found

    cdef int sweep(self, list found, Py_ssize_t most) except -1:
        """Take what each ring has at hand, `most` in all; the next sweep begins behind the last one that gave."""
        cdef uint32_t k, ring, first = self.s.place
        cdef uint64_t count, live = 0
        cdef byteor_client *c
        for k in range(self.s.count):
            ring = (first + k) % self.s.count
            c = &self.s.client[ring]
            if len(found) >= most or c.ended:
                continue
            count = byteor_client_available(c, <uint64_t> (most - len(found)))
            if count == 0:
                continue
            taken = byteor_list_take(c, count, &live)
            byteor_client_release(c, c.position + count, live)
            found.extend(taken)
            self.s.place = (ring + 1) % self.s.count
        return 0
