# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Messages copied out of a ring while it runs, at no cost to who writes it.

Owns nothing of the protocol (`ring_copy.h`); it only reads, through a mapping without write permission.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from layout cimport (
    BYTEOR_REGION_RING,
    byteor_load_acquire64,
    byteor_map,
    byteor_payload,
    byteor_region_lost,
    byteor_region_open,
    byteor_region_unmap,
    byteor_ring,
    byteor_ring_slot,
    byteor_ring_view,
    byteor_slot,
)
from ring_copy cimport BYTEOR_COPY_HOLDS, BYTEOR_COPY_OVERWRITTEN, byteor_ring_copy


@cython.final
cdef class Tap:
    """One ring, read from its cursor on."""

    cdef byteor_map map
    cdef byteor_ring ring
    cdef uint8_t *slot
    cdef readonly uint64_t position
    cdef readonly uint64_t missed

    def __cinit__(self, int fd):
        """Map and validate; ValueError when it is not a sound ring region."""
        cdef char text[256]
        if byteor_region_open(fd, BYTEOR_REGION_RING, 0, 1000, &self.map, text, sizeof(text)):
            raise ValueError(text.decode("utf-8", "replace"))
        byteor_ring_view(&self.map, &self.ring)
        self.slot = <uint8_t *> malloc(self.ring.slot_bytes)
        if self.slot == NULL:
            raise MemoryError
        self.position = byteor_load_acquire64(&self.ring.producer.cursor)

    def __dealloc__(self):
        free(self.slot)
        byteor_region_unmap(&self.map)

    def take(self, cells, uint32_t limit):
        """Return messages after the last one taken: (sequence, time_ns, type, flags, payload).

        Looks at `limit` slots at most, and at none beyond what every cell of `cells` has released. `missed` counts
        what was overwritten first.
        """
        cdef uint64_t end = byteor_load_acquire64(&self.ring.producer.cursor)
        cdef uint64_t other, skip, stop
        cdef int outcome
        cdef byteor_slot *slot = <byteor_slot *> self.slot
        for cell in cells:
            other = byteor_load_acquire64(&self.ring.cells[<uint32_t> cell].sequence)
            if other < end:
                end = other
        found = []
        if end > self.position + self.ring.capacity:
            # The newest ones: the oldest of the ring are those that its producer writes over now.
            skip = end - self.position - min(<uint64_t> limit, self.ring.capacity / 2)
            self.missed += skip
            self.position += skip
        stop = min(end, self.position + limit)
        while self.position < stop:
            outcome = byteor_ring_copy(&self.ring, self.position, self.slot)
            if outcome == BYTEOR_COPY_OVERWRITTEN:
                self.missed += 1
            elif outcome == BYTEOR_COPY_HOLDS:
                found.append(self._message(slot))
            else:
                break
            self.position += 1
        return found

    cdef _message(self, byteor_slot *slot):
        cdef uint32_t length = min(<uint32_t> slot.length, self.ring.payload_max)
        payload = PyBytes_FromStringAndSize(<const char *> byteor_payload(slot), <Py_ssize_t> length)
        return (self.position, slot.time_ns, slot.type, slot.flags, payload)

    def skip(self, uint64_t sequences):
        """Pass over messages on purpose; they count as missed."""
        self.position += sequences
        self.missed += sequences

    @property
    def waiting(self):
        """Messages published after the last one taken."""
        return byteor_load_acquire64(&self.ring.producer.cursor) - self.position

    @property
    def end_sequence(self):
        """Sequence of the end slot; 2**64 - 1 until there is one."""
        return byteor_load_acquire64(&self.ring.producer.end_sequence)

    @property
    def journal_base(self):
        """Of the index of a journal: the journal's own count at which the run began, None: not yet. See graph.h."""
        cdef uint64_t word = byteor_load_acquire64(<uint64_t *> byteor_payload(byteor_ring_slot(&self.ring, 0)))
        return word - 1 if word else None

    @property
    def slot_bytes(self):
        """What a look at one message copies."""
        return self.ring.slot_bytes

    @property
    def cell_count(self):
        """Cells of the ring."""
        return self.ring.cell_count

    @property
    def lost(self):
        """A page of the region turned out to be gone: nothing of it is to be believed."""
        return bool(byteor_region_lost(&self.map))
