"""What client.pyx needs of the C headers: extern only."""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "client_ring.h" nogil:
    enum:
        BYTEOR_REGION_RING
        BYTEOR_REGION_CONTROL
        BYTEOR_SLOT_END
        BYTEOR_SLOT_DROPPED
        BYTEOR_STAGE_ABI
        BYTEOR_STAGE_MUTATES
        BYTEOR_STAGE_RESIZES
        BYTEOR_RUN_MEMBARRIER
        BYTEOR_STATE_RUNNING
        BYTEOR_STATE_ENDED
    const uint64_t BYTEOR_NO_SEQUENCE
    ctypedef struct byteor_slot:
        uint16_t length
        uint8_t type
        uint8_t flags
        uint64_t time_ns
    ctypedef struct byteor_region_header:
        uint32_t flags
        uint64_t section[4]
        uint32_t counts[2]
    ctypedef struct byteor_ring_producer:
        uint64_t cursor
        uint64_t end_sequence
        uint64_t progress_ns
    ctypedef struct byteor_cell:
        uint64_t sequence
    ctypedef struct byteor_ring:
        byteor_ring_producer *producer
        byteor_cell *cells
        const byteor_region_header *header
        uint64_t capacity
        uint32_t slot_bytes
        uint32_t payload_max
        uint32_t cell_count
    ctypedef struct byteor_unit:
        uint32_t parked
        uint32_t command
    ctypedef struct byteor_role:
        uint32_t state
        uint32_t pid
        uint64_t heartbeat_ns
    ctypedef struct byteor_wait:
        uint32_t kind
        uint64_t sleep_ns_max
    ctypedef struct byteor_batch:
        uint32_t abi
        uint32_t count
        uint32_t slot_bytes
        uint32_t payload_max
        uint64_t first_sequence
        uint8_t *slots
        uint64_t now_ns
    ctypedef struct byteor_client:
        byteor_ring ring
        byteor_role *role
        uint32_t *doorbell[16]
        uint32_t doorbell_count
        uint32_t membarrier
        uint64_t position
        uint64_t limit
        uint64_t time_last
        uint32_t depends[8]
        uint32_t depends_count
        int32_t cell
        uint32_t ended
        byteor_wait wait
    uint64_t byteor_client_resume(const byteor_ring *ring)
    uint64_t byteor_client_room(byteor_client *c)
    void byteor_client_publish(byteor_client *c, uint64_t end)
    void byteor_client_publish_run(byteor_client *c, const uint8_t *data, uint32_t size, uint64_t count)
    uint64_t byteor_client_begin(byteor_client *c, uint64_t count)
    int byteor_client_continue(byteor_client *c)
    void byteor_client_progress(byteor_client *c)
    void byteor_client_drop(byteor_client *c, uint64_t count)
    uint64_t byteor_client_time(byteor_client *c)
    void byteor_client_put(byteor_client *c, uint64_t sequence, const void *data, uint32_t size, uint64_t time_ns)
    void byteor_client_end(byteor_client *c)
    uint64_t byteor_client_available(byteor_client *c, uint64_t most)
    void byteor_client_ahead(const byteor_client *c)
    void byteor_client_release(byteor_client *c, uint64_t sequence, uint64_t live)
    int byteor_client_wait(byteor_client *c, int consumer, uint64_t bound_ns)
    byteor_slot *byteor_ring_slot(const byteor_ring *ring, uint64_t sequence)
    uint64_t byteor_ring_contiguous(const byteor_ring *ring, uint64_t sequence)
    void byteor_ring_claim(const byteor_ring *ring, uint64_t sequence)
    uint8_t *byteor_payload(byteor_slot *slot)
    int byteor_membarrier_register()
    uint64_t byteor_load_acquire64(const uint64_t *address)
    uint32_t byteor_load_acquire32(const uint32_t *address)
    void byteor_store_release32(uint32_t *address, uint32_t value)
    uint64_t byteor_monotonic_ns()

cdef extern from "client_batch.h" nogil:
    ctypedef struct byteor_client_batch:
        byteor_batch batch
        uint8_t *last
    void byteor_batch_begin(byteor_client *c, byteor_client_batch *b, uint64_t most)
    void byteor_batch_release(byteor_client *c, byteor_client_batch *b, uint64_t live)

cdef extern from "client_objects.h":
    object byteor_slot_bytes(const byteor_client *c, byteor_slot *slot)
    Py_ssize_t byteor_list_misfit(object list_, uint32_t payload_max)
    void byteor_list_publish(byteor_client *c, object list_, Py_ssize_t first, uint64_t count)
    object byteor_list_take(byteor_client *c, uint64_t count, uint64_t *live)

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
