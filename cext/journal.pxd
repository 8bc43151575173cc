"""What journal.pyx needs of the C headers: extern only."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "graph.h" nogil:
    enum:
        BYTEOR_JOURNAL_VERSION
        BYTEOR_JOURNAL_SEGMENTS_MAX
        BYTEOR_JOURNAL_SEEN
        BYTEOR_JOURNAL_BLOCK
        BYTEOR_JOURNAL_STAGE
    ctypedef struct byteor_ring:
        pass
    ctypedef struct byteor_journal_header:
        uint8_t magic[8]
        uint32_t version
        uint32_t header_crc32c
        uint64_t segment
        uint64_t segment_bytes
        uint64_t created_unix_ns
    ctypedef struct byteor_journal_frame:
        uint32_t length
        uint8_t type
        uint64_t sequence
        uint64_t rx_sequence
        uint64_t time_ns
        uint64_t unix_ns
    ctypedef struct byteor_journal_scan:
        uint64_t frames
        uint64_t next_sequence
        uint64_t end_offset
        uint64_t good_behind
        uint64_t last_unix_ns
        uint64_t last_rx_sequence
    ctypedef struct byteor_journal_writer:
        char directory[512]
        int directory_fd
        int fd
        uint64_t segment_bytes
        uint64_t base
        uint64_t retention_bytes
        uint64_t retention_ns
        uint64_t retention_frames
        uint64_t sync_interval_ns
        uint64_t id[4096]
        uint64_t last_unix_ns[4096]
        uint32_t segments
        uint32_t sync
        uint32_t durable
        uint32_t unsure
        uint8_t *stage
        uint8_t *spare
        int direct_fd
        uint32_t behind_count
        int behind[64]
        int error_number
        char error_text[640]
    ctypedef struct byteor_journal_reader:
        char directory[512]
        int directory_fd
    uint32_t byteor_journal_header_crc(byteor_journal_header header)
    const byteor_journal_frame *byteor_journal_at(
        const uint8_t *base, uint64_t size, uint64_t offset, uint64_t segment
    )
    uint64_t byteor_journal_frame_bytes(uint32_t payload)
    byteor_journal_scan byteor_journal_walk(const uint8_t *base, uint64_t size, uint64_t segment)
    uint64_t *byteor_journal_base(const byteor_ring *index)
    int byteor_journal_resume(byteor_journal_writer *w, uint64_t segment, uint64_t offset)
    void byteor_journal_close(byteor_journal_writer *w)
    void byteor_journal_reader_close(byteor_journal_reader *r)
