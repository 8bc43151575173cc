# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Handles of sources and sinks: made from open descriptors, driven through their C address.

Owns the lifetime of the native objects and of the descriptors given to them. Opening by name,
policy and messages to people are `byteord.adapters.open`'s; what is read and written is decided in
the C files.
"""

cimport cython

import os

from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset


cdef extern from "adapter.h" nogil:
    enum: BYTEOR_POSITION_WORDS
    enum: BYTEOR_REJECT_MAX
    enum: BYTEOR_ADAPTER_READY
    enum: BYTEOR_ADAPTER_WAITING
    enum: BYTEOR_ADAPTER_ENDED
    enum: BYTEOR_ADAPTER_FAILED

    ctypedef struct byteor_adapter_common:
        uint32_t status
        int32_t wait_fd
        int16_t wait_events
        int16_t stamps_time
        int32_t error_number
        const char *error_text
        uint64_t position[4]
        uint64_t bytes_total
        uint64_t rejected[8]
        uint32_t sample_length[8]
        uint8_t sample[8][96]

    ctypedef struct byteor_source:
        byteor_adapter_common common

    ctypedef struct byteor_sink:
        byteor_adapter_common common


cdef extern from "framing.h" nogil:
    ctypedef struct byteor_framing_options:
        uint32_t kind
        uint32_t record_bytes
        uint32_t length_bytes
        uint8_t big_endian
        uint8_t counts_itself
        uint8_t delimiter
        uint8_t strip_cr
        uint8_t skip_empty
        uint8_t whole_frames
        uint16_t port


cdef extern from "source_bytes.h" nogil:
    ctypedef struct byteor_bytes_source:
        byteor_source base
        ptrdiff_t (*refill)(byteor_bytes_source *, uint8_t *, size_t) noexcept nogil
        void (*crossed)(byteor_bytes_source *) noexcept nogil
        uint8_t keeps_crc
        uint8_t forgives_loss
        int fd
        int listen_fd
        int pending_fd
        int directory_fd
        uint64_t peers_left
        char base_name[256]

    byteor_bytes_source *byteor_bytes_source_new(const byteor_framing_options *)
    void byteor_bytes_source_free(byteor_bytes_source *)
    void byteor_bytes_source_restore(byteor_bytes_source *, const uint64_t *)
    ptrdiff_t byteor_refill_read(byteor_bytes_source *, uint8_t *, size_t)
    ptrdiff_t byteor_refill_follow(byteor_bytes_source *, uint8_t *, size_t)
    ptrdiff_t byteor_refill_packets(byteor_bytes_source *, uint8_t *, size_t)
    ptrdiff_t byteor_refill_socket(byteor_bytes_source *, uint8_t *, size_t)
    void byteor_crossed_follow(byteor_bytes_source *)
    void byteor_crossed_socket(byteor_bytes_source *)


cdef extern from "source_datagram.h" nogil:
    byteor_source *byteor_datagram_source_new(int, uint64_t)


cdef extern from "source_generator.h" nogil:
    ctypedef struct byteor_generator_options:
        uint32_t content
        uint32_t size
        uint32_t size_max
        uint32_t at_once
        uint64_t count
        uint64_t rate
        uint64_t seed

    ctypedef struct byteor_generator_source:
        byteor_source base

    byteor_generator_source *byteor_generator_source_new(const byteor_generator_options *)


cdef extern from "sink_bytes.h" nogil:
    ctypedef struct byteor_bytes_sink:
        byteor_sink base
        size_t output_max
        ptrdiff_t (*emit)(byteor_bytes_sink *, const uint8_t *, size_t) noexcept nogil
        void (*end)(byteor_bytes_sink *) noexcept nogil
        uint32_t sync
        uint8_t keeps_crc
        int fd
        int listen_fd

    byteor_bytes_sink *byteor_bytes_sink_new(const byteor_framing_options *)
    void byteor_bytes_sink_free(byteor_bytes_sink *)
    void byteor_bytes_sink_restore(byteor_bytes_sink *, const uint64_t *)
    ptrdiff_t byteor_emit_file(byteor_bytes_sink *, const uint8_t *, size_t)
    ptrdiff_t byteor_emit_packets(byteor_bytes_sink *, const uint8_t *, size_t)
    void byteor_end_file(byteor_bytes_sink *)
    void byteor_end_packets(byteor_bytes_sink *)
    ptrdiff_t byteor_emit_socket(byteor_bytes_sink *, const uint8_t *, size_t)
    void byteor_end_socket(byteor_bytes_sink *)


cdef extern from "sink_datagram.h" nogil:
    byteor_sink *byteor_datagram_sink_new(int, int)


cdef extern from "packets.h" nogil:
    enum: BYTEOR_PACKET_DATA_BYTES_MAX


cdef extern from "sink_discard.h" nogil:
    ctypedef struct byteor_discard_sink:
        byteor_sink base

    byteor_discard_sink *byteor_discard_sink_new(int)


cdef extern from "poll.h" nogil:
    enum: POLLIN


READY, WAITING, ENDED, FAILED = (
    BYTEOR_ADAPTER_READY, BYTEOR_ADAPTER_WAITING, BYTEOR_ADAPTER_ENDED, BYTEOR_ADAPTER_FAILED
)
REJECT_REASONS = ("oversize", "malformed", "truncated", "filtered", "corrupt", "kernel")
SLOT_HEADER_BYTES = 16


cdef void _close(int fd):
    if fd >= 0:
        try:
            os.close(fd)
        except OSError:
            pass  # nothing is lost: what was written had been handed over before


cdef dict _report(const byteor_adapter_common *common):
    text = common.error_text.decode("utf-8", "replace") if common.error_text != NULL else ""
    return {
        "status": common.status,
        "wait_fd": common.wait_fd,
        "error_number": common.error_number,
        "error_text": text,
        "position": tuple([common.position[i] for i in range(BYTEOR_POSITION_WORDS)]),
        "bytes_total": common.bytes_total,
        "rejected": {name: common.rejected[i] for i, name in enumerate(REJECT_REASONS)},
        "samples": {
            name: (<const char *>common.sample[i])[:common.sample_length[i]]
            for i, name in enumerate(REJECT_REASONS)
            if common.sample_length[i]
        },
    }


cdef void _restore_totals(byteor_adapter_common *common, resume):
    cdef int i
    common.bytes_total = resume.bytes_total
    for i in range(min(BYTEOR_REJECT_MAX, len(resume.rejected))):
        common.rejected[i] = resume.rejected[i]


cdef int _framing(byteor_framing_options *options, given) except -1:
    memset(options, 0, sizeof(byteor_framing_options))
    options.kind = given.kind
    options.record_bytes = given.record_bytes
    options.length_bytes = given.length_bytes
    options.big_endian = given.big_endian
    options.counts_itself = given.counts_itself
    options.delimiter = given.delimiter
    options.strip_cr = given.strip_cr
    options.skip_empty = given.skip_empty
    options.whole_frames = given.whole_frames
    options.port = given.port
    return 0


@cython.final
cdef class SourceHandle:
    """An open ingress. `address` is that of its `byteor_source`, valid until `close()`."""

    cdef byteor_source *source
    cdef byteor_bytes_source *bytes_source
    cdef object keeps
    cdef readonly list on_close
    cdef int owned_fd
    cdef bint borrowed

    def __cinit__(self):
        self.source = NULL
        self.bytes_source = NULL
        self.keeps = None
        self.on_close = []
        self.owned_fd = -1
        self.borrowed = False

    @property
    def address(self):
        """Address of the native object; 0 once closed."""
        return <size_t>self.source

    def keep(self, thing):
        """Keep a reference that the native object depends on until `close()`."""
        self.keeps = thing

    def report(self):
        """Return status, error, position, totals and samples as after the last poll."""
        self._check_open()
        return _report(&self.source.common)

    def restore(self, resume):
        """Go on from a commit record's position and totals; before the first poll only."""
        cdef uint64_t words[BYTEOR_POSITION_WORDS]
        cdef int i
        self._check_open()
        for i in range(BYTEOR_POSITION_WORDS):
            words[i] = resume.position[i]
        if self.bytes_source != NULL:
            byteor_bytes_source_restore(self.bytes_source, words)
        else:
            memcpy(self.source.common.position, words, sizeof(words))
        _restore_totals(&self.source.common, resume)

    def close(self):
        """Close what it reads from and free it; harmless when repeated."""
        if self.source == NULL:
            return
        if self.bytes_source != NULL:
            if not self.borrowed:
                _close(self.bytes_source.fd)
            _close(self.bytes_source.listen_fd)
            _close(self.bytes_source.pending_fd)
            _close(self.bytes_source.directory_fd)
            byteor_bytes_source_free(self.bytes_source)
        else:
            free(self.source)
        _close(self.owned_fd)
        self.source = NULL
        self.bytes_source = NULL
        while self.on_close:
            self.on_close.pop()()
        self.keeps = None

    def __dealloc__(self):
        if self.bytes_source != NULL:
            byteor_bytes_source_free(self.bytes_source)
        elif self.source != NULL:
            free(self.source)

    cdef int _check_open(self) except -1:
        if self.source == NULL:
            raise ValueError("this source is closed")
        return 0


@cython.final
cdef class SinkHandle:
    """An open egress. `address` is that of its `byteor_sink`, valid until `close()`."""

    cdef byteor_sink *sink
    cdef byteor_bytes_sink *bytes_sink
    cdef readonly list on_close
    cdef int owned_fd
    cdef bint borrowed

    def __cinit__(self):
        self.sink = NULL
        self.bytes_sink = NULL
        self.on_close = []
        self.owned_fd = -1
        self.borrowed = False

    @property
    def address(self):
        """Address of the native object; 0 once closed."""
        return <size_t>self.sink

    def report(self):
        """Return status, error, position, totals and samples as after the last write."""
        self._check_open()
        return _report(&self.sink.common)

    def restore(self, resume):
        """Go on from a commit record's position and totals; before the first write only."""
        cdef uint64_t words[BYTEOR_POSITION_WORDS]
        cdef int i
        self._check_open()
        for i in range(BYTEOR_POSITION_WORDS):
            words[i] = resume.position[i]
        if self.bytes_sink != NULL:
            byteor_bytes_sink_restore(self.bytes_sink, words)
        else:
            memcpy(self.sink.common.position, words, sizeof(words))
        _restore_totals(&self.sink.common, resume)

    def close(self):
        """Close what it writes to and free it; harmless when repeated."""
        if self.sink == NULL:
            return
        if self.bytes_sink != NULL:
            if not self.borrowed:
                _close(self.bytes_sink.fd)
            _close(self.bytes_sink.listen_fd)
            byteor_bytes_sink_free(self.bytes_sink)
        else:
            free(self.sink)
        _close(self.owned_fd)
        self.sink = NULL
        self.bytes_sink = NULL
        while self.on_close:
            self.on_close.pop()()

    def __dealloc__(self):
        if self.bytes_sink != NULL:
            byteor_bytes_sink_free(self.bytes_sink)
        elif self.sink != NULL:
            free(self.sink)

    cdef int _check_open(self) except -1:
        if self.sink == NULL:
            raise ValueError("this sink is closed")
        return 0


cdef SourceHandle _bytes_handle(framing):
    cdef byteor_framing_options options
    cdef SourceHandle handle = SourceHandle.__new__(SourceHandle)
    _framing(&options, framing)
    handle.bytes_source = byteor_bytes_source_new(&options)
    if handle.bytes_source == NULL:
        raise MemoryError("no memory for the staging buffer of a source")
    handle.source = &handle.bytes_source.base
    return handle


cdef SinkHandle _bytes_sink_handle(framing):
    cdef byteor_framing_options options
    cdef SinkHandle handle = SinkHandle.__new__(SinkHandle)
    _framing(&options, framing)
    handle.bytes_sink = byteor_bytes_sink_new(&options)
    if handle.bytes_sink == NULL:
        raise MemoryError("no memory for the output buffer of a sink")
    handle.sink = &handle.bytes_sink.base
    return handle


def open_file_source(int fd, framing):
    """Read a regular file from its descriptor's offset to its end; the handle owns `fd`."""
    cdef SourceHandle handle = _bytes_handle(framing)
    handle.bytes_source.fd = fd
    handle.bytes_source.refill = byteor_refill_read
    handle.source.common.position[1] = os.fstat(fd).st_ino
    return handle


def open_follow_source(int fd, framing, *, int directory_fd, bytes base_name):
    """Read a regular file and what is added to it, by name; the handle owns both descriptors."""
    cdef SourceHandle handle = _bytes_handle(framing)
    if len(base_name) > 255:
        raise ValueError("a file name has at most 255 bytes")
    handle.bytes_source.fd = fd
    handle.bytes_source.directory_fd = directory_fd
    memcpy(handle.bytes_source.base_name, <const char *>base_name, len(base_name))
    handle.bytes_source.refill = byteor_refill_follow
    handle.bytes_source.crossed = byteor_crossed_follow
    handle.source.common.position[1] = os.fstat(fd).st_ino
    return handle


def open_packet_source(int fd, framing):
    """Read the run's client from its packet socket, which stays the caller's."""
    cdef SourceHandle handle = _bytes_handle(framing)
    handle.borrowed = True
    handle.bytes_source.fd = fd
    handle.bytes_source.keeps_crc = 1
    handle.bytes_source.refill = byteor_refill_packets
    handle.source.common.wait_fd = fd
    handle.source.common.wait_events = POLLIN
    return handle


def open_socket_source(framing, *, int fd=-1, int listen_fd=-1, uint64_t peers=0):
    """Read a connected stream socket, or `peers` that connect one by one (0: any number)."""
    cdef SourceHandle handle = _bytes_handle(framing)
    handle.bytes_source.fd = fd
    handle.bytes_source.listen_fd = listen_fd
    handle.bytes_source.peers_left = peers
    handle.bytes_source.forgives_loss = listen_fd >= 0
    handle.bytes_source.refill = byteor_refill_socket
    handle.bytes_source.crossed = byteor_crossed_socket
    return handle


def open_datagram_source(int fd, *, uint64_t count=0):
    """Receive `count` datagrams (0: any number) on a bound socket; the handle owns `fd`."""
    cdef SourceHandle handle = SourceHandle.__new__(SourceHandle)
    handle.source = byteor_datagram_source_new(fd, count)
    if handle.source == NULL:
        raise MemoryError("no memory for a source of datagrams")
    handle.owned_fd = fd
    return handle


def open_generator(*, content, size, size_max, count, rate, at_once, seed):
    """Make messages up; arguments as `byteor_generator_options`."""
    cdef SourceHandle handle = SourceHandle.__new__(SourceHandle)
    cdef byteor_generator_options options
    cdef byteor_generator_source *made
    memset(&options, 0, sizeof(options))
    options.content, options.size, options.size_max = content, size, size_max
    options.count, options.rate, options.at_once, options.seed = count, rate, at_once, seed
    made = byteor_generator_source_new(&options)
    if made == NULL:
        raise MemoryError("no memory for a generator")
    handle.source = &made.base
    return handle


def open_file_sink(int fd, framing, *, int sync):
    """Write a regular file at its descriptor's offset; the handle owns `fd`."""
    cdef SinkHandle handle = _bytes_sink_handle(framing)
    handle.bytes_sink.fd = fd
    handle.bytes_sink.sync = sync
    handle.bytes_sink.emit = byteor_emit_file
    handle.bytes_sink.end = byteor_end_file
    handle.sink.common.position[0] = os.lseek(fd, 0, os.SEEK_CUR)
    return handle


def open_packet_sink(int fd, framing):
    """Write to the run's client through its packet socket, which stays the caller's."""
    cdef SinkHandle handle = _bytes_sink_handle(framing)
    handle.borrowed = True
    handle.bytes_sink.fd = fd
    handle.bytes_sink.keeps_crc = 1
    handle.bytes_sink.output_max = BYTEOR_PACKET_DATA_BYTES_MAX
    handle.bytes_sink.emit = byteor_emit_packets
    handle.bytes_sink.end = byteor_end_packets
    return handle


def open_socket_sink(framing, *, int fd=-1, int listen_fd=-1):
    """Write to a connected stream socket, or to one peer at a time that connects; the handle owns both."""
    cdef SinkHandle handle = _bytes_sink_handle(framing)
    handle.bytes_sink.fd = fd
    handle.bytes_sink.listen_fd = listen_fd
    handle.bytes_sink.emit = byteor_emit_socket
    handle.bytes_sink.end = byteor_end_socket
    return handle


def open_datagram_sink(int fd, *, bint unheard_is_lost):
    """Send a datagram per message through a connected socket; the handle owns `fd`."""
    cdef SinkHandle handle = SinkHandle.__new__(SinkHandle)
    handle.sink = byteor_datagram_sink_new(fd, unheard_is_lost)
    if handle.sink == NULL:
        raise MemoryError("no memory for a sink of datagrams")
    handle.owned_fd = fd
    return handle


def open_discard(*, bint verify):
    """Keep nothing; with `verify` prove that the generator's checksummed messages came whole and in order."""
    cdef SinkHandle handle = SinkHandle.__new__(SinkHandle)
    cdef byteor_discard_sink *made = byteor_discard_sink_new(verify)
    if made == NULL:
        raise MemoryError("no memory for a sink")
    handle.sink = &made.base
    return handle
