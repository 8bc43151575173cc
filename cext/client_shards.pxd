"""What client_shards.pyx needs of client_shards.h beyond client_ring.pxd: extern only."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from client_ring cimport byteor_batch, byteor_client

cdef extern from "client_shards.h" nogil:
    enum:
        BYTEOR_POSITIONS_MAX
    ctypedef struct byteor_shards:
        byteor_client *client
        uint32_t count
        uint64_t key_offset
        uint64_t key_length
        uint64_t time_last
        uint32_t in_turn
        uint32_t place
    uint32_t byteor_shards_ring(const byteor_shards *s, const void *data, uint64_t size)
    void byteor_shards_resume(byteor_shards *s)
    void byteor_shards_publish(byteor_shards *s, uint32_t r, const void *data, uint32_t size)
    uint64_t byteor_shards_room(byteor_shards *s)
    void byteor_shards_stage(byteor_shards *s, byteor_batch *batch, uint8_t *slots, uint32_t count, uint32_t size)
    void byteor_shards_publish_staged(byteor_shards *s, const byteor_batch *batch)
    void byteor_shards_end(byteor_shards *s, uint32_t r)
    int byteor_shards_next(byteor_shards *s)
    int byteor_shards_ended(const byteor_shards *s)
    int byteor_shards_wait(byteor_shards *s, int r, uint64_t bound_ns)
