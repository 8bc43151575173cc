# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Time for an input whose publisher is there and says nothing: it may be stopped, or busy with something else.

Owns nothing of the protocol (`timekeeping.h`); it writes the one word of a ring that says how far time has come.
"""

cimport cython
from libc.stdint cimport uint64_t

from layout cimport (
    BYTEOR_REGION_RING,
    byteor_map,
    byteor_region_lost,
    byteor_region_open,
    byteor_region_unmap,
    byteor_ring,
    byteor_ring_view,
)

cdef extern from "timekeeping.h" nogil:
    int byteor_keep_time(const byteor_ring *ring, uint64_t silent_ns)


@cython.final
cdef class SilentInput:
    """One ring that a client publishes to, looked after by somebody else."""

    cdef byteor_map map
    cdef byteor_ring ring

    def __cinit__(self, int fd):
        """Map and validate; ValueError when it is not a sound ring region."""
        cdef char text[256]
        if byteor_region_open(fd, BYTEOR_REGION_RING, 1, 1000, &self.map, text, sizeof(text)):
            raise ValueError(text.decode("utf-8", "replace"))
        byteor_ring_view(&self.map, &self.ring)

    def __dealloc__(self):
        byteor_region_unmap(&self.map)

    def keep(self, double silent_s):
        """Say that time has passed if the publisher has not for so long, and holds nothing that it has yet to publish.

        False once the input has ended or the ring is gone.
        """
        cdef int kept
        with nogil:
            kept = byteor_keep_time(&self.ring, <uint64_t> (silent_s * 1e9))
        return kept >= 0 and not byteor_region_lost(&self.map)
