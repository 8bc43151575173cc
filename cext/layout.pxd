"""The shared layout and the functions over it, as region.pyx and control.pyx see them: extern only."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

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
        uint64_t dropped[2]
    ctypedef struct byteor_cell:
        uint64_t sequence
    ctypedef struct byteor_run_block:
        uint64_t created_ns
        uint64_t ready_ns
        uint64_t lease_until_ns
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
    ctypedef struct byteor_histogram:
        uint64_t count
        uint64_t sum_ns
        uint64_t max_ns
        uint64_t bucket[2112]
    ctypedef struct byteor_unit:
        byteor_histogram gaps
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
        uint32_t busy_exact
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

cdef extern from "jitter.h" nogil:
    enum:
        BYTEOR_GAP_NS_MIN

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
        uint32_t payload_max
    ctypedef struct byteor_slot:
        uint16_t length
        uint8_t type
        uint8_t flags
        uint64_t time_ns
    byteor_slot *byteor_ring_slot(const byteor_ring *ring, uint64_t sequence)
    uint8_t *byteor_payload(byteor_slot *slot)
    int byteor_ring_published(const byteor_ring *ring, uint64_t sequence)
    void byteor_header_seal(byteor_region_header *header)
    int byteor_region_allocate(int fd, uint64_t size, byteor_map *map, char *text, size_t text_bytes)
    void byteor_region_ready(byteor_map *map)
    int byteor_region_open(
        int fd, uint32_t kind, int writable, unsigned wait_ms, byteor_map *map, char *text, size_t text_bytes
    )
    void byteor_region_unmap(byteor_map *map)
    int byteor_region_lost(const byteor_map *map)
    void byteor_ring_view(const byteor_map *map, byteor_ring *ring)
