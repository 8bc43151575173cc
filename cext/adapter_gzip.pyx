# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Inflating gzip input: the one refill that needs Python, taken a chunk at a time.

It plugs into a byte-stream source by its C address; framing and positions stay the engine's.
"""

cimport cython

import os
import zlib

from libc.stdint cimport uint8_t
from libc.string cimport memcpy


cdef extern from "adapter.h" nogil:
    enum: BYTEOR_REJECT_MALFORMED
    enum: BYTEOR_REJECT_TRUNCATED
    enum: BYTEOR_REJECT_CORRUPT

    ctypedef struct byteor_adapter_common:
        pass

    ctypedef struct byteor_source:
        byteor_adapter_common common

    void byteor_reject(byteor_adapter_common *, int, const void *, size_t)
    int byteor_adapter_fail(byteor_adapter_common *, int, const char *)


cdef extern from "source_bytes.h" nogil:
    enum: BYTEOR_REFILL_END
    enum: BYTEOR_REFILL_FAILED

    ctypedef struct byteor_bytes_source:
        byteor_source base
        ptrdiff_t (*refill)(byteor_bytes_source *, uint8_t *, size_t) noexcept nogil
        void *context


InflateError = zlib.error


@cython.final
cdef class Inflate:
    """Inflated bytes of a gzip file of any number of members; `fd` stays the caller's."""

    cdef object inflater
    cdef bytes rest
    cdef int fd

    def __cinit__(self, int fd):
        self.inflater = None
        self.rest = b""
        self.fd = fd

    cdef bytes _more(self):
        return self.rest or os.read(self.fd, 65536)

    def skip(self, offset):
        """Pass over `offset` inflated bytes; EOFError when there are not so many."""
        while offset:
            got = self.read(min(offset, 1 << 20))
            if not got:
                raise EOFError("cut off")
            offset -= len(got)

    cdef bytes read(self, size_t room):
        """Return up to `room` bytes, b"" at the end; EOFError: cut off, ValueError: garbage."""
        while True:
            if self.inflater is None:
                self.rest = self._more().lstrip(b"\0")
                if not self.rest:
                    if not (padding := os.read(self.fd, 65536)):
                        return b""
                    self.rest = padding
                    continue
                if self.rest[:2] != b"\x1f\x8b"[:len(self.rest)]:
                    raise ValueError(self.rest)
                self.inflater = zlib.decompressobj(31)
            given = self._more()
            if not given:
                raise EOFError("cut off")
            got = self.inflater.decompress(given, room)
            self.rest = self.inflater.unconsumed_tail
            if self.inflater.eof:
                self.rest = self.inflater.unused_data
                self.inflater = None
            if got:
                return got


cdef ptrdiff_t _refill(
    byteor_bytes_source *source, uint8_t *into, size_t room
) noexcept with gil:
    cdef byteor_adapter_common *common = &source.base.common
    cdef bytes got
    try:
        got = (<Inflate>source.context).read(room)
        memcpy(into, <const char *>got, len(got))
        return len(got)
    except EOFError:
        byteor_reject(common, BYTEOR_REJECT_TRUNCATED, b"end of the gzip file", 20)
        return BYTEOR_REFILL_END
    except ValueError as garbage:
        got = garbage.args[0]
        byteor_reject(common, BYTEOR_REJECT_MALFORMED, <const char *>got, len(got))
        return BYTEOR_REFILL_END
    except zlib.error:
        byteor_reject(common, BYTEOR_REJECT_CORRUPT, b"gzip data", 9)
        byteor_adapter_fail(common, 0, b"the gzip input is damaged: it does not inflate, or its "
                                       b"checksum does not hold")
    except OSError as error:
        byteor_adapter_fail(common, error.errno or 0, b"reading the gzip input failed")
    except BaseException:
        byteor_adapter_fail(common, 0, b"inflating the gzip input failed")
    return BYTEOR_REFILL_FAILED


def attach(size_t address, Inflate inflate):
    """Let the byte-stream source at `address` read from `inflate`, which must outlive it."""
    cdef byteor_bytes_source *source = <byteor_bytes_source *>address
    source.context = <void *>inflate
    source.refill = _refill
