# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Journals as Python opens them: writers and readers for the worker's loop, and a look into segments.

Owns no format: that is `journal.h`. It has no loop over messages but for reading a segment back.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from journal cimport (
    BYTEOR_JOURNAL_SEEN,
    BYTEOR_JOURNAL_BLOCK,
    BYTEOR_JOURNAL_SEGMENTS_MAX,
    BYTEOR_JOURNAL_STAGE,
    BYTEOR_JOURNAL_VERSION,
    byteor_journal_at,
    byteor_journal_base,
    byteor_journal_close,
    byteor_journal_frame,
    byteor_journal_frame_bytes,
    byteor_journal_header,
    byteor_journal_header_crc,
    byteor_journal_reader,
    byteor_journal_reader_close,
    byteor_journal_resume,
    byteor_journal_scan,
    byteor_journal_walk,
    byteor_journal_writer,
    byteor_ring,
)

import os


cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)


VERSION = BYTEOR_JOURNAL_VERSION
SEGMENTS_MAX = BYTEOR_JOURNAL_SEGMENTS_MAX
READER_BATCH_MAX = BYTEOR_JOURNAL_SEEN
HEADER_BYTES = sizeof(byteor_journal_header)
SYNCS = {"none": 0, "interval": 1, "every_batch": 2}


cdef void _copy_path(char *to, size_t size, str path) except *:
    cdef bytes encoded = os.fsencode(path)
    if <size_t> len(encoded) >= size:
        raise ValueError(f"{path}: longer than {size - 1} bytes")
    memcpy(to, <const char *> encoded, len(encoded) + 1)


@cython.final
cdef class JournalWriter:
    """The writer of one journal; keep it as long as its worker's host runs."""

    cdef byteor_journal_writer *writer

    def __cinit__(self, str directory, *, segments, uint64_t base, uint64_t segment_bytes, uint64_t retention_bytes,
                  uint64_t retention_ns, str sync, uint64_t sync_interval_ns, bint durable,
                  uint64_t retention_frames=0, bint staged=False):
        """Hold the directory. `segments`: (id, time of its last frame) of those that are there, oldest first.

        `base`: sequence of the first frame that this run writes. `staged`: frames are handed to the kernel in pieces;
        then with `sync = "interval"` the caller keeps to the interval, see `to_sync`.
        """
        if len(segments) >= BYTEOR_JOURNAL_SEGMENTS_MAX:
            raise ValueError(f"{directory}: {len(segments)} segments; a journal has fewer than {SEGMENTS_MAX}")
        self.writer = <byteor_journal_writer *> calloc(1, sizeof(byteor_journal_writer))
        if self.writer == NULL:
            raise MemoryError
        self.writer.fd = self.writer.direct_fd = self.writer.directory_fd = -1
        if staged:
            self.writer.stage = <uint8_t *> aligned_alloc(BYTEOR_JOURNAL_BLOCK, BYTEOR_JOURNAL_STAGE)
            self.writer.spare = <uint8_t *> aligned_alloc(BYTEOR_JOURNAL_BLOCK, BYTEOR_JOURNAL_STAGE)
            if self.writer.stage == NULL or self.writer.spare == NULL:
                raise MemoryError
        _copy_path(self.writer.directory, sizeof(self.writer.directory), directory)
        self.writer.directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.writer.segment_bytes = segment_bytes
        self.writer.base = base
        self.writer.retention_bytes = retention_bytes
        self.writer.retention_ns = retention_ns
        self.writer.retention_frames = retention_frames
        self.writer.sync = SYNCS[sync] if durable else 0
        self.writer.sync_interval_ns = sync_interval_ns
        self.writer.durable = durable
        for index, (segment, last) in enumerate(segments):
            self.writer.id[<size_t> index] = segment
            self.writer.last_unix_ns[<size_t> index] = last
        self.writer.segments = len(segments)

    def __dealloc__(self):
        if self.writer != NULL:
            byteor_journal_close(self.writer)
            free(self.writer)

    def resume(self, uint64_t segment, uint64_t offset):
        """Go on at `offset` of a segment; what lies behind it is cut. OSError."""
        if byteor_journal_resume(self.writer, segment, offset) != 0:
            raise OSError(self.writer.error_number, self.writer.error_text.decode("utf-8", "replace"))

    def to_sync(self):
        """Return descriptors of what may not be on the disk: full segments, the one being written, the directory last.

        They are the caller's to sync, never twice, and to close. Not while a Drain steps.
        """
        if self.writer.fd < 0:
            return []
        full = [self.writer.behind[index] for index in range(self.writer.behind_count)]
        self.writer.behind_count = 0
        return [*full, os.dup(self.writer.fd), os.dup(self.writer.directory_fd)]

    @property
    def address(self):
        """Address of the structure, for a Graph or a Drain."""
        return <uintptr_t> self.writer

    @property
    def unsure(self):
        """A sync failed: what was written may be lost, and another sync would not say so."""
        return bool(self.writer.unsure)


@cython.final
cdef class JournalReader:
    """A reader of one journal; keep it as long as its worker's host runs."""

    cdef byteor_journal_reader *reader

    def __cinit__(self, str directory):
        """Hold the directory."""
        self.reader = <byteor_journal_reader *> calloc(1, sizeof(byteor_journal_reader))
        if self.reader == NULL:
            raise MemoryError
        self.reader.directory_fd = -1
        _copy_path(self.reader.directory, sizeof(self.reader.directory), directory)
        self.reader.directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __dealloc__(self):
        if self.reader != NULL:
            byteor_journal_reader_close(self.reader)
            free(self.reader)

    @property
    def address(self):
        """Address of the structure, for a Graph."""
        return <uintptr_t> self.reader


def index_base(index, base=None):
    """Return the sequence with which a run's journal began, as its index (a ring's address) says; None: not yet.

    With `base` say it, once and before anything is written.
    """
    cdef uint64_t *word = byteor_journal_base(<byteor_ring *> <uintptr_t> index)
    if base is not None and word[0] == 0:
        word[0] = base + 1
    return word[0] - 1 if word[0] else None


cdef byteor_journal_header _header(const uint8_t[::1] data) except *:
    cdef byteor_journal_header header
    if <size_t> data.shape[0] < sizeof(header):
        raise ValueError(f"{data.shape[0]} bytes: too short for a segment")
    memcpy(&header, &data[0], sizeof(header))
    if header.magic[:8] != b"BYTEORj\n":
        raise ValueError("it does not begin with the mark of a journal")
    if header.version != BYTEOR_JOURNAL_VERSION:
        raise ValueError(f"journal version {header.version}: this byteor reads version {BYTEOR_JOURNAL_VERSION}")
    if header.header_crc32c != byteor_journal_header_crc(header):
        raise ValueError("the checksum of its header does not match")
    return header


def scan(const uint8_t[::1] data not None):
    """Walk a segment: id, segment_bytes, frames, next_sequence, end_offset, good_behind, and of its last frame
    last_unix_ns and last_rx_sequence.

    `good_behind` is the offset of a whole frame behind a bad one, 0 when there is none. ValueError for no segment.
    """
    cdef byteor_journal_header header = _header(data)
    cdef byteor_journal_scan found
    cdef uint64_t size = data.shape[0]
    with nogil:
        found = byteor_journal_walk(&data[0], size, header.segment)
    return {
        "id": header.segment,
        "segment_bytes": header.segment_bytes,
        "frames": found.frames,
        "next_sequence": found.next_sequence,
        "end_offset": found.end_offset,
        "good_behind": found.good_behind,
        "last_unix_ns": found.last_unix_ns,
        "last_rx_sequence": found.last_rx_sequence,
    }


def frames(const uint8_t[::1] data not None):
    """Return the whole frames of a segment as (sequence, type, time_ns, payload), in order."""
    return [(sequence, kind, time, payload) for sequence, _, kind, time, payload in entries(data)]


def entries(const uint8_t[::1] data not None):
    """Return the whole frames of a segment as (sequence, rx_sequence, type, time_ns, payload), in order."""
    cdef byteor_journal_header header = _header(data)
    cdef const byteor_journal_frame *frame
    cdef uint64_t offset = sizeof(header)
    found = []
    while True:
        frame = byteor_journal_at(&data[0], data.shape[0], offset, header.segment)
        if frame == NULL:
            return found
        payload = PyBytes_FromStringAndSize(<const char *> (frame + 1), frame.length - 1)
        found.append((frame.sequence, frame.rx_sequence, frame.type, frame.time_ns, payload))
        offset += byteor_journal_frame_bytes(frame.length - 1)
