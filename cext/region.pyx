# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Region files: create, attach, validate; the state of a ring.

Owns no layout: every offset comes from `layout.h`. Must not contain a loop over messages.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from layout cimport (
    BYTEOR_CELLS_MAX,
    BYTEOR_LAYOUT_VERSION,
    BYTEOR_LINE,
    BYTEOR_MEMBERS_MAX,
    BYTEOR_NO_SEQUENCE,
    BYTEOR_PAGE,
    BYTEOR_REGION_CONTROL,
    BYTEOR_REGION_RING,
    BYTEOR_RUN_MEMBARRIER,
    BYTEOR_STATE_DOUBLE_BYTES_MAX,
    byteor_cell,
    byteor_clock,
    byteor_clock_anchor,
    byteor_clock_calibrate,
    byteor_header_seal,
    byteor_load_acquire64,
    byteor_map,
    byteor_membarrier_register,
    byteor_now_ns,
    byteor_region_allocate,
    byteor_region_header,
    byteor_region_lost,
    byteor_region_open,
    byteor_region_ready,
    byteor_region_unmap,
    byteor_ring,
    byteor_ring_producer,
    byteor_payload,
    byteor_ring_published,
    byteor_ring_slot,
    byteor_ring_view,
    byteor_slot,
    byteor_role,
    byteor_run_block,
    byteor_unit,
)

LAYOUT_VERSION = BYTEOR_LAYOUT_VERSION
CELLS_MAX = BYTEOR_CELLS_MAX
MEMBERS_MAX = BYTEOR_MEMBERS_MAX
STATE_DOUBLE_BYTES_MAX = BYTEOR_STATE_DOUBLE_BYTES_MAX
ROLE_BYTES = sizeof(byteor_role)
UNIT_BYTES = sizeof(byteor_unit)

ERRORS = {
    -1: "IO", -2: "NO_SPACE", -3: "TRUNCATED", -4: "FOREIGN", -5: "VERSION", -6: "CORRUPT", -7: "UNREADY", -8: "KIND",
}
STATES = ("none", "starting", "running", "idle", "blocked", "ended", "failed", "stopped")
FAILURES = (
    "", "STAGE_FAILED", "STAGE_KEPT_VIEWS", "STAGE_NONSENSE", "ADAPTER_FAILED",
    "STAGE_HUNG", "WORKER_DIED", "START_FAILED", "REGION_LOST", "TUNING_DEGRADED", "DRAIN_TIMEOUT",
    "CAPTURE_FAILED",
)
KINDS = ("", "ingress", "stage", "egress", "bridge", "router", "merge")
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


def create_control(int fd, *, units, roles, ident, Clock clock, uint64_t created_ns=0):
    """Make the empty file `fd` a control region; `created_ns`: when its run was asked for, CLOCK_MONOTONIC; 0: now.

    `units`: dicts with worker, roles (indices), undo_bytes, undo_slot_bytes. `roles`: dicts with name,
    stage, kind, unit, member, ring, cell, depends, state_bytes. RegionFault NO_SPACE when the filesystem is full.
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
        run.created_ns = created_ns if created_ns else byteor_now_ns(&header.clock)
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
        """Return capacity, slot_bytes, cursor, claimed, end_sequence (or None), progress_ns, the cells, and what a
        client dropped."""
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
            "dropped": {
                "full": byteor_load_acquire64(&producer.dropped[0]),
                "oversize": byteor_load_acquire64(&producer.dropped[1]),
            },
        }

    def payload(self, uint64_t sequence):
        """Return a copy of the payload of `sequence` as its slot holds it now; None if that has another message."""
        cdef byteor_slot *slot = byteor_ring_slot(&self.ring, sequence)
        if not byteor_ring_published(&self.ring, sequence):
            return None
        size = min(<uint32_t> slot.length, self.ring.payload_max)
        return PyBytes_FromStringAndSize(<const char *> byteor_payload(slot), <Py_ssize_t> size)

    @property
    def lost(self):
        """A page of the region turned out to be gone: what was read of it is not to be believed."""
        return bool(byteor_region_lost(&self.map))
