# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Tapes as Python opens them: the recorder's end, and a look from outside.

Owns no format: that is `capture.h`, and `journal.h` for what the recorder writes. The loops over messages are C.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from capture cimport (
    BYTEOR_TAPE_FAILED,
    BYTEOR_TAPE_OK,
    BYTEOR_TAPE_PAGE,
    BYTEOR_TAPE_UNSYNCED,
    BYTEOR_TAPES_MAX,
    byteor_capture,
    byteor_drain,
    byteor_drain_digest,
    byteor_drain_end,
    byteor_drain_fail,
    byteor_drain_give_up,
    byteor_drain_open,
    byteor_drain_step,
    byteor_journal_writer,
    byteor_load_relaxed32,
    byteor_load_relaxed64,
    byteor_sha256_native,
    byteor_store_relaxed32,
    byteor_tape,
    byteor_tape_page,
    byteor_tape_record,
    byteor_tape_view,
)
from layout cimport (
    BYTEOR_REGION_RING,
    byteor_load_acquire64,
    byteor_map,
    byteor_region_lost,
    byteor_region_open,
    byteor_region_unmap,
    byteor_ring,
    byteor_ring_view,
)

KINDS = {"in": 1, "follow": 2, "out": 3, "choices": 4, "lane": 5, "offer": 6}
CHOICES = {1: "take", 2: "route", 3: "keep", 4: "drop", 5: "batch", 6: "miss", 7: "fail"}
STATES = ("ok", "disk_full", "failed", "unsynced")
NOTHING, SOME, CHECKPOINT, WAITS, NONSENSE = range(5)
_EVERY = 2**64 - 1


def native_sha256():
    """Tell whether the processor has instructions for SHA-256."""
    return bool(byteor_sha256_native())


cdef _open(int fd, byteor_map *map, byteor_ring *ring, bint writable):
    cdef char text[256]
    if byteor_region_open(fd, BYTEOR_REGION_RING, writable, 1000, map, text, sizeof(text)):
        raise ValueError(text.decode("utf-8", "replace"))
    byteor_ring_view(map, ring)
    if ring.cell_count != 1 or ring.capacity * ring.slot_bytes <= 2 * BYTEOR_TAPE_PAGE:
        raise ValueError(f"{ring.cell_count} cells, {ring.capacity * ring.slot_bytes} bytes: it is no tape")


@cython.final
cdef class UnitCapture:
    """The tapes that one unit writes. Keep it as long as its worker's host runs the unit."""

    cdef byteor_capture *capture

    def __cinit__(self, tapes):
        """Lay them out: (kind, member, address of the ring, whether it waits for room, bits of ports) of each."""
        cdef byteor_tape *tape
        if len(tapes) > BYTEOR_TAPES_MAX:
            raise ValueError(f"a unit writes at most {BYTEOR_TAPES_MAX} tapes")
        self.capture = <byteor_capture *> calloc(1, sizeof(byteor_capture))
        if self.capture == NULL:
            raise MemoryError
        for index, (kind, member, ring, waits, ports) in enumerate(tapes):
            tape = &self.capture.tape[<size_t> index]
            byteor_tape_view(tape, <byteor_ring *> <uintptr_t> ring)
            tape.kind = KINDS[kind]
            tape.member = member
            tape.waits = waits
            tape.ports = ports
        self.capture.count = len(tapes)

    def __dealloc__(self):
        free(self.capture)

    @property
    def address(self):
        """Address of the structure, for the host."""
        return <uintptr_t> self.capture


cdef _stats(byteor_ring *ring, byteor_tape *tape):
    cdef byteor_tape_page *page = tape.page
    cdef byteor_tape_record *record = &page.record[byteor_load_relaxed32(&page.selector) & 1]
    cdef uint32_t state = byteor_load_relaxed32(&page.state)
    cdef uint64_t tail = byteor_load_relaxed64(&record.tail)
    cdef uint64_t head = byteor_load_acquire64(&ring.producer.cursor)
    return {
        "state": STATES[state if state < 4 else 2],
        "error_number": byteor_load_relaxed32(&page.error_number),
        "seen": byteor_load_relaxed64(&record.next),
        "kept": byteor_load_relaxed64(&record.kept),
        "bytes": byteor_load_relaxed64(&record.bytes),
        "lost": byteor_load_relaxed64(&record.lost),
        "lost_disk": byteor_load_relaxed64(&record.lost_disk),
        "gaps": byteor_load_relaxed64(&record.gaps),
        "digested": byteor_load_relaxed64(&record.hashed),
        "refused": byteor_load_relaxed64(&page.refused),
        "lag_bytes": head - tail if head >= tail else 0,
        "tape_bytes": tape.bytes,
    }


@cython.final
cdef class Tape:
    """A tape seen from outside, read-only."""

    cdef byteor_map map
    cdef byteor_ring ring
    cdef byteor_tape tape

    def __cinit__(self, int fd, bint writable=False):
        """Map and validate; ValueError when it is no sound tape."""
        _open(fd, &self.map, &self.ring, writable)
        byteor_tape_view(&self.tape, &self.ring)

    def __dealloc__(self):
        byteor_region_unmap(&self.map)

    def stats(self):
        """Return how far the recorder has come and what was lost, see `capture.h`."""
        return _stats(&self.ring, &self.tape)

    @property
    def lost(self):
        """A page of the region turned out to be gone: nothing of it is to be believed."""
        return bool(byteor_region_lost(&self.map))


@cython.final
cdef class Drain:
    """The recorder's end of one tape."""

    cdef byteor_map map
    cdef byteor_drain drain
    cdef object keep

    def __cinit__(self, int fd, *, journal=None, uint64_t sequence=0, uint64_t appended=0, uint64_t sample_every=1,
                  bint digests=False, bint choices=False, bint waits=False):
        """Go on where the tape says. `journal`: the JournalWriter to keep messages with, None: only their digest.

        `sequence`: of the next frame; `appended`: the journal has all messages before this position.
        """
        memset(&self.drain, 0, sizeof(self.drain))
        _open(fd, &self.map, &self.drain.ring, True)
        byteor_tape_view(&self.drain.tape, &self.drain.ring)
        self.keep = journal
        if journal is not None:
            self.drain.writer = <byteor_journal_writer *> <uintptr_t> journal.address
        self.drain.sequence = sequence
        self.drain.appended = appended
        self.drain.sample_every = sample_every
        self.drain.digests = digests
        self.drain.choices = choices
        self.drain.waits = waits
        self.drain.checkpoint_at = _EVERY
        if byteor_load_relaxed32(&self.drain.tape.page.state) != BYTEOR_TAPE_UNSYNCED:
            byteor_store_relaxed32(&self.drain.tape.page.state, BYTEOR_TAPE_OK)
        byteor_drain_open(&self.drain)

    def __dealloc__(self):
        byteor_region_unmap(&self.map)

    def step(self, uint64_t budget, uint64_t unix_ns):
        """Deal with about `budget` bytes; returns NOTHING, SOME, CHECKPOINT, WAITS or NONSENSE."""
        cdef int outcome
        with nogil:
            outcome = byteor_drain_step(&self.drain, budget, unix_ns)
        return outcome

    @property
    def tail(self):
        """Bytes of the tape that are dealt with."""
        return self.drain.work.tail

    def fail(self, int error_number):
        """A sync of its journal failed: nothing more is kept."""
        byteor_drain_fail(&self.drain, error_number)

    @property
    def failed(self):
        """A write or a sync of its journal has failed."""
        return bool(self.drain.unkept)

    def stop_at(self, uint64_t digested):
        """Have `step` return CHECKPOINT when so many messages are in the digest."""
        self.drain.checkpoint_at = digested

    def digest(self):
        """Return (messages, SHA-256 as hex) of the digest so far."""
        cdef uint8_t out[32]
        byteor_drain_digest(&self.drain, out)
        return self.drain.work.hashed, PyBytes_FromStringAndSize(<char *> out, 32).hex()

    def end(self, uint64_t messages):
        """The stream had so many messages: those that never came are lost."""
        byteor_drain_end(&self.drain, messages)

    def give_up(self, uint64_t messages):
        """Everything that is still on the tape is lost, up to this many messages."""
        byteor_store_relaxed32(&self.drain.tape.page.state, BYTEOR_TAPE_FAILED)
        byteor_drain_give_up(&self.drain, messages)

    def stats(self):
        """Return what `Tape.stats` does."""
        return _stats(&self.drain.ring, &self.drain.tape)

    @property
    def error(self):
        """What the journal's writer met last; empty: nothing."""
        if self.drain.writer == NULL or self.drain.writer.error_number == 0:
            return ""
        return self.drain.writer.error_text.decode("utf-8", "replace")

    @property
    def segment_file(self):
        """(id, bytes written) of the segment that is being written, None before the first."""
        cdef byteor_journal_writer *w = self.drain.writer
        if w == NULL or w.segments == 0:
            return None
        return w.id[w.segments - 1], w.offset
