# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Regions as Python sees them: create, attach, read, command.

Owns no layout: every offset comes from `layout.h`. Must not contain a loop over messages.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from "layout.h" nogil:
    enum:
        BYTEOR_PAGE
        BYTEOR_LINE
        BYTEOR_LAYOUT_VERSION
        BYTEOR_REGION_RING
        BYTEOR_REGION_CONTROL
        BYTEOR_MEMBERS_MAX
        BYTEOR_CELLS_MAX
        BYTEOR_ERRORS_MAX
        BYTEOR_REJECT_MAX
        BYTEOR_HISTOGRAM_BUCKETS
        BYTEOR_STATE_DOUBLE_BYTES_MAX
        BYTEOR_SAMPLE_BYTES
        BYTEOR_RUN_MEMBARRIER
    const uint64_t BYTEOR_NO_SEQUENCE
    ctypedef struct byteor_clock:
        uint64_t mult
        uint64_t unix_offset_ns
    ctypedef struct byteor_region_header:
        uint32_t layout_version
        uint32_t kind
        uint64_t total_bytes
        uint8_t spec_sha256[32]
        char run_id[40]
        char boot_id[40]
        uint64_t epoch
        uint64_t creator_start_ticks
        uint32_t creator_pid
        uint32_t flags
        byteor_clock clock
        uint64_t section[4]
        uint32_t counts[2]
        uint64_t size_a
        uint64_t size_b
    ctypedef struct byteor_ring_producer:
        uint64_t cursor
        uint64_t claimed
        uint64_t end_sequence
        uint64_t progress_ns
    ctypedef struct byteor_cell:
        uint64_t sequence
    ctypedef struct byteor_run_block:
        uint64_t created_ns
        uint64_t ready_ns
        uint32_t failed_role
        uint32_t failure
        uint64_t failed_sequence
        uint8_t failed_sha256[32]
        uint64_t first_message_ns
    ctypedef struct byteor_member_count:
        uint64_t received
        uint64_t dropped
        uint64_t skipped
    ctypedef struct byteor_adapter_record:
        uint64_t position[4]
        uint64_t bytes_total
        uint64_t rejected[8]
    ctypedef struct byteor_record:
        uint64_t position
        uint64_t egress_position
        uint64_t time_last
        uint64_t ended
        uint64_t commits
        byteor_adapter_record source
        byteor_adapter_record sink
    ctypedef struct byteor_undo:
        uint64_t valid_for
    ctypedef struct byteor_unit:
        uint32_t command
        uint32_t worker
        uint32_t member_count
        uint32_t member_role[8]
        uint32_t parked
        uint32_t selector
        uint64_t undo_offset
        uint64_t undo_bytes
        uint64_t undo_slot_bytes
        byteor_undo undo
        byteor_record record[2]
    ctypedef struct byteor_histogram:
        uint64_t count
        uint64_t sum_ns
        uint64_t max_ns
        uint64_t bucket[2112]
    ctypedef struct byteor_error:
        uint32_t code
        uint32_t text_bytes
        uint64_t count
        uint64_t first_sequence
        uint8_t text[480]
    ctypedef struct byteor_role:
        char name[64]
        char stage[192]
        uint32_t kind
        uint32_t unit
        uint32_t member
        int32_t ring
        int32_t cell
        uint32_t depends_count
        uint32_t depends[8]
        uint64_t state_offset
        uint64_t state_bytes
        uint32_t state
        uint32_t pid
        uint64_t heartbeat_ns
        uint64_t busy_since_ns
        uint64_t busy_sequence
        uint32_t restarts
        uint64_t received
        uint64_t published
        uint64_t dropped
        uint64_t skipped
        uint64_t batches
        uint64_t bytes_total
        uint64_t cycle_ns_max
        uint64_t gathered
        uint64_t rejected[8]
        uint32_t sample_length[8]
        uint8_t sample[8][96]
        byteor_error error[16]
        byteor_histogram service
        byteor_histogram latency

cdef extern from "clock.h" nogil:
    uint64_t byteor_now_ns(const byteor_clock *clock)
    void byteor_clock_anchor(byteor_clock *clock, uint64_t mult)
    uint64_t byteor_clock_calibrate(uint64_t window_ns)

cdef extern from "atomics.h" nogil:
    uint64_t byteor_load_acquire64(const uint64_t *address)
    uint32_t byteor_load_acquire32(const uint32_t *address)
    uint64_t byteor_load_relaxed64(const uint64_t *address)
    void byteor_store_release32(uint32_t *address, uint32_t value)
    void byteor_store_release64(uint64_t *address, uint64_t value)
    int byteor_compare_exchange32(uint32_t *address, uint32_t expected, uint32_t value)

cdef extern from "histogram.h" nogil:
    uint64_t byteor_histogram_low(uint32_t index)

cdef extern from "wait.h" nogil:
    int byteor_membarrier_register()
    void byteor_doorbell_ring(uint32_t *doorbell, int membarrier)

cdef extern from "unit_stages.h" nogil:
    void byteor_note_error(byteor_role *role, uint32_t code, uint64_t sequence, const char *text, size_t size)

cdef extern from "region.h" nogil:
    ctypedef struct byteor_map:
        uint8_t *base
        uint64_t bytes
    ctypedef struct byteor_ring:
        byteor_ring_producer *producer
        byteor_cell *cells
        uint8_t *slots
        uint64_t capacity
        uint32_t slot_bytes
        uint32_t cell_count
    void byteor_header_seal(byteor_region_header *header)
    int byteor_region_allocate(int fd, uint64_t size, byteor_map *map, char *text, size_t text_bytes)
    void byteor_region_ready(byteor_map *map)
    int byteor_region_open(int fd, uint32_t kind, int writable, unsigned wait_ms, byteor_map *map, char *text,
        size_t text_bytes)
    void byteor_region_unmap(byteor_map *map)
    void byteor_ring_view(const byteor_map *map, byteor_ring *ring)

LAYOUT_VERSION = BYTEOR_LAYOUT_VERSION
CELLS_MAX = BYTEOR_CELLS_MAX
MEMBERS_MAX = BYTEOR_MEMBERS_MAX
STATE_DOUBLE_BYTES_MAX = BYTEOR_STATE_DOUBLE_BYTES_MAX
ROLE_BYTES = sizeof(byteor_role)
UNIT_BYTES = sizeof(byteor_unit)

ERRORS = {-1: "IO", -2: "NO_SPACE", -3: "TRUNCATED", -4: "FOREIGN", -5: "VERSION", -6: "CORRUPT", -7: "UNREADY",
    -8: "KIND"}
STATES = ("none", "starting", "running", "idle", "blocked", "ended", "failed", "stopped")
FAILURES = ("", "STAGE_FAILED", "STAGE_KEPT_VIEWS", "STAGE_NONSENSE", "ADAPTER_FAILED", "STAGE_HUNG", "WORKER_DIED",
    "START_FAILED")
KINDS = ("", "ingress", "stage", "egress")
REJECTS = ("oversize", "malformed", "truncated", "filtered", "corrupt", "kernel")


class RegionFault(Exception):
    """A region that cannot be used: `kind` is a value of ERRORS, the text says what was seen and wanted."""

    def __init__(self, kind, text):
        """Keep the kind beside the text."""
        super().__init__(text)
        self.kind = kind


cdef uint64_t _align(uint64_t value, uint64_t unit) noexcept:
    return (value + unit - 1) // unit * unit


cdef void _copy_text(char *to, size_t size, bytes text) except *:
    if <size_t> len(text) >= size:
        raise ValueError(f"{text!r} is longer than {size - 1} bytes")
    memset(to, 0, size)
    memcpy(to, <const char *> text, len(text))


cdef void _fill_header(byteor_region_header *header, ident, const byteor_clock *clock) except *:
    header.epoch = 1
    header.creator_pid = ident["pid"]
    header.creator_start_ticks = ident["start_ticks"]
    header.flags = BYTEOR_RUN_MEMBARRIER if ident["membarrier"] else 0
    header.clock = clock[0]
    cdef bytes digest = ident["spec_sha256"]
    if len(digest) != 32:
        raise ValueError("a SHA-256 has 32 bytes")
    memcpy(header.spec_sha256, <const char *> digest, 32)
    _copy_text(header.run_id, sizeof(header.run_id), ident["run_id"].encode("ascii"))
    _copy_text(header.boot_id, sizeof(header.boot_id), ident["boot_id"].encode("ascii"))


def membarrier_available():
    """Register this process for global expedited membarriers; True where the kernel has them."""
    return byteor_membarrier_register() == 0


def calibrate_clock(window_ms=20):
    """Return nanoseconds per TSC tick with 32 fractional bits, measured for `window_ms`; 0 without a TSC."""
    cdef uint64_t mult
    cdef uint64_t window = window_ms * 1_000_000
    with nogil:
        mult = byteor_clock_calibrate(window)
    return mult


@cython.final
cdef class Clock:
    """The run's clock, anchored once and shared by all regions of a run."""

    cdef byteor_clock clock

    def __cinit__(self, mult):
        """Anchor now; `mult` from calibrate_clock, 0 for CLOCK_MONOTONIC."""
        byteor_clock_anchor(&self.clock, mult)

    def now_ns(self):
        """Return the time in nanoseconds."""
        return byteor_now_ns(&self.clock)


cdef _raise(int status, const char *text):
    raise RegionFault(ERRORS[status], text.decode("utf-8", "replace"))


def ring_bytes(capacity, slot_bytes, cells):
    """Return the size of a ring region in bytes."""
    head = _align(BYTEOR_PAGE + sizeof(byteor_ring_producer) + cells * sizeof(byteor_cell), BYTEOR_PAGE)
    return _align(head + capacity * slot_bytes, BYTEOR_PAGE)


def create_ring(int fd, *, capacity, slot_bytes, cells, ident, Clock clock):
    """Make the empty file `fd` a ring region. RegionFault NO_SPACE when the filesystem is full."""
    cdef byteor_map map
    cdef char text[256]
    cdef uint64_t total = ring_bytes(capacity, slot_bytes, cells)
    cdef int status = byteor_region_allocate(fd, total, &map, text, sizeof(text))
    if status:
        _raise(status, text)
    cdef byteor_region_header *header = <byteor_region_header *> map.base
    cdef byteor_ring_producer *producer
    try:
        header.kind = BYTEOR_REGION_RING
        header.total_bytes = total
        header.section[0] = BYTEOR_PAGE
        header.section[1] = BYTEOR_PAGE + sizeof(byteor_ring_producer)
        header.section[2] = _align(header.section[1] + cells * sizeof(byteor_cell), BYTEOR_PAGE)
        header.counts[0] = slot_bytes
        header.counts[1] = cells
        header.size_a = capacity
        _fill_header(header, ident, &clock.clock)
        producer = <byteor_ring_producer *> (map.base + header.section[0])
        producer.end_sequence = BYTEOR_NO_SEQUENCE
        byteor_header_seal(header)
        byteor_region_ready(&map)
    finally:
        byteor_region_unmap(&map)


def control_bytes(units, roles):
    """Return the size of a control region in bytes; units and roles as for create_control."""
    return _control_layout(units, roles)[0]


def _control_layout(units, roles):
    offset = _align(BYTEOR_PAGE + sizeof(byteor_run_block), BYTEOR_LINE)
    units_at = offset
    offset += len(units) * sizeof(byteor_unit)
    roles_at = _align(offset, BYTEOR_PAGE)
    offset = roles_at + len(roles) * sizeof(byteor_role)
    states = []
    for role in roles:
        size = _align(role["state_bytes"], BYTEOR_LINE)
        copies = 1 if role["state_bytes"] > BYTEOR_STATE_DOUBLE_BYTES_MAX else 2
        states.append(offset if size else 0)
        offset += size * copies
    undos = []
    for unit in units:
        offset = _align(offset, BYTEOR_PAGE)
        undos.append(offset)
        offset += _align(unit["undo_bytes"], BYTEOR_LINE)
    return _align(offset, BYTEOR_PAGE), units_at, roles_at, states, undos


def create_control(int fd, *, units, roles, ident, Clock clock):
    """Make the empty file `fd` a control region.

    `units`: dicts with worker, roles (indices), undo_bytes, undo_slot_bytes. `roles`: dicts with name, stage, kind,
    unit, member, ring, cell, depends, state_bytes. RegionFault NO_SPACE when the filesystem is full.
    """
    cdef byteor_map map
    cdef char text[256]
    total, units_at, roles_at, states, undos = _control_layout(units, roles)
    cdef int status = byteor_region_allocate(fd, total, &map, text, sizeof(text))
    if status:
        _raise(status, text)
    cdef byteor_region_header *header = <byteor_region_header *> map.base
    cdef byteor_run_block *run
    try:
        header.kind = BYTEOR_REGION_CONTROL
        header.total_bytes = total
        header.section[0] = BYTEOR_PAGE
        header.section[1] = units_at
        header.section[2] = roles_at
        header.counts[0] = len(units)
        header.counts[1] = len(roles)
        header.size_a = sizeof(byteor_unit)
        header.size_b = sizeof(byteor_role)
        _fill_header(header, ident, &clock.clock)
        run = <byteor_run_block *> (map.base + header.section[0])
        run.created_ns = byteor_now_ns(&header.clock)
        for index, unit in enumerate(units):
            _fill_unit(<byteor_unit *> (map.base + header.section[1]) + <size_t> index, unit, undos[index])
        for index, role in enumerate(roles):
            _fill_role(<byteor_role *> (map.base + header.section[2]) + <size_t> index, role, states[index])
        byteor_header_seal(header)
        byteor_region_ready(&map)
    finally:
        byteor_region_unmap(&map)


cdef void _fill_unit(byteor_unit *unit, source, uint64_t undo_at) except *:
    unit.command = 1
    unit.worker = source["worker"]
    unit.member_count = len(source["roles"])
    for member, role in enumerate(source["roles"]):
        unit.member_role[<size_t> member] = role
    unit.undo_offset = undo_at
    unit.undo_bytes = _align(source["undo_bytes"], BYTEOR_LINE)
    unit.undo_slot_bytes = source["undo_slot_bytes"]


cdef void _fill_role(byteor_role *role, source, uint64_t state_at) except *:
    _copy_text(role.name, sizeof(role.name), source["name"].encode())
    _copy_text(role.stage, sizeof(role.stage), source["stage"].encode())
    role.kind = KINDS.index(source["kind"])
    role.unit = source["unit"]
    role.member = source["member"]
    role.ring = source["ring"]
    role.cell = source["cell"]
    role.depends_count = len(source["depends"])
    for index, cell in enumerate(source["depends"]):
        role.depends[<size_t> index] = cell
    role.state_offset = state_at
    role.state_bytes = source["state_bytes"]


@cython.final
cdef class Ring:
    """A ring region, attached. Reading it disturbs nobody."""

    cdef byteor_map map
    cdef byteor_ring ring

    def __cinit__(self, int fd, bint writable=False, unsigned wait_ms=1000):
        """Map and validate; RegionFault when it is not a sound ring region."""
        cdef char text[256]
        cdef int status = byteor_region_open(fd, BYTEOR_REGION_RING, writable, wait_ms, &self.map, text, sizeof(text))
        if status:
            _raise(status, text)
        byteor_ring_view(&self.map, &self.ring)

    def __dealloc__(self):
        byteor_region_unmap(&self.map)

    def read(self):
        """Return capacity, slot_bytes, cursor, claimed, end_sequence (or None), progress_ns and cells."""
        cells = [byteor_load_acquire64(&self.ring.cells[i].sequence) for i in range(self.ring.cell_count)]
        cdef byteor_ring_producer *producer = self.ring.producer
        end = byteor_load_acquire64(&producer.end_sequence)
        return {
            "capacity": self.ring.capacity,
            "slot_bytes": self.ring.slot_bytes,
            "cursor": byteor_load_acquire64(&producer.cursor),
            "claimed": byteor_load_acquire64(&producer.claimed),
            "end_sequence": None if end == BYTEOR_NO_SEQUENCE else end,
            "progress_ns": byteor_load_acquire64(&producer.progress_ns),
            "cells": cells,
        }


@cython.final
cdef class Control:
    """A control region, attached: what roles and units show, and the words that command them."""

    cdef byteor_map map
    cdef byteor_region_header *header
    cdef byteor_run_block *run_block
    cdef readonly uint32_t unit_count
    cdef readonly uint32_t role_count

    def __cinit__(self, int fd, bint writable=False, unsigned wait_ms=1000):
        """Map and validate; RegionFault when it is not a sound control region."""
        cdef char text[256]
        cdef int status = byteor_region_open(fd, BYTEOR_REGION_CONTROL, writable, wait_ms, &self.map, text,
            sizeof(text))
        if status:
            _raise(status, text)
        self.header = <byteor_region_header *> self.map.base
        self.run_block = <byteor_run_block *> (self.map.base + self.header.section[0])
        self.unit_count = self.header.counts[0]
        self.role_count = self.header.counts[1]

    def __dealloc__(self):
        byteor_region_unmap(&self.map)

    cdef byteor_unit *unit_at(self, size_t index) except NULL:
        if index >= self.unit_count:
            raise IndexError(f"unit {index} of {self.unit_count}")
        return <byteor_unit *> (self.map.base + self.header.section[1]) + index

    cdef byteor_role *role_at(self, size_t index) except NULL:
        if index >= self.role_count:
            raise IndexError(f"role {index} of {self.role_count}")
        return <byteor_role *> (self.map.base + self.header.section[2]) + index

    def now_ns(self):
        """Return the run's clock."""
        return byteor_now_ns(&self.header.clock)

    def identity(self):
        """Return run_id, boot_id, spec_sha256, creator_pid, creator_start_ticks, epoch, unix_offset_ns, clock."""
        return {
            "run_id": self.header.run_id.decode("ascii", "replace"),
            "boot_id": self.header.boot_id.decode("ascii", "replace"),
            "spec_sha256": PyBytes_FromStringAndSize(<char *> self.header.spec_sha256, 32).hex(),
            "creator_pid": self.header.creator_pid,
            "creator_start_ticks": self.header.creator_start_ticks,
            "epoch": self.header.epoch,
            "unix_offset_ns": self.header.clock.unix_offset_ns,
            "clock": "tsc" if self.header.clock.mult else "monotonic",
            "layout_version": self.header.layout_version,
        }

    def set_command(self, index, uint32_t command):
        """Store a unit's command word (run 1, drain 2, finish 3, stop 4) and ring its doorbell."""
        cdef byteor_unit *unit = self.unit_at(index)
        byteor_store_release32(&unit.command, command)
        byteor_doorbell_ring(&unit.parked, 0)

    def command(self, index):
        """Return a unit's command word."""
        return byteor_load_acquire32(&self.unit_at(index).command)

    def mark_ready(self):
        """Note the moment at which all roles run."""
        self.run_block.ready_ns = byteor_now_ns(&self.header.clock)

    def set_restarts(self, index, uint32_t restarts):
        """Store how often the worker of a role was restarted."""
        self.role_at(index).restarts = restarts

    def set_state(self, index, str state, uint32_t pid):
        """Store a role's state on behalf of a worker that cannot."""
        cdef byteor_role *role = self.role_at(index)
        role.pid = pid
        role.busy_since_ns = 0
        byteor_store_release32(&role.state, STATES.index(state))

    def fail(self, index, str failure, sequence, bytes digest, str text, bint note=True):
        """Record a failure of a role; True if it is the run's first. `sequence` may be None, `digest` empty."""
        cdef byteor_role *role = self.role_at(index)
        cdef bytes encoded = text.encode("utf-8", "replace")[:480]
        cdef uint32_t code = FAILURES.index(failure)
        cdef uint64_t at = BYTEOR_NO_SEQUENCE if sequence is None else sequence
        if note:
            byteor_note_error(role, code, at, encoded, len(encoded))
        byteor_store_release32(&role.state, 6)
        if not byteor_compare_exchange32(&self.run_block.failed_role, 0, <uint32_t> index + 1):
            return False
        self.run_block.failed_sequence = at
        if len(digest) == 32:
            memcpy(self.run_block.failed_sha256, <const char *> digest, 32)
        byteor_store_release32(&self.run_block.failure, code)
        return True

    def note(self, index, str failure, sequence, str text):
        """Record an error of a role that is not the end of the run."""
        cdef byteor_role *role = self.role_at(index)
        cdef bytes encoded = text.encode("utf-8", "replace")[:480]
        cdef uint64_t at = BYTEOR_NO_SEQUENCE if sequence is None else sequence
        byteor_note_error(role, FAILURES.index(failure), at, encoded, len(encoded))
        byteor_store_release32(&role.state, 6)

    def run(self):
        """Return created_ns, ready_ns, first_message_ns and the failure: role (or None), reason, sequence, sha256."""
        failure = byteor_load_acquire32(&self.run_block.failure)
        digest = PyBytes_FromStringAndSize(<char *> self.run_block.failed_sha256, 32)
        sequence = self.run_block.failed_sequence
        return {
            "created_ns": self.run_block.created_ns,
            "ready_ns": self.run_block.ready_ns,
            "first_message_ns": self.run_block.first_message_ns,
            "failed_role": self.run_block.failed_role - 1 if failure else None,
            "failure": FAILURES[failure] if failure < len(FAILURES) else "UNKNOWN",
            "failed_sequence": None if sequence == BYTEOR_NO_SEQUENCE else sequence,
            "failed_sha256": digest.hex() if digest != bytes(32) else "",
        }

    def unit(self, index):
        """Return worker, roles, command, parked, commits, undo_valid and the positions of the record in force."""
        cdef byteor_unit *unit = self.unit_at(index)
        cdef byteor_record *record = &unit.record[unit.selector & 1]
        return {
            "worker": unit.worker,
            "roles": [unit.member_role[i] for i in range(min(unit.member_count, <uint32_t> BYTEOR_MEMBERS_MAX))],
            "command": byteor_load_acquire32(&unit.command),
            "parked": bool(unit.parked),
            "commits": record.commits,
            "undo_valid": unit.undo.valid_for == record.position + 1,
            "positions": {
                "position": record.position,
                "egress": record.egress_position,
                "time_last_ns": record.time_last,
                "ended": record.ended,
                "source": [record.source.position[i] for i in range(4)],
                "sink": [record.sink.position[i] for i in range(4)],
            },
            "source_record": _adapter_record(&record.source),
            "sink_record": _adapter_record(&record.sink),
        }

    def role(self, index):
        """Return everything a role shows, but its histograms."""
        cdef byteor_role *role = self.role_at(index)
        cdef uint32_t state = byteor_load_acquire32(&role.state)
        return {
            "name": role.name.decode("utf-8", "replace"),
            "stage": role.stage.decode("utf-8", "replace"),
            "kind": KINDS[role.kind],
            "unit": role.unit,
            "ring": role.ring,
            "cell": role.cell,
            "depends": [role.depends[i] for i in range(min(role.depends_count, <uint32_t> BYTEOR_CELLS_MAX))],
            "state": STATES[state] if state < 8 else "unknown",
            "pid": role.pid,
            "heartbeat_ns": byteor_load_relaxed64(&role.heartbeat_ns),
            "busy_since_ns": byteor_load_relaxed64(&role.busy_since_ns),
            "busy_sequence": byteor_load_relaxed64(&role.busy_sequence),
            "restarts": role.restarts,
            "received": byteor_load_relaxed64(&role.received),
            "published": byteor_load_relaxed64(&role.published),
            "dropped": byteor_load_relaxed64(&role.dropped),
            "skipped": byteor_load_relaxed64(&role.skipped),
            "batches": byteor_load_relaxed64(&role.batches),
            "bytes": byteor_load_relaxed64(&role.bytes_total),
            "cycle_ns_max": byteor_load_relaxed64(&role.cycle_ns_max),
            "gathered": byteor_load_relaxed64(&role.gathered),
            "rejected": {name: byteor_load_relaxed64(&role.rejected[<size_t> i]) for i, name in enumerate(REJECTS)},
            "samples": _samples(role),
            "errors": _errors(role),
        }

    def state(self, index):
        """Return a role's state word alone: cheap, for supervision."""
        cdef uint32_t state = byteor_load_acquire32(&self.role_at(index).state)
        return STATES[state] if state < 8 else "unknown"

    def busy(self, index):
        """Return (busy_since_ns, busy_sequence, heartbeat_ns) of a role."""
        cdef byteor_role *role = self.role_at(index)
        return (byteor_load_relaxed64(&role.busy_since_ns), byteor_load_relaxed64(&role.busy_sequence),
            byteor_load_relaxed64(&role.heartbeat_ns))

    cdef byteor_histogram *histogram_at(self, size_t index, str which) except NULL:
        cdef byteor_role *role = self.role_at(index)
        return &role.service if which == "service" else &role.latency

    def summary(self, index, str which):
        """Return count, mean, p50, p90, p99, p999, max in nanoseconds of a role's `service` or `latency` histogram."""
        cdef byteor_histogram *histogram = self.histogram_at(index, which)
        cdef uint64_t wanted[4]
        cdef uint64_t found[4]
        cdef uint64_t total = 0, seen = 0
        cdef uint32_t bucket
        cdef int q = 0
        memset(found, 0, sizeof(found))
        for bucket in range(BYTEOR_HISTOGRAM_BUCKETS):
            total += byteor_load_relaxed64(&histogram.bucket[bucket])
        wanted[0] = (total * 500 + 999) // 1000
        wanted[1] = (total * 900 + 999) // 1000
        wanted[2] = (total * 990 + 999) // 1000
        wanted[3] = (total * 999 + 999) // 1000
        if total:
            for bucket in range(BYTEOR_HISTOGRAM_BUCKETS):
                seen += byteor_load_relaxed64(&histogram.bucket[bucket])
                while q < 4 and seen >= wanted[q]:
                    found[q] = byteor_histogram_low(bucket + 1) - 1
                    q += 1
                if q == 4:
                    break
        mean = histogram.sum_ns // histogram.count if histogram.count else 0
        return {"count": total, "mean": mean, "p50": found[0], "p90": found[1], "p99": found[2], "p999": found[3],
            "max": histogram.max_ns}

    def histogram(self, index, str which, bounds_ns):
        """Return (cumulative counts at or below each bound, sum_ns, count)."""
        cdef byteor_histogram *histogram = self.histogram_at(index, which)
        cdef uint64_t total = 0, value
        cdef uint32_t bucket = 0
        counts = []
        for bound in bounds_ns:
            value = bound
            while bucket < BYTEOR_HISTOGRAM_BUCKETS and byteor_histogram_low(bucket) <= value:
                total += byteor_load_relaxed64(&histogram.bucket[bucket])
                bucket += 1
            counts.append(total)
        while bucket < BYTEOR_HISTOGRAM_BUCKETS:
            total += byteor_load_relaxed64(&histogram.bucket[bucket])
            bucket += 1
        return counts, histogram.sum_ns, total


cdef _adapter_record(const byteor_adapter_record *record):
    return (
        tuple([record.position[i] for i in range(4)]),
        record.bytes_total,
        tuple([record.rejected[i] for i in range(8)]),
    )


cdef _samples(const byteor_role *role):
    found = {}
    cdef uint32_t length
    cdef size_t i
    for i in range(len(REJECTS)):
        length = byteor_load_acquire32(&role.sample_length[i])
        if 0 < length <= BYTEOR_SAMPLE_BYTES:
            found[REJECTS[i]] = PyBytes_FromStringAndSize(<const char *> role.sample[i], length)
    return found


cdef _errors(const byteor_role *role):
    found = []
    cdef size_t i
    cdef const byteor_error *error
    for i in range(BYTEOR_ERRORS_MAX):
        error = &role.error[i]
        count = byteor_load_acquire64(&error.count)
        if count == 0:
            break
        text = PyBytes_FromStringAndSize(<const char *> error.text, min(error.text_bytes, <uint32_t> 480))
        sequence = error.first_sequence
        found.append({
            "code": FAILURES[error.code] if error.code < len(FAILURES) else str(error.code),
            "count": count,
            "first_sequence": None if sequence == BYTEOR_NO_SEQUENCE else sequence,
            "text": text.decode("utf-8", "replace"),
        })
    return found
