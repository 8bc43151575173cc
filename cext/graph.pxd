"""What graph.pyx needs of the C headers: extern only."""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

cdef extern from "graph_build.h" nogil:
    enum:
        BYTEOR_PORTS_MAX
        BYTEOR_PORT_WORDS
        BYTEOR_MEMBERS_MAX
        BYTEOR_CELLS_MAX
        BYTEOR_NO_PORT
    const uint64_t BYTEOR_NO_SEQUENCE
    ctypedef struct byteor_ring:
        uint32_t cell_count
        uint64_t capacity
    ctypedef struct byteor_journal_reader:
        pass
    ctypedef struct byteor_journal_writer:
        pass
    ctypedef struct byteor_choice:
        uint32_t kind
    ctypedef struct byteor_script:
        const byteor_choice *list
        uint64_t count
    ctypedef struct byteor_lost:
        uint64_t first
    ctypedef struct byteor_losses:
        const byteor_lost *list
        uint64_t count
    ctypedef struct byteor_rx_port:
        byteor_ring *ring
        byteor_journal_reader *journal
        int32_t cell
        uint32_t word
        uint32_t source "from"
        uint32_t monotone
        uint32_t depends_count
        uint32_t depends[8]
        byteor_losses lost
        uint64_t *gone
    ctypedef struct byteor_tx_port:
        byteor_ring *ring
        byteor_journal_writer *journal
        uint32_t word
        uint32_t drops
        uint32_t cells
        uint32_t claim_max
        uint64_t end
        byteor_script script
    ctypedef struct byteor_graph_member:
        uint32_t rx_first
        uint32_t rx_count
        uint32_t tx_first
        uint32_t tx_count
        uint32_t dead_letter
        uint32_t pick
        uint32_t route
        uint32_t place_word
        uint32_t payload_max
        uint32_t outputs_max
        uint32_t large_state
        uint32_t staged
        byteor_script take
        byteor_script steer
        uint64_t key_offset
        uint64_t key_length
    ctypedef struct byteor_graph:
        uint32_t rx_count
        uint32_t tx_count
        uint32_t wants_progress
        uint32_t journals
        uint64_t *shared[2]
        byteor_graph_member member[8]
        byteor_rx_port rx[64]
        byteor_tx_port tx[64]
    byteor_graph *byteor_graph_new(
        uint32_t words, uint32_t entries, uint32_t staging_bytes, uint32_t copy_bytes, uint32_t extra_max
    )
    void byteor_graph_free(byteor_graph *graph)
