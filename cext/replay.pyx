# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Both ends of a replay, and a look into what was captured and what a replay left.

Owns the lifetime of the native source and sink. What a frame is stands in `journal.h`, what the areas hold in
`sink_digest.h` and `trace.h`; what to make of it is decided in `byteord.capture`.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset


cdef extern from "adapter.h" nogil:
    ctypedef struct byteor_source:
        pass

    ctypedef struct byteor_sink:
        pass


cdef extern from "journal.h" nogil:
    enum: BYTEOR_JOURNAL_VERSION

    ctypedef struct byteor_journal_header:
        uint8_t magic[8]
        uint32_t version
        uint32_t header_crc32c
        uint64_t segment

    ctypedef struct byteor_journal_frame:
        uint32_t length
        uint8_t type
        uint64_t sequence
        uint64_t rx_sequence
        uint64_t time_ns
        uint64_t unix_ns

    uint32_t byteor_journal_header_crc(byteor_journal_header)


cdef extern from "frames.h" nogil:
    ctypedef struct byteor_segment_view:
        const uint8_t *base
        uint64_t bytes
        uint64_t id

    ctypedef struct byteor_frames:
        uint32_t at
        uint64_t offset
        uint64_t next

    void byteor_frames_begin(byteor_frames *, const byteor_segment_view *, uint32_t)
    const byteor_journal_frame *byteor_frames_peek(byteor_frames *)
    void byteor_frames_take(byteor_frames *, const byteor_journal_frame *)
    int byteor_frames_seek(byteor_frames *, uint64_t)


cdef extern from "source_replay.h" nogil:
    ctypedef struct byteor_replay_source:
        byteor_source base
        byteor_frames frames

    void byteor_replay_source_start(byteor_replay_source *, uint64_t, uint64_t, double, int)


cdef extern from "rolling.h" nogil:
    ctypedef struct byteor_rolling:
        uint64_t count
        uint64_t bytes

    void byteor_rolling_begin(byteor_rolling *)
    void byteor_rolling_digest(const byteor_rolling *, uint8_t *)


cdef extern from "action_budget.h" nogil:
    ctypedef struct byteor_action_budget:
        uint64_t used
        uint64_t spent

    uint64_t byteor_action_take(byteor_action_budget *, uint64_t, uint64_t)


cdef extern from "sink_digest.h" nogil:
    enum: BYTEOR_DIGEST_AREA_VERSION

    ctypedef struct byteor_digest_mark:
        uint64_t count
        uint8_t wanted[32]
        uint8_t seen[32]
        uint64_t reached

    ctypedef struct byteor_digest_area:
        uint32_t version
        uint32_t marks
        uint32_t next_mark
        uint32_t diverged
        byteor_rolling rolling
        uint64_t first_ns
        uint64_t last_ns
        uint64_t index
        uint64_t time_ns
        uint64_t sequence
        uint32_t length
        uint32_t type
        uint8_t payload[65536]

    ctypedef struct byteor_digest_sink:
        byteor_sink base
        byteor_action_budget *budget
        uint64_t actions_max
        byteor_frames expected
        uint8_t compares
        uint8_t stops

    byteor_digest_mark *byteor_digest_marks(byteor_digest_area *)
    void byteor_digest_sink_start(byteor_digest_sink *, byteor_digest_area *, byteor_sink *)


cdef extern from "trace.h" nogil:
    ctypedef struct byteor_trace:
        uint64_t time_ns
        uint64_t bytes
        uint64_t used
        uint64_t lost

    ctypedef struct byteor_trace_record:
        uint32_t bytes
        uint32_t role
        uint16_t phase
        uint16_t length
        uint8_t type
        uint8_t flags
        uint64_t sequence


cdef extern from "script_read.h" nogil:
    ctypedef struct byteor_script_list:
        uint8_t *data
        size_t bytes

    ctypedef struct byteor_script_source:
        byteor_script_list output
        byteor_script_list lost

    ctypedef struct byteor_scripts:
        byteor_script_list take
        byteor_script_list steer
        byteor_script_list calls
        byteor_script_source *source
        uint32_t sources

    int byteor_script_read(byteor_scripts *, byteor_frames *, uint64_t *)
    void byteor_scripts_free(byteor_scripts *)


UINT64_MAX = 0xFFFFFFFFFFFFFFFF
GAPS_KEPT_MAX = 64
DIVERGED = ("", "message", "extra", "mark")
PHASES = ("", "before", "after", "emitted")
_MARK_BYTES = sizeof(byteor_digest_mark)
_AREA_BYTES = sizeof(byteor_digest_area)


@cython.final
cdef class Segments:
    """Segments of one journal in memory, oldest first; `buffers` are their whole files."""

    cdef byteor_segment_view *view
    cdef uint32_t count
    cdef list keep

    def __cinit__(self, buffers):
        """Check every header; ValueError (with the index of the segment) says what is wrong with one."""
        cdef const uint8_t[::1] data
        cdef byteor_journal_header header
        self.keep = [memoryview(each) for each in buffers]
        self.count = len(self.keep)
        self.view = <byteor_segment_view *> calloc(self.count + 1, sizeof(byteor_segment_view))
        if self.view == NULL:
            raise MemoryError
        for index, each in enumerate(self.keep):
            data = each
            if <size_t> data.shape[0] < 64:
                raise ValueError(f"{index}: {data.shape[0]} bytes: too short for a segment")
            memcpy(&header, &data[0], 64)
            if header.magic[:8] != b"BYTEORj\n":
                raise ValueError(f"{index}: it does not begin with the mark of a journal")
            if header.version != BYTEOR_JOURNAL_VERSION:
                wanted = BYTEOR_JOURNAL_VERSION
                raise ValueError(f"{index}: journal version {header.version}: this byteor reads {wanted}")
            if header.header_crc32c != byteor_journal_header_crc(header):
                raise ValueError(f"{index}: the checksum of its header does not match")
            self.view[<size_t> index].base = &data[0]
            self.view[<size_t> index].bytes = data.shape[0]
            self.view[<size_t> index].id = header.segment

    def __dealloc__(self):
        free(self.view)

    def survey(self, *, bint by_rx, uint64_t from_sequence=0, uint64_t to_sequence=UINT64_MAX, uint64_t from_unix_ns=0,
               uint64_t to_unix_ns=UINT64_MAX, uint64_t last=0, uint64_t bytes_max=UINT64_MAX):
        """Walk all frames: how many there are, which are missing, and which a range selects.

        A message's sequence is its frame's `rx_sequence` with `by_rx`, else the frame's own. With `last` only that many
        of the last ones are selected. The names of the answer are those of `byteord.regions.segments.Survey`.
        """
        cdef byteor_frames f
        cdef const byteor_journal_frame *frame
        cdef uint64_t sequence, length, frames = 0, wanted = 0, missing = 0, first = 0, least = 0, last_sequence = 0
        cdef uint64_t low = 0, high = 0, chosen = 0, chosen_bytes = 0, chosen_ns = 0, chosen_missing = 0
        cdef uint64_t low_sequence = 0, high_sequence = 0
        cdef bint limited = False
        cdef list gaps = []
        if last:
            least = self._next() - min(last, self._frames())
        byteor_frames_begin(&f, self.view, self.count)
        while True:
            frame = byteor_frames_peek(&f)
            if frame == NULL:
                break
            sequence = frame.rx_sequence if by_rx else frame.sequence
            length = frame.length - 1
            if frames == 0:
                first, wanted = sequence, 0 if by_rx else sequence
            if sequence != wanted:
                missing += sequence - wanted
                if len(gaps) < GAPS_KEPT_MAX:
                    gaps.append((wanted, sequence - wanted))
            wanted = sequence + 1
            if (from_sequence <= sequence <= to_sequence and from_unix_ns <= frame.unix_ns <= to_unix_ns
                    and frame.sequence >= least and not limited):
                if chosen_bytes + length > bytes_max:
                    limited = True
                else:
                    if chosen == 0:
                        low, low_sequence, chosen_ns = frame.sequence, sequence, frame.time_ns
                    else:
                        chosen_missing += sequence - high_sequence
                    high, high_sequence = frame.sequence + 1, sequence + 1
                    chosen += 1
                    chosen_bytes += length
            frames += 1
            last_sequence = sequence
            byteor_frames_take(&f, frame)
        return {
            "frames": frames, "first": first, "last": last_sequence, "missing": missing, "gaps": gaps, "low": low,
            "high": high, "low_sequence": low_sequence, "high_sequence": high_sequence, "chosen": chosen,
            "chosen_bytes": chosen_bytes, "chosen_ns": chosen_ns, "chosen_missing": chosen_missing, "limited": limited,
        }

    cdef uint64_t _next(self) noexcept:
        """Sequence behind the last frame."""
        cdef byteor_frames f
        byteor_frames_begin(&f, self.view, self.count)
        byteor_frames_seek(&f, 0xFFFFFFFFFFFFFFFF)
        return f.next

    cdef uint64_t _frames(self) noexcept:
        return self._next() - (self.view[0].id if self.count else 0)

    def find(self, *, own=None, rx=None, time_ns=None):
        """Return (own sequence, rx_sequence, time_ns, type, payload) of the first frame that fits, or None."""
        cdef byteor_frames f
        cdef const byteor_journal_frame *frame
        cdef uint64_t by_own = own or 0, by_rx = rx or 0, by_time = time_ns or 0
        cdef int mode = 0 if own is not None else 1 if rx is not None else 2
        cdef bint fits = False
        byteor_frames_begin(&f, self.view, self.count)
        if mode == 0:
            byteor_frames_seek(&f, by_own)
        with nogil:
            while True:
                frame = byteor_frames_peek(&f)
                if frame == NULL:
                    break
                fits = (frame.sequence == by_own if mode == 0 else frame.rx_sequence == by_rx if mode == 1
                        else frame.time_ns == by_time)
                if fits:
                    break
                byteor_frames_take(&f, frame)
        if frame == NULL:
            return None
        payload = PyBytes_FromStringAndSize(<const char *> (frame + 1), frame.length - 1)
        return frame.sequence, frame.rx_sequence, frame.time_ns, frame.type, payload

    def scripts(self):
        """Return recorded choices taken apart: (take, steer, calls, outputs, lost), see `byteord.worker.replay`.

        ValueError names the frame that holds no choices.
        """
        cdef byteor_scripts s
        cdef byteor_frames f
        cdef uint64_t at = 0
        cdef int outcome
        memset(&s, 0, sizeof(s))
        byteor_frames_begin(&f, self.view, self.count)
        with nogil:
            outcome = byteor_script_read(&s, &f, &at)
        try:
            if outcome == -1:
                raise MemoryError
            if outcome:
                raise ValueError(f"frame {at} holds no choices of a role")
            outputs = {i: _bytes(&s.source[i].output) for i in range(s.sources) if s.source[i].output.bytes}
            lost = {i: _bytes(&s.source[i].lost) for i in range(s.sources) if s.source[i].lost.bytes}
            return _bytes(&s.take), _bytes(&s.steer), _bytes(&s.calls), outputs, lost
        finally:
            byteor_scripts_free(&s)


cdef bytes _bytes(const byteor_script_list *records):
    return PyBytes_FromStringAndSize(<const char *> records.data, records.bytes)


@cython.final
cdef class ReplaySource:
    """An ingress over segments. `address` is that of its `byteor_source`, valid as long as it lives."""

    cdef byteor_replay_source *source
    cdef Segments segments

    def __cinit__(self, Segments segments not None, *, uint64_t low, uint64_t high, uint64_t origin_ns, double speed,
                  bint whole=False):
        """Give the frames from own sequence `low` to before `high`; `speed` and `whole` as `byteor_replay_source`."""
        self.segments = segments
        self.source = <byteor_replay_source *> calloc(1, sizeof(byteor_replay_source))
        if self.source == NULL:
            raise MemoryError
        byteor_frames_begin(&self.source.frames, segments.view, segments.count)
        if low < high and not byteor_frames_seek(&self.source.frames, low):
            raise ValueError(f"frame {low} is not there: the segments end before it")
        byteor_replay_source_start(self.source, high, origin_ns, speed, whole)

    def __dealloc__(self):
        free(self.source)

    @property
    def address(self):
        """Address of the native object."""
        return <uintptr_t> self.source


@cython.final
cdef class DigestSink:
    """An egress that digests. `address` is that of its `byteor_sink`, valid as long as it lives."""

    cdef byteor_digest_sink *sink
    cdef Segments expected
    cdef object area
    cdef object inner
    cdef object budget

    def __cinit__(self, area not None, *, inner=None, budget=None, uint64_t actions_max=0, Segments expected=None,
                  bint stops=False):
        """Work in `area`, a writable mapping made by `area_bytes`.

        `inner`: a handle of the sink that messages go on to, each an action of `budget`, of which there are
        `actions_max`. `expected`: every message that left live.
        """
        cdef uint8_t[::1] data = area
        cdef uintptr_t onward = inner.address if inner is not None else 0
        if <size_t> data.shape[0] < sizeof(byteor_digest_area):
            raise ValueError(f"{data.shape[0]} bytes: too short for the area of an egress")
        self.area, self.inner, self.expected = data, inner, expected
        self.sink = <byteor_digest_sink *> calloc(1, sizeof(byteor_digest_sink))
        if self.sink == NULL:
            raise MemoryError
        byteor_digest_sink_start(self.sink, <byteor_digest_area *> &data[0], <byteor_sink *> onward)
        self.sink.stops = stops
        if budget is not None:
            self.budget = budget
            self.sink.budget = _budget(budget)
            self.sink.actions_max = actions_max
        if expected is not None:
            self.sink.compares = 1
            byteor_frames_begin(&self.sink.expected, expected.view, expected.count)

    def __dealloc__(self):
        free(self.sink)

    @property
    def address(self):
        """Address of the native object."""
        return <uintptr_t> self.sink


cdef byteor_action_budget *_budget(area) except NULL:
    cdef uint8_t[::1] data = area
    if <size_t> data.shape[0] < sizeof(byteor_action_budget):
        raise ValueError(f"{data.shape[0]} bytes: too short for a budget of actions")
    return <byteor_action_budget *> &data[0]


def take_action(area, uint64_t most):
    """Take one attempt of a budget, a writable mapping; False when none is left, which is noted there."""
    return byteor_action_take(_budget(area), most, 1) == 1


def area_bytes(marks):
    """Return a fresh area; `marks`: (count, SHA-256 as it was live then), by count."""
    cdef bytearray data = bytearray(_AREA_BYTES + len(marks) * _MARK_BYTES)
    cdef uint8_t[::1] view = data
    cdef byteor_digest_area *area = <byteor_digest_area *> &view[0]
    cdef byteor_digest_mark *mark = byteor_digest_marks(area)
    cdef const uint8_t[::1] wanted
    area.version = BYTEOR_DIGEST_AREA_VERSION
    area.marks = len(marks)
    byteor_rolling_begin(&area.rolling)
    for index, (count, digest) in enumerate(marks):
        wanted = digest
        if wanted.shape[0] != 32:
            raise ValueError(f"mark {index}: a SHA-256 has 32 bytes")
        mark[<size_t> index].count = count
        memcpy(mark[<size_t> index].wanted, &wanted[0], 32)
    return bytes(data)


def read_area(const uint8_t[::1] data not None):
    """Return what an egress left: count, bytes, sha256, marks reached, and the first difference."""
    if <size_t> data.shape[0] < sizeof(byteor_digest_area):
        raise ValueError(f"{data.shape[0]} bytes: too short for the area of an egress")
    cdef const byteor_digest_area *area = <const byteor_digest_area *> &data[0]
    cdef const byteor_digest_mark *mark = byteor_digest_marks(<byteor_digest_area *> area)
    cdef uint8_t digest[32]
    if area.version != BYTEOR_DIGEST_AREA_VERSION:
        raise ValueError(f"version {area.version} of the area of an egress")
    if <size_t> data.shape[0] < sizeof(byteor_digest_area) + area.marks * sizeof(byteor_digest_mark):
        raise ValueError("too short for its marks")
    byteor_rolling_digest(&area.rolling, digest)
    marks = [
        (mark[i].count, (<const uint8_t *> mark[i].wanted)[:32], (<const uint8_t *> mark[i].seen)[:32])
        for i in range(min(area.next_mark, area.marks))
    ]
    found = {
        "count": area.rolling.count,
        "bytes": area.rolling.bytes,
        "sha256": (<const uint8_t *> digest)[:32].hex(),
        "marks": marks,
        "elapsed_ns": area.last_ns - area.first_ns,
        "diverged": DIVERGED[min(area.diverged, 3)],
    }
    if area.diverged:
        length = min(area.length, 65536)
        found |= {
            "index": area.index, "time_ns": area.time_ns, "sequence": area.sequence, "type": area.type,
            "payload": (<const uint8_t *> area.payload)[:length],
        }
    return found


def trace_bytes(uint64_t time_ns, uint64_t room):
    """Return a fresh area for the trace of the message with that ingress time."""
    cdef byteor_trace head
    memset(&head, 0, sizeof(head))
    head.time_ns = time_ns
    head.bytes = room
    return PyBytes_FromStringAndSize(<const char *> &head, sizeof(head)) + bytes(room)


def address_of(uint8_t[::1] area not None):
    """Return where a writable mapping lies; keep it as long as the address is used."""
    return <uintptr_t> &area[0]


def read_trace(const uint8_t[::1] data not None):
    """Return the records of a trace, in order, and how many were lost.

    Each has role, phase, sequence, type, dropped, end and payload.
    """
    cdef byteor_trace head
    cdef byteor_trace_record record
    cdef uint64_t at = 0, room
    if <size_t> data.shape[0] < sizeof(head):
        raise ValueError(f"{data.shape[0]} bytes: too short for a trace")
    memcpy(&head, &data[0], sizeof(head))
    room = min(head.used, data.shape[0] - sizeof(head))
    found = []
    while room - at >= sizeof(record):
        memcpy(&record, &data[sizeof(head) + at], sizeof(record))
        if record.bytes < sizeof(record) + record.length or record.bytes > room - at:
            break
        payload = bytes(data[sizeof(head) + at + sizeof(record):sizeof(head) + at + sizeof(record) + record.length])
        found.append({
            "role": record.role, "phase": PHASES[min(record.phase, 3)], "sequence": record.sequence,
            "type": record.type, "dropped": bool(record.flags & 1), "end": bool(record.flags & 16), "payload": payload,
        })
        at += record.bytes
    return found, head.lost
