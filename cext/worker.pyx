# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""The worker's loop: units of roles over mapped rings, from first batch to last.

Owns the process-private runtime of units. The loop is `unit_loop.h`; what a batch means stands in `unit_duty.h`.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport strlen

from unit cimport (
    BYTEOR_CELLS_MAX,
    BYTEOR_MEMBERS_MAX,
    BYTEOR_REGION_CONTROL,
    BYTEOR_REGION_RING,
    BYTEOR_RUN_MEMBARRIER,
    BYTEOR_STATE_DOUBLE_BYTES_MAX,
    BYTEOR_STATE_RUNNING,
    BYTEOR_UNIT_GRAPH,
    BYTEOR_UNIT_RING,
    _sized_role,
    _sized_unit,
    byteor_any_recover,
    byteor_capture,
    byteor_calls_found, byteor_choice,
    byteor_fault_enter,
    byteor_fault_leave,
    byteor_graph,
    byteor_loop_beat,
    byteor_loop_run,
    byteor_loop_state,
    byteor_map,
    byteor_membarrier_register,
    byteor_member,
    byteor_now_ns,
    byteor_payload,
    byteor_region_header,
    byteor_region_open,
    byteor_region_unmap,
    byteor_ring,
    byteor_ring_slot,
    byteor_ring_view,
    byteor_role,
    byteor_run_block,
    byteor_sink,
    byteor_slot,
    byteor_source,
    byteor_stage_handle,
    byteor_store_relaxed32,
    byteor_store_relaxed64,
    byteor_trace_follow,
    byteor_unit,
    byteor_unit_runtime,
    byteor_wait_reset,
    byteor_worker_fault_thread,
    byteor_worker_fault_watch,
)

GATES = ("", "hold", "stop")
KINDS = {"ring": 1, "scatter": 2, "gather": 3, "graph": 4}
ROLE_KINDS = {"ingress": 1, "stage": 2, "egress": 3, "bridge": 4, "router": 5, "merge": 6}
WAITS = {"spin": 0, "backoff": 1, "park": 2}
FAILURES = (
    "", "STAGE_FAILED", "STAGE_KEPT_VIEWS", "STAGE_NONSENSE", "ADAPTER_FAILED",
    "STAGE_HUNG", "WORKER_DIED", "START_FAILED", "REGION_LOST", "TUNING_DEGRADED", "DRAIN_TIMEOUT",
    "CAPTURE_FAILED",
)

_UNKNOWN = (
    " (at one of {} messages that it took as a whole; which is not known, since it keeps private state and cannot be "
    "called again: sequence and digest are those of the first)"
)


@cython.final
cdef class Host:
    """The regions of a run mapped into this process, and the units that it runs over them."""

    cdef byteor_map control
    cdef byteor_map *ring_maps
    cdef byteor_ring *rings
    cdef uint32_t ring_count
    cdef byteor_unit_runtime **units
    cdef uint32_t unit_count
    cdef list keep
    cdef bint membarrier
    cdef uint32_t *halted

    def __cinit__(self, int control_fd, ring_fds):
        """Map everything writable; RegionFault-like ValueError when a region is not sound."""
        cdef char text[256]
        cdef int status
        cdef byteor_map *map
        self.keep = []
        self.ring_count = 0
        self.halted = <uint32_t *> calloc(3, 64)  # the middle of it shares a line with nobody
        if self.halted == NULL:
            raise MemoryError
        self.ring_maps = <byteor_map *> calloc(len(ring_fds), sizeof(byteor_map))
        self.rings = <byteor_ring *> calloc(len(ring_fds), sizeof(byteor_ring))
        if self.ring_maps == NULL or self.rings == NULL:
            raise MemoryError
        status = byteor_region_open(control_fd, BYTEOR_REGION_CONTROL, 1, 1000, &self.control, text, sizeof(text))
        if status:
            raise ValueError(f"control region: {text.decode('utf-8', 'replace')}")
        for fd in ring_fds:
            map = &self.ring_maps[self.ring_count]
            status = byteor_region_open(fd, BYTEOR_REGION_RING, 1, 1000, map, text, sizeof(text))
            if status:
                raise ValueError(f"ring {self.ring_count}: {text.decode('utf-8', 'replace')}")
            byteor_ring_view(&self.ring_maps[self.ring_count], &self.rings[self.ring_count])
            self.ring_count += 1
        header = <byteor_region_header *> self.control.base
        self.unit_count = header.counts[0]
        self.membarrier = header.flags & BYTEOR_RUN_MEMBARRIER
        if self.membarrier and byteor_membarrier_register() != 0:
            raise ValueError("this process cannot register for membarrier, which the run's regions say is used")
        self.units = <byteor_unit_runtime **> calloc(self.unit_count, sizeof(byteor_unit_runtime *))
        if self.units == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef uint32_t i
        if self.units != NULL:
            for i in range(self.unit_count):
                self._free_unit(self.units[i])
            free(self.units)
        for i in range(self.ring_count):
            byteor_region_unmap(&self.ring_maps[i])
        free(self.ring_maps)
        free(self.rings)
        free(self.halted)
        byteor_region_unmap(&self.control)

    cdef void _free_unit(self, byteor_unit_runtime *u) noexcept:
        if u == NULL:
            return
        free(u.staging)
        free(u.staged_ring)
        free(u.staged_position)
        free(u.doorbells)
        free(u)

    cdef byteor_unit *_unit(self, uint32_t index) noexcept:
        header = <byteor_region_header *> self.control.base
        return <byteor_unit *> (self.control.base + header.section[1] + <size_t> index * sizeof(_sized_unit))

    cdef byteor_role *_role(self, uint32_t index) noexcept:
        header = <byteor_region_header *> self.control.base
        return <byteor_role *> (self.control.base + header.section[2] + <size_t> index * sizeof(_sized_role))

    def ring_address(self, size_t index):
        """Address of a ring's view, for a Graph; valid as long as this host."""
        if index >= self.ring_count:
            raise IndexError(f"ring {index} of {self.ring_count}")
        return <uintptr_t> &self.rings[index]

    def area_address(self, uint32_t index):
        """Address of the first part of a unit's area in the control region, where a graph keeps its words."""
        if index >= self.unit_count:
            raise IndexError(f"unit {index} of {self.unit_count}")
        return <uintptr_t> (self.control.base + self._unit(index).undo_offset)

    def add_unit(
        self, uint32_t index, *, str kind, rings, members, depends, ranges, bint save_headers, uint32_t slot_stride,
        uint32_t max_batch, bint rerunnable, bint skip_failed, bint scan_live, shard_key, doorbells,
        uint32_t own_doorbell, str wait, uint64_t sleep_ns_max, bint all_live=False, graph=0, capture=0, str gate=""
    ):
        """Make a unit ready to run.

        `members`: dicts with role, kind, cell and stage, source or sink (addresses, 0 for none). `ranges`: (offset,
        length) of payload bytes that its stages change. `doorbells`: units to wake after each publication. `graph`:
        address of a Graph, for kind `graph`. `capture`: that of a UnitCapture.
        """
        if index >= self.unit_count or self.units[index] != NULL:
            raise ValueError(f"unit {index} of {self.unit_count} cannot be added")
        if len(members) > BYTEOR_MEMBERS_MAX or len(depends) > BYTEOR_CELLS_MAX or len(ranges) > 32 or not members:
            raise ValueError("a unit has 1 to 8 roles, at most 8 dependencies and 32 ranges")
        cdef byteor_unit_runtime *u = <byteor_unit_runtime *> calloc(1, sizeof(byteor_unit_runtime))
        if u == NULL:
            raise MemoryError
        self.units[index] = u
        header = <byteor_region_header *> self.control.base
        u.unit = self._unit(index)
        u.run = <byteor_run_block *> (self.control.base + header.section[0])
        u.control = self.control.base
        u.clock = &header.clock
        u.rings = &self.rings[<size_t> rings[0]] if rings else NULL
        u.ring_count = len(rings)
        u.kind = KINDS[kind]
        u.max_batch = max_batch
        u.rerunnable = rerunnable
        u.skip_failed = skip_failed
        u.gated = GATES.index(gate)
        u.scan_live = scan_live
        u.all_live = all_live
        u.capture = <byteor_capture *> <uintptr_t> capture
        u.save_headers = save_headers
        u.slot_stride = slot_stride
        u.undo_area = self.control.base + u.unit.undo_offset
        u.shard_key_offset, u.shard_key_length = shard_key
        u.depends_count = len(depends)
        for i, cell in enumerate(depends):
            u.depends[<size_t> i] = cell
        u.range_count = len(ranges)
        for i, (offset, length) in enumerate(ranges):
            u.range[<size_t> i].offset = offset
            u.range[<size_t> i].length = length
        self._add_members(u, members)
        self._add_waiting(u, doorbells, own_doorbell, WAITS[wait], sleep_ns_max)
        if u.kind == BYTEOR_UNIT_GRAPH:
            u.graph = <byteor_graph *> <uintptr_t> graph
            u.ring_count = 0
        elif u.kind != BYTEOR_UNIT_RING:
            self._add_staging(u)

    cdef _add_members(self, byteor_unit_runtime *u, members):
        cdef byteor_member *member
        cdef byteor_stage_handle *handle
        cdef bint logs = False
        u.member_count = len(members)
        u.first_stage = u.member_count
        for i, source in enumerate(members):
            member = &u.member[<size_t> i]
            member.index = source["role"]
            member.role = self._role(member.index)
            member.kind = ROLE_KINDS[source["kind"]]
            member.cell = source["cell"]
            self.keep.append(source)
            if member.kind == 1:
                member.source = u.source = <byteor_source *> <uintptr_t> source["source"]
            elif member.kind == 3:
                member.sink = u.sink = <byteor_sink *> <uintptr_t> source["sink"]
            elif member.kind == 2:
                handle = <byteor_stage_handle *> <uintptr_t> source["stage"]
                member.vtable = handle.vtable
                member.self = handle.self
                member.builtin = source.get("builtin", False)
                self._add_calls(u, member, source)
                if u.first_stage == u.member_count:
                    u.first_stage = i
                u.stage_end = i + 1
            member.state_bytes = member.role.state_bytes
            if member.state_bytes:
                member.state[0] = self.control.base + member.role.state_offset
                member.state[1] = member.state[0]
                if member.state_bytes <= BYTEOR_STATE_DOUBLE_BYTES_MAX:
                    member.state[1] = member.state[0] + (member.state_bytes + 63) // 64 * 64
                else:
                    logs = True
        if u.first_stage == u.member_count:
            u.first_stage = u.stage_end = 0
        u.undo_log_bytes = u.unit.undo_bytes - u.unit.undo_slot_bytes if logs else 0

    cdef _add_calls(self, byteor_unit_runtime *u, byteor_member *member, source):
        """Have the stage called as `source` says: `calls` (of `byteor_choice`), `exact`, `found` (an address)."""
        cdef bytes calls = source.get("calls", b"")
        if not calls:
            return
        member.calls.list = <const byteor_choice *> <const char *> calls
        member.calls.count = len(calls) // 16
        member.calls.found = <byteor_calls_found *> <uintptr_t> source["found"]
        member.calls.exact = source["exact"]
        u.directed = 1

    cdef _add_waiting(self, byteor_unit_runtime *u, doorbells, uint32_t own, uint32_t wait, uint64_t sleep_ns_max):
        u.membarrier = self.membarrier
        u.wait.kind = wait
        u.wait.sleep_ns_max = sleep_ns_max
        u.wait.membarrier = self.membarrier
        u.wait.doorbell = &self._unit(own).parked
        byteor_wait_reset(&u.wait)
        u.doorbells = <uint32_t **> calloc(len(doorbells) + 1, sizeof(uint32_t *))
        if u.doorbells == NULL:
            raise MemoryError
        u.doorbell_count = len(doorbells)
        for i, other in enumerate(doorbells):
            u.doorbells[<size_t> i] = &self._unit(other).parked

    cdef _add_staging(self, byteor_unit_runtime *u):
        u.staging = <uint8_t *> calloc(u.max_batch, u.rings[0].slot_bytes)
        u.staged_ring = <uint32_t *> calloc(u.max_batch, sizeof(uint32_t))
        u.staged_position = <uint64_t *> calloc(u.max_batch, sizeof(uint64_t))
        if u.staging == NULL or u.staged_ring == NULL or u.staged_position == NULL:
            raise MemoryError

    def mappings(self):
        """Return (address, bytes) of every region in this process."""
        maps = [(<uintptr_t> self.control.base, self.control.bytes)]
        cdef uint32_t i
        for i in range(self.ring_count):
            maps.append((<uintptr_t> self.ring_maps[i].base, self.ring_maps[i].bytes))
        return maps

    def role_address(self, uint32_t index):
        """Return where a role lies in this process, while the host lives."""
        return <uintptr_t> self._role(index)

    def trace(self, size_t area):
        """From now on follow a message through the stages of this process, into the area at that address."""
        byteor_trace_follow(<void *> area)

    def end_at_lost_page(self, int code):
        """From now on record a page of a region that is gone, and end this process with `code`."""
        byteor_worker_fault_watch(self.units, self.unit_count, code)

    def recover(self, uint32_t index, uint32_t pid):
        """Take the unit over in this process: complete what was committed, take back what was not."""
        cdef byteor_unit_runtime *u = self.units[index]
        cdef uint32_t m
        byteor_any_recover(u)
        for m in range(u.member_count):
            u.member[m].role.pid = pid
            byteor_store_relaxed64(&u.member[m].role.busy_since_ns, 0)
        byteor_loop_beat(u, byteor_now_ns(u.clock))
        byteor_loop_state(u, BYTEOR_STATE_RUNNING)

    def unfinished(self, units):
        """Return which of the units are not done: neither ended, stopped nor failed."""
        return [index for index in units if not self.units[<uint32_t> index].done]

    def halt(self):
        """Have every thread return from `run` after the turn that it is in; for good."""
        byteor_store_relaxed32(self.halted + 16, 1)  # partner: byteor_loop_run

    def run(self, units):
        """Run units on the calling thread until all are done, some have failed or `halt` was called.

        Returns a list of dicts, one per unit that failed; the rest (`unfinished`) can be run on. Each has unit,
        role, failure, sequence, text, payload (bytes of the message at fault, or None).
        """
        cdef byteor_unit_runtime *mine[64]
        cdef uint32_t count = 0
        cdef void *stack
        if len(units) > 64:
            raise ValueError("a thread runs at most 64 units")
        for index in units:
            mine[count] = self.units[<uint32_t> index]
            count += 1
        stack = byteor_fault_enter()
        byteor_worker_fault_thread(mine, count)
        with nogil:
            byteor_loop_run(mine, count, self.halted + 16)
        byteor_worker_fault_thread(NULL, 0)
        byteor_fault_leave(stack)
        return [self._failure(index) for index in units if self.units[<uint32_t> index].failure]

    def _failure(self, uint32_t index):
        cdef byteor_unit_runtime *u = self.units[index]
        cdef byteor_slot *slot
        cdef bytes payload = None
        cdef size_t length
        if u.kind == BYTEOR_UNIT_GRAPH and u.graph.failed_payload != NULL:
            payload = PyBytes_FromStringAndSize(<char *> u.graph.failed_payload, u.graph.failed_length)
        elif u.kind == BYTEOR_UNIT_RING and u.failure < 4:
            slot = byteor_ring_slot(u.rings, u.failed_sequence)
            length = min(slot.length & 0xFFFF, u.rings.payload_max)
            payload = PyBytes_FromStringAndSize(<char *> byteor_payload(slot), length)
        text = PyBytes_FromStringAndSize(u.failure_text, strlen(u.failure_text))
        about = _UNKNOWN.format(u.failed_unknown) if u.failed_unknown else ""
        return {
            "unit": index,
            "role": u.member[u.failed_member].index,
            "failure": FAILURES[u.failure],
            "sequence": u.failed_sequence,
            "text": text.decode("utf-8", "replace")[:480 - len(about)] + about,
            "payload": payload,
        }
