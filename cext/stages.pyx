# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True, auto_pickle=False, autotestdict=False
"""Native stages: handles of built-in, library and compiled stages, and the means to drive one outside a ring."""

from libc.stdint cimport uint32_t


cdef extern from "crc32c.h" nogil:
    uint32_t byteor_crc32c(uint32_t crc, const void *data, size_t size)
    uint32_t byteor_crc32c_portable(uint32_t crc, const void *data, size_t size)


def crc32c(const unsigned char[::1] data not None, uint32_t crc=0) -> int:
    """CRC32C of `data`, continuing from `crc` (of what came before)."""
    if data.shape[0] == 0:
        return crc
    return byteor_crc32c(crc, &data[0], <size_t>data.shape[0])


def crc32c_portable(const unsigned char[::1] data not None, uint32_t crc=0) -> int:
    """The same by table, whatever the CPU can do."""
    if data.shape[0] == 0:
        return crc
    return byteor_crc32c_portable(crc, &data[0], <size_t>data.shape[0])
