from libc.stdint cimport uint8_t, uint64_t

from layout cimport byteor_ring

cdef extern from "ring_copy.h" nogil:
    enum:
        BYTEOR_COPY_HOLDS
        BYTEOR_COPY_OVERWRITTEN
    int byteor_ring_copy(const byteor_ring *ring, uint64_t sequence, uint8_t *to)
