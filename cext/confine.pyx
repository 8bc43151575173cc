# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Confinement of the calling process as Python sees it.

Owns nothing but the call: which paths stay, and when it is time, the worker knows.
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free


cdef extern from "confine.h" nogil:
    ctypedef struct byteor_confinement:
        const int *readable
        size_t readable_count
        const int *writable
        size_t writable_count
    uint32_t byteor_landlock_abi()
    int byteor_has_seccomp()
    int byteor_confine(const byteor_confinement *wanted, const char **step)


def landlock_abi() -> int:
    """Version of the kernel's Landlock ABI; 0: there is none."""
    return byteor_landlock_abi()


def has_seccomp() -> bool:
    """Whether the kernel takes the filters that confinement needs."""
    return bool(byteor_has_seccomp())


def confine(list readable, list writable) -> None:
    """Confine this process for good; both hold descriptors of paths that stay.

    OSError with the step that failed: the process is then confined in part and must end.
    """
    cdef byteor_confinement wanted
    cdef const char *step = NULL
    cdef size_t reads = len(readable), writes = len(writable), i
    cdef int status
    cdef int *descriptors = <int *> calloc(reads + writes + 1, sizeof(int))
    if descriptors == NULL:
        raise MemoryError
    try:
        for i, descriptor in enumerate([*readable, *writable]):
            descriptors[i] = descriptor
        wanted.readable = descriptors
        wanted.readable_count = reads
        wanted.writable = descriptors + reads
        wanted.writable_count = writes
        status = byteor_confine(&wanted, &step)
    finally:
        free(descriptors)
    if status:
        raise OSError(status, (<bytes> step).decode())
