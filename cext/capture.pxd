"""What capture.pyx needs of the C headers: extern only."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from layout cimport byteor_map, byteor_ring

cdef extern from "capture_drain.h" nogil:
    enum:
        BYTEOR_TAPES_MAX
        BYTEOR_TAPE_PAGE
        BYTEOR_TAPE_OK
        BYTEOR_TAPE_FAILED
        BYTEOR_TAPE_UNSYNCED
    ctypedef struct byteor_tape_record:
        uint64_t tail
        uint64_t next "next"
        uint64_t kept
        uint64_t bytes "bytes"
        uint64_t lost
        uint64_t lost_disk
        uint64_t gaps
        uint64_t hashed
    ctypedef struct byteor_tape_page:
        uint64_t refused
        uint32_t selector
        uint32_t state
        uint32_t error_number
        byteor_tape_record record[2]
    ctypedef struct byteor_tape:
        byteor_tape_page *page
        uint64_t bytes "bytes"
        uint32_t kind
        uint32_t member
        uint32_t waits
        uint64_t ports
    ctypedef struct byteor_capture:
        uint32_t count
        byteor_tape tape[24]
    ctypedef struct byteor_journal_writer:
        int error_number
        char error_text[640]
        uint32_t segments
        uint64_t id[4096]
        uint64_t segment_bytes
        uint64_t offset
    ctypedef struct byteor_drain:
        byteor_ring ring
        byteor_tape tape
        byteor_tape_record work
        byteor_journal_writer *writer
        uint64_t appended
        uint64_t sequence
        uint64_t sample_every
        uint64_t checkpoint_at
        uint32_t digests
        uint32_t choices
        uint32_t waits
        uint32_t unkept
    void byteor_tape_view(byteor_tape *t, byteor_ring *ring)
    void byteor_drain_open(byteor_drain *d)
    int byteor_drain_step(byteor_drain *d, uint64_t budget, uint64_t unix_ns)
    void byteor_drain_fail(byteor_drain *d, int error_number)
    void byteor_drain_digest(const byteor_drain *d, uint8_t *out)
    void byteor_drain_give_up(byteor_drain *d, uint64_t end)
    void byteor_drain_end(byteor_drain *d, uint64_t end)
    void byteor_store_relaxed32(uint32_t *address, uint32_t value)
    uint32_t byteor_load_relaxed32(const uint32_t *address)
    uint64_t byteor_load_relaxed64(const uint64_t *address)

cdef extern from "sha256_blocks.h" nogil:
    int byteor_sha256_native()
