"""What worker.pyx needs of the C headers: extern only."""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "unit_graph.h" nogil:
    enum:
        BYTEOR_MEMBERS_MAX
        BYTEOR_CELLS_MAX
        BYTEOR_REJECT_MAX
        BYTEOR_STATE_DOUBLE_BYTES_MAX
        BYTEOR_STAGE_DROPS
        BYTEOR_STATE_RUNNING
        BYTEOR_UNIT_RING
        BYTEOR_UNIT_GRAPH
        BYTEOR_RUN_MEMBARRIER
        BYTEOR_REGION_RING
        BYTEOR_REGION_CONTROL
    ctypedef struct byteor_clock:
        pass
    ctypedef struct byteor_region_header:
        byteor_clock clock
        uint32_t flags
        uint64_t section[4]
        uint32_t counts[2]
    ctypedef struct byteor_run_block:
        pass
    ctypedef struct byteor_slot:
        uint32_t length "length"
    ctypedef struct byteor_record:
        uint64_t position
    ctypedef struct byteor_histogram:
        pass
    ctypedef struct byteor_unit:
        byteor_histogram gaps
        uint32_t command
        uint32_t parked
        uint64_t undo_offset
        uint64_t undo_bytes
        uint64_t undo_slot_bytes
    ctypedef struct byteor_role:
        uint32_t state
        uint32_t pid
        uint64_t heartbeat_ns
        uint64_t busy_since_ns
        uint64_t cycle_ns_max
        uint64_t state_offset
        uint64_t state_bytes
    ctypedef struct byteor_stage_vtable:
        uint32_t flags
        uint32_t touch_bytes_max
    ctypedef struct byteor_stage_handle:
        const byteor_stage_vtable *vtable
        void *self
    ctypedef struct byteor_adapter_common:
        int32_t wait_fd
        int16_t wait_events
        int32_t error_number
    ctypedef struct byteor_source:
        byteor_adapter_common common
    ctypedef struct byteor_sink:
        byteor_adapter_common common
    ctypedef struct byteor_range:
        uint32_t offset
        uint32_t length
    ctypedef struct byteor_ring:
        uint64_t capacity
        uint32_t slot_bytes
        uint32_t payload_max
    ctypedef struct byteor_wait:
        uint32_t kind
        uint32_t idle_turns
        uint32_t haste
        uint32_t trusted
        uint64_t sleep_ns
        uint64_t sleep_ns_max
        uint32_t membarrier
        uint32_t *doorbell
    ctypedef struct byteor_choice:
        pass
    ctypedef struct byteor_calls_found:
        uint64_t strayed
    ctypedef struct byteor_calls:
        const byteor_choice *list
        uint64_t count
        byteor_calls_found *found
        uint32_t exact
    ctypedef struct byteor_member:
        byteor_role *role
        uint32_t kind
        uint32_t index
        int32_t cell
        const byteor_stage_vtable *vtable
        void *self
        uint8_t *state[2]
        uint64_t state_bytes
        byteor_source *source
        byteor_sink *sink
        uint32_t builtin
        byteor_calls calls
    ctypedef struct byteor_graph:
        const uint8_t *failed_payload
        uint32_t failed_length
    ctypedef struct byteor_capture:
        pass
    ctypedef struct byteor_unit_runtime:
        byteor_unit *unit
        byteor_run_block *run
        uint8_t *control
        const byteor_clock *clock
        byteor_ring *rings
        uint32_t ring_count
        uint32_t kind
        byteor_member member[8]
        uint32_t member_count
        uint32_t first_stage
        uint32_t stage_end
        byteor_source *source
        byteor_sink *sink
        uint32_t depends[8]
        uint32_t depends_count
        uint32_t max_batch
        uint32_t rerunnable
        uint32_t skip_failed
        uint32_t directed
        uint32_t gated
        uint32_t scan_live
        uint32_t all_live
        uint32_t looks
        uint32_t lingered
        uint32_t save_headers
        uint32_t range_count
        byteor_range range[32]
        uint32_t slot_stride
        uint8_t *undo_area
        uint64_t undo_log_bytes
        byteor_record work
        uint64_t shard_key_offset
        uint64_t shard_key_length
        uint8_t *staging
        uint32_t *staged_ring
        uint64_t *staged_position
        uint32_t **doorbells
        uint32_t doorbell_count
        uint32_t membarrier
        uint32_t outcome
        uint32_t failed_member
        uint32_t failure
        uint32_t failed_unknown
        uint64_t failed_sequence
        const char *failure_text
        uint32_t done
        uint32_t shown_state
        uint64_t turn_began_ns
        uint64_t turn_ended_ns
        byteor_wait wait
        byteor_graph *graph
        byteor_capture *capture
    uint64_t byteor_now_ns(const byteor_clock *clock)
    uint32_t byteor_load_acquire32(const uint32_t *address)
    uint64_t byteor_load_relaxed64(const uint64_t *address)
    void byteor_store_relaxed32(uint32_t *address, uint32_t value)
    void byteor_store_relaxed64(uint64_t *address, uint64_t value)
    void byteor_store_release32(uint32_t *address, uint32_t value)
    void byteor_any_recover(byteor_unit_runtime *u)
    void byteor_wait_reset(byteor_wait *wait)
    int byteor_membarrier_register()
    byteor_slot *byteor_ring_slot(const byteor_ring *ring, uint64_t sequence)
    uint8_t *byteor_payload(byteor_slot *slot)

cdef extern from "unit_loop.h" nogil:
    void byteor_loop_state(byteor_unit_runtime *u, uint32_t state)
    void byteor_loop_beat(byteor_unit_runtime *u, uint64_t now)
    void byteor_loop_run(byteor_unit_runtime **units, uint32_t count, const uint32_t *halt)

cdef extern from "layout.h" nogil:
    ctypedef struct _sized_unit "byteor_unit":
        pass
    ctypedef struct _sized_role "byteor_role":
        pass

cdef extern from "region.h" nogil:
    ctypedef struct byteor_map:
        uint8_t *base
        uint64_t bytes
    int byteor_region_open(
        int fd, uint32_t kind, int writable, unsigned wait_ms, byteor_map *map, char *text, size_t text_bytes
    )
    void byteor_region_unmap(byteor_map *map)
    int byteor_region_lost(const byteor_map *map)
    void byteor_ring_view(const byteor_map *map, byteor_ring *ring)

cdef extern from "region_fault.h" nogil:
    void *byteor_fault_enter()
    void byteor_fault_leave(void *stack)

cdef extern from "worker_fault.h" nogil:
    void byteor_worker_fault_watch(byteor_unit_runtime **units, uint32_t count, int code)
    void byteor_worker_fault_thread(byteor_unit_runtime **units, uint32_t count)

cdef extern from "trace.h" nogil:
    void byteor_trace_follow(void *area)
