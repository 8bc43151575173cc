# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True, auto_pickle=False, autotestdict=False
"""Handles of sources and sinks: made from open descriptors, driven through their C address by the worker's loop.

Owns the lifetime of the native objects and of the descriptors given to them. Opening by name, policy and messages to
people are `byteord.adapters.open`'s; what is read and written is decided in the C files. `drain` and `push` drive a handle
alone, in a private buffer, for tests and measurements.
"""

cimport cython

import os
import zlib

from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset


cdef extern from "adapter.h" nogil:
    enum: BYTEOR_POSITION_WORDS
    enum: BYTEOR_REJECT_MAX
    enum: BYTEOR_ADAPTER_READY
    enum: BYTEOR_ADAPTER_WAITING
    enum: BYTEOR_ADAPTER_ENDED
    enum: BYTEOR_ADAPTER_FAILED
    enum: BYTEOR_REJECT_MALFORMED
    enum: BYTEOR_REJECT_TRUNCATED
    enum: BYTEOR_REJECT_CORRUPT

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
        uint64_t now_ns

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
        int (*poll)(byteor_source *, byteor_batch *) noexcept nogil

    ctypedef struct byteor_sink:
        byteor_adapter_common common
        int (*write)(byteor_sink *, const byteor_batch *) noexcept nogil
        void (*finish)(byteor_sink *) noexcept nogil

    byteor_slot *byteor_slot_at(const byteor_batch *, uint32_t)
    uint8_t *byteor_payload(byteor_slot *)
    void byteor_reject(byteor_adapter_common *, int, const void *, size_t)
    int byteor_adapter_fail(byteor_adapter_common *, int, const char *)


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
    enum: BYTEOR_REFILL_END
    enum: BYTEOR_REFILL_FAILED

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
        void *context
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
InflateError = zlib.error


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
    """Read a connected stream socket, or `peers` (0: any number) that connect one after the other; owns both."""
    cdef SourceHandle handle = _bytes_handle(framing)
    handle.bytes_source.fd = fd
    handle.bytes_source.listen_fd = listen_fd
    handle.bytes_source.peers_left = peers
    handle.bytes_source.forgives_loss = listen_fd >= 0
    handle.bytes_source.refill = byteor_refill_socket
    handle.bytes_source.crossed = byteor_crossed_socket
    return handle


def open_datagram_source(int fd, *, uint64_t count=0):
    """Receive datagrams on a bound socket, `count` of them (0: any number); the handle owns `fd`."""
    cdef SourceHandle handle = SourceHandle.__new__(SourceHandle)
    handle.source = byteor_datagram_source_new(fd, count)
    if handle.source == NULL:
        raise MemoryError("no memory for a source of datagrams")
    handle.owned_fd = fd
    return handle


def open_generator(*, content, size, size_max, count, rate, seed):
    """Make messages up; arguments as `byteor_generator_options`."""
    cdef SourceHandle handle = SourceHandle.__new__(SourceHandle)
    cdef byteor_generator_options options
    cdef byteor_generator_source *made
    memset(&options, 0, sizeof(options))
    options.content, options.size, options.size_max = content, size, size_max
    options.count, options.rate, options.seed = count, rate, seed
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


# ---- gzip: the one refill that needs Python, a chunk at a time ----

cdef class _Inflate:
    """Inflated bytes of a gzip file of any number of members."""

    cdef object inflater
    cdef bytes rest
    cdef int fd

    def __cinit__(self, int fd):
        self.inflater = None
        self.rest = b""
        self.fd = fd

    cdef bytes _more(self):
        return self.rest or os.read(self.fd, 65536)

    cdef bytes read(self, size_t room):
        """Return up to `room` bytes, b"" at the end; EOFError when cut off, ValueError at trailing garbage."""
        while True:
            if self.inflater is None:
                self.rest = self._more().lstrip(b"\0")
                if not self.rest:
                    if not (padding := os.read(self.fd, 65536)):
                        return b""
                    self.rest = padding
                    continue
                if self.rest[:2] != b"\x1f\x8b"[:len(self.rest)]:
                    raise ValueError(self.rest)
                self.inflater = zlib.decompressobj(31)
            given = self._more()
            if not given:
                raise EOFError("cut off")
            got = self.inflater.decompress(given, room)
            self.rest = self.inflater.unconsumed_tail
            if self.inflater.eof:
                self.rest = self.inflater.unused_data
                self.inflater = None
            if got:
                return got


cdef ptrdiff_t _refill_gzip(byteor_bytes_source *source, uint8_t *into, size_t room) noexcept with gil:
    cdef byteor_adapter_common *common = &source.base.common
    cdef bytes got
    try:
        got = (<_Inflate>source.context).read(room)
        memcpy(into, <const char *>got, len(got))
        return len(got)
    except EOFError:
        byteor_reject(common, BYTEOR_REJECT_TRUNCATED, b"end of the gzip file", 20)
        return BYTEOR_REFILL_END
    except ValueError as garbage:
        got = garbage.args[0]
        byteor_reject(common, BYTEOR_REJECT_MALFORMED, <const char *>got, len(got))
        return BYTEOR_REFILL_END
    except zlib.error:
        byteor_reject(common, BYTEOR_REJECT_CORRUPT, b"gzip data", 9)
        byteor_adapter_fail(common, 0, b"the gzip input is damaged: it does not inflate, or its checksum does not hold")
    except OSError as error:
        byteor_adapter_fail(common, error.errno or 0, b"reading the gzip input failed")
    except BaseException:
        byteor_adapter_fail(common, 0, b"inflating the gzip input failed")
    return BYTEOR_REFILL_FAILED


def open_gzip_source(int fd, framing, *, uint64_t skip=0):
    """Read a gzip file, its first `skip` inflated bytes passed over; the handle owns `fd`."""
    cdef SourceHandle handle = _bytes_handle(framing)
    cdef _Inflate inflate = _Inflate(fd)
    handle.bytes_source.fd = fd
    handle.keeps = inflate
    handle.bytes_source.context = <void *>inflate
    handle.bytes_source.refill = _refill_gzip
    handle.source.common.position[1] = os.fstat(fd).st_ino
    while skip:
        got = inflate.read(min(skip, 1 << 20))
        if not got:
            raise EOFError("cut off")
        skip -= len(got)
    return handle


# ---- drivers for tests and measurements ----

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


def drain(SourceHandle handle, *, uint32_t slot_bytes=256, uint32_t max_batch=64, limit=None, uint64_t now_ns=0,
          bint stamped=False):
    """Poll until the source waits, ends, fails, or `limit` messages came; return them (with times when `stamped`)."""
    cdef _Slots slots = _Slots(slot_bytes, max_batch)
    cdef byteor_slot *slot
    cdef int filled, i
    cdef int empty = 0
    handle._check_open()
    messages = []
    slots.batch.now_ns = now_ns
    while handle.source.common.status < BYTEOR_ADAPTER_ENDED and (limit is None or len(messages) < limit):
        slots.batch.count = max_batch if limit is None else min(max_batch, limit - len(messages))
        with nogil:
            filled = handle.source.poll(handle.source, &slots.batch)
        for i in range(filled):
            slot = byteor_slot_at(&slots.batch, i)
            payload = (<const char *>byteor_payload(slot))[:slot.length]
            messages.append((payload, slot.time_ns) if stamped else payload)
        if handle.source.common.status == BYTEOR_ADAPTER_WAITING:
            break
    return messages


def push(SinkHandle handle, payloads, *, uint32_t slot_bytes=256, flags=None, uint64_t first_sequence=0):
    """Present `payloads` as one batch, with slot flags if given; return how many slots the sink is done with."""
    cdef uint32_t count = len(payloads)
    cdef _Slots slots = _Slots(slot_bytes, max(1, count))
    cdef byteor_slot *slot
    cdef uint32_t i
    cdef int done
    handle._check_open()
    slots.batch.count = count
    slots.batch.first_sequence = first_sequence
    for i in range(count):
        payload = bytes(payloads[i])
        if len(payload) > slot_bytes - 16:
            raise ValueError(f"payload of {len(payload)} bytes; a slot of {slot_bytes} holds {slot_bytes - 16}")
        slot = byteor_slot_at(&slots.batch, i)
        slot.length = len(payload)
        slot.flags = flags[i] if flags is not None else 0
        memcpy(byteor_payload(slot), <const char *>payload, len(payload))
    with nogil:
        done = handle.sink.write(handle.sink, &slots.batch)
    return done


def finish(SinkHandle handle):
    """Call the sink's finish once and return its status."""
    handle._check_open()
    with nogil:
        handle.sink.finish(handle.sink)
    return handle.sink.common.status


def spin(SourceHandle source, SinkHandle sink, *, uint32_t slot_bytes=64, uint32_t max_batch=256, uint64_t messages):
    """Move up to `messages` from source to sink (if not None) in one loop without the GIL; return how many moved."""
    cdef _Slots slots = _Slots(slot_bytes, max_batch)
    cdef byteor_batch left
    cdef uint64_t moved = 0
    cdef int filled, done
    source._check_open()
    with nogil:
        while moved < messages:
            slots.batch.count = <uint32_t>min(<uint64_t>max_batch, messages - moved)
            filled = source.source.poll(source.source, &slots.batch)
            if source.source.common.status >= BYTEOR_ADAPTER_ENDED:
                break
            left = slots.batch
            left.count = filled
            while left.count and sink is not None:
                done = sink.sink.write(sink.sink, &left)
                left.count -= done
                left.slots += <size_t>done * slot_bytes
                if sink.sink.common.status == BYTEOR_ADAPTER_FAILED:
                    break
            moved += filled
    return moved
