# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""The control region as Python sees it: what roles and units show, and the words that command them.

Owns no layout: every offset comes from `layout.h`. Must not contain a loop over messages.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from layout cimport (
    BYTEOR_CELLS_MAX,
    BYTEOR_ERRORS_MAX,
    BYTEOR_GAP_NS_MIN,
    BYTEOR_HISTOGRAM_BUCKETS,
    BYTEOR_MEMBERS_MAX,
    BYTEOR_NO_SEQUENCE,
    BYTEOR_REGION_CONTROL,
    BYTEOR_SAMPLE_BYTES,
    BYTEOR_STATE_DOUBLE_BYTES_MAX,
    byteor_adapter_record,
    byteor_compare_exchange32,
    byteor_doorbell_ring,
    byteor_error,
    byteor_histogram,
    byteor_histogram_low,
    byteor_load_acquire32,
    byteor_load_acquire64,
    byteor_load_relaxed64,
    byteor_map,
    byteor_note_error,
    byteor_now_ns,
    byteor_record,
    byteor_region_header,
    byteor_region_lost,
    byteor_region_open,
    byteor_region_unmap,
    byteor_role,
    byteor_run_block,
    byteor_store_release32,
    byteor_store_release64,
    byteor_unit,
)

from byteord._cext.region import ERRORS, FAILURES, KINDS, REJECTS, STATES, RegionFault


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
        cdef int status = byteor_region_open(
            fd, BYTEOR_REGION_CONTROL, writable, wait_ms, &self.map, text, sizeof(text)
        )
        if status:
            raise RegionFault(ERRORS[status], text.decode("utf-8", "replace"))
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

    @property
    def lost(self):
        """A page of the region turned out to be gone: what was read of it is not to be believed."""
        return bool(byteor_region_lost(&self.map))

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

    def set_lease(self, uint64_t until_ns):
        """Allow side effects until this moment of the run's clock; 0 forbids them at once."""
        byteor_store_release64(&self.run_block.lease_until_ns, until_ns)

    def lease_until_ns(self):
        """Return the moment of the run's clock until which side effects may happen; 0: not at all."""
        return byteor_load_acquire64(&self.run_block.lease_until_ns)

    def beat(self, index, str state):
        """Show that a role that waits in a call is alive: heartbeat, state, and that it does not hang."""
        cdef byteor_role *role = self.role_at(index)
        byteor_store_release64(&role.heartbeat_ns, byteor_now_ns(&self.header.clock))
        byteor_store_release64(&role.busy_since_ns, 0)
        byteor_store_release32(&role.state, STATES.index(state))

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

    def words(self, index, size_t count):
        """Return `count` words of a LaneGraph's unit (see `deployment.ports`) as last committed, all of one moment."""
        cdef byteor_unit *unit = self.unit_at(index)
        cdef uint32_t selector
        cdef uint64_t commits
        cdef const uint64_t *words
        if count * 16 > unit.undo_slot_bytes:
            raise IndexError(f"{count} words of a unit that has room for {unit.undo_slot_bytes // 16}")
        found = []
        for _ in range(64):  # a unit that commits meanwhile: look again
            selector = byteor_load_acquire32(&unit.selector) & 1
            commits = byteor_load_acquire64(&unit.record[selector].commits)
            words = <const uint64_t *> (self.map.base + unit.undo_offset) + selector * count
            found = [byteor_load_acquire64(&words[i]) for i in range(count)]
            if (byteor_load_acquire32(&unit.selector) & 1) == selector:
                if byteor_load_acquire64(&unit.record[selector].commits) == commits:
                    break
        return found

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

    def state_area(self, index):
        """Return a copy of a role's large state (one buffer, above 4,096 bytes); empty: it has none such."""
        cdef byteor_role *role = self.role_at(index)
        cdef uint64_t offset = role.state_offset, size = role.state_bytes, whole = self.map.bytes
        if size <= BYTEOR_STATE_DOUBLE_BYTES_MAX or offset > whole or size > whole - offset:
            return b""
        return PyBytes_FromStringAndSize(<const char *> self.map.base + offset, size)

    def state(self, index):
        """Return a role's state word alone: cheap, for supervision."""
        cdef uint32_t state = byteor_load_acquire32(&self.role_at(index).state)
        return STATES[state] if state < 8 else "unknown"

    def busy(self, index):
        """Return (busy_since_ns, busy_sequence, exact) of a role.

        Not exact: the sequence is the first of the batch in hand, not the message that the stage took last.
        """
        cdef byteor_role *role = self.role_at(index)
        return (
            byteor_load_relaxed64(&role.busy_since_ns),
            byteor_load_relaxed64(&role.busy_sequence),
            bool(role.busy_exact),
        )

    cdef byteor_histogram *histogram_at(self, size_t index, str which) except NULL:
        cdef byteor_role *role
        if which == "gaps":
            return &self.unit_at(index).gaps
        role = self.role_at(index)
        return &role.service if which == "service" else &role.latency

    def summary(self, index, str which):
        """Return count, sum, mean, p50, p90, p99, p999, max in nanoseconds of one histogram.

        `service` or `latency` of a role, or `gaps` of a unit.
        """
        return self._summary([index], which)

    def gaps(self, units):
        """Return the same of the gaps of several units, taken together, and the shortest that counts as `min`."""
        return {**self._summary(units, "gaps"), "min": BYTEOR_GAP_NS_MIN}

    cdef dict _summary(self, indices, str which):
        cdef uint64_t buckets[BYTEOR_HISTOGRAM_BUCKETS]
        cdef uint64_t count = 0, sum_ns = 0, most = 0
        cdef byteor_histogram *histogram
        cdef uint32_t bucket
        memset(buckets, 0, sizeof(buckets))
        for index in indices:
            histogram = self.histogram_at(index, which)
            for bucket in range(BYTEOR_HISTOGRAM_BUCKETS):
                buckets[bucket] += byteor_load_relaxed64(&histogram.bucket[bucket])
            count += byteor_load_relaxed64(&histogram.count)
            sum_ns += byteor_load_relaxed64(&histogram.sum_ns)
            most = max(most, byteor_load_relaxed64(&histogram.max_ns))
        return {"sum": sum_ns, "mean": sum_ns // count if count else 0, "max": most, **_quantiles(buckets)}

    def histogram(self, index, str which, bounds_ns):
        """Return (cumulative counts at or below each bound, sum_ns, count) of one histogram, as `summary` names it."""
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


cdef dict _quantiles(const uint64_t *buckets):
    """Return count, p50, p90, p99, p999 of the counts by bucket."""
    cdef uint64_t wanted[4]
    cdef uint64_t found[4]
    cdef uint64_t total = 0, seen = 0
    cdef uint32_t bucket
    cdef int q = 0
    memset(found, 0, sizeof(found))
    for bucket in range(BYTEOR_HISTOGRAM_BUCKETS):
        total += buckets[bucket]
    wanted[0] = (total * 500 + 999) // 1000
    wanted[1] = (total * 900 + 999) // 1000
    wanted[2] = (total * 990 + 999) // 1000
    wanted[3] = (total * 999 + 999) // 1000
    if total:
        for bucket in range(BYTEOR_HISTOGRAM_BUCKETS):
            seen += buckets[bucket]
            while q < 4 and seen >= wanted[q]:
                found[q] = byteor_histogram_low(bucket + 1) - 1
                q += 1
            if q == 4:
                break
    return {"count": total, "p50": found[0], "p90": found[1], "p99": found[2], "p999": found[3]}


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
