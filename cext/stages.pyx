# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""Handles of native stages (built in, of a library, compiled), and the means to drive one.

Owns the life of an instance: configuration in, vtable and instance out by address, destroyed
once. It must not know the catalogue, specs or files.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close

from byteord.errors import StageError


cdef extern from "crc32c.h" nogil:
    uint32_t byteor_crc32c(uint32_t crc, const void *data, size_t size)
    uint32_t byteor_crc32c_portable(uint32_t crc, const void *data, size_t size)


cdef extern from "stage_handle.h" nogil:
    const uint32_t BYTEOR_STAGE_ABI, BYTEOR_CONFIG_SEED, BYTEOR_SLOT_HEADER_BYTES
    const uint8_t BYTEOR_SLOT_DROPPED, BYTEOR_SLOT_END
    const int BYTEOR_STAGE_OK

    ctypedef struct byteor_slot:
        uint16_t length
        uint8_t flags
        uint64_t time_ns

    ctypedef struct byteor_batch:
        uint32_t abi
        uint32_t count
        uint32_t slot_bytes
        uint32_t payload_max
        uint64_t first_sequence
        uint8_t *slots
        void *state
        uint64_t state_bytes
        uint64_t now_ns
        void *touch_context
        int (*touch)(void *touch_context, void *address, uint32_t size) noexcept nogil
        uint32_t error_index
        const char *error_text

    byteor_slot *byteor_slot_at(const byteor_batch *batch, uint32_t index)
    uint8_t *byteor_payload(byteor_slot *slot)

    ctypedef struct byteor_config_item:
        const char *key
        const char *value

    ctypedef struct byteor_config:
        const byteor_config_item *items
        size_t count
        uint32_t payload_max, features
        uint64_t seed

    ctypedef struct byteor_stage_vtable:
        uint32_t abi
        uint32_t struct_bytes
        const char *name
        uint32_t flags
        uint32_t touch_bytes_max
        uint64_t (*state_bytes)(const byteor_config *, char *, size_t) noexcept nogil
        void *(*create)(const byteor_config *, char *, size_t) noexcept nogil
        int (*process)(void *, byteor_batch *) noexcept nogil
        int (*end)(void *, byteor_batch *) noexcept nogil
        void (*destroy)(void *) noexcept nogil

    ctypedef struct byteor_stage_handle:
        const byteor_stage_vtable *vtable
        void *self


cdef extern from "stage_builtin.h" nogil:
    ctypedef struct byteor_builtin:
        byteor_stage_vtable vtable
        void (*declare)(const void *self, byteor_stage_vtable *vtable) noexcept nogil
    const byteor_builtin **byteor_builtins


cdef extern from "stage_function.h" nogil:
    ctypedef int64_t byteor_stage_function(
        uint8_t *, int64_t, int64_t, int64_t, uint32_t *, uint8_t *, uint8_t *, int64_t
    ) noexcept nogil
    const byteor_stage_vtable byteor_function_vtable
    void *byteor_function_create(
        byteor_stage_function *process, byteor_stage_function *end, uint32_t flags,
        uint64_t state_bytes)


cdef extern from "<dlfcn.h>" nogil:
    int RTLD_NOW
    int RTLD_LOCAL
    void *dlopen(const char *path, int flags)
    void *dlsym(void *library, const char *symbol)
    char *dlerror()
    int dlclose(void *library)


ctypedef struct opened_stage:
    byteor_stage_handle handle
    byteor_stage_vtable vtable
    void *library


@cython.final
cdef class StageHandle:
    """One instance of a native stage; its `address` holds until `close`."""

    cdef opened_stage *opened
    cdef object owner
    cdef int fd
    cdef readonly unsigned long long state_bytes

    def __cinit__(self):
        self.fd = -1
        self.opened = <opened_stage *>calloc(1, sizeof(opened_stage))
        if self.opened == NULL:
            raise MemoryError

    @property
    def address(self) -> int:
        """Address of the `byteor_stage_handle`; 0 once closed."""
        return <uintptr_t>&self.opened.handle if self.opened != NULL else 0

    @property
    def name(self) -> str:
        """The name that the stage gives itself."""
        if self.opened == NULL or self.opened.vtable.name == NULL:
            return ""
        return (<bytes>self.opened.vtable.name).decode("utf-8", "replace")

    @property
    def flags(self) -> int:
        """What it does with this configuration: MUTATES, DROPS, RESIZES."""
        return self.opened.vtable.flags if self.opened != NULL else 0

    @property
    def touch_bytes_max(self) -> int:
        """Most state bytes touched for one message; 0 with double-buffered state."""
        return self.opened.vtable.touch_bytes_max if self.opened != NULL else 0

    def close(self) -> None:
        """Destroy the instance and let go of its library. Harmless when done twice."""
        if self.opened == NULL:
            return
        if self.opened.handle.self != NULL and self.opened.vtable.destroy != NULL:
            self.opened.vtable.destroy(self.opened.handle.self)
        if self.opened.library != NULL:
            dlclose(self.opened.library)
        free(self.opened)
        self.opened = NULL
        self.owner = None
        if self.fd >= 0:
            close(self.fd)
            self.fd = -1

    def __dealloc__(self):
        if self.opened != NULL:
            if self.opened.handle.self != NULL and self.opened.vtable.destroy != NULL:
                self.opened.vtable.destroy(self.opened.handle.self)
            if self.opened.library != NULL:
                dlclose(self.opened.library)
            free(self.opened)
        if self.fd >= 0:
            close(self.fd)


cdef _text(const char *error):
    return (<bytes>error).decode("utf-8", "replace") if error[0] else "it gives no reason"


cdef _refused(str what, const char *error):
    text = f"{what} refuses its configuration: {_text(error)}"
    return StageError(text, reason="STAGE_CONFIG_INVALID")


cdef _create(StageHandle handle, dict config, uint32_t payload_max, str what, uint64_t seed=0):
    """Fill `state_bytes` and the instance from the vtable, with `config` in native form."""
    cdef byteor_config native
    cdef char[512] error
    cdef byteor_stage_vtable *vtable = &handle.opened.vtable
    cdef size_t index
    texts = [(key.encode(), config[key].encode()) for key in sorted(config)]
    cdef byteor_config_item *items
    items = <byteor_config_item *>calloc(len(texts) + 1, sizeof(byteor_config_item))
    if items == NULL:
        raise MemoryError
    try:
        for index, (key, value) in enumerate(texts):
            items[index].key = key
            items[index].value = value
        memset(&native, 0, sizeof(native))
        memset(error, 0, sizeof(error))
        native.items = items
        native.count = len(texts)
        native.payload_max = payload_max
        native.features, native.seed = BYTEOR_CONFIG_SEED, seed
        handle.state_bytes = 0
        if vtable.state_bytes != NULL:
            handle.state_bytes = vtable.state_bytes(&native, error, sizeof(error) - 1)
            if handle.state_bytes == <uint64_t>-1:
                raise _refused(what, error)
        handle.opened.handle.self = vtable.create(&native, error, sizeof(error) - 1)
        if handle.opened.handle.self == NULL:
            raise _refused(what, error)
        handle.opened.handle.vtable = vtable
    finally:
        free(items)


STAGE_ABI = BYTEOR_STAGE_ABI


def builtin_names() -> list[str]:
    """Names of the built-in stages, in order."""
    cdef size_t index = 0
    names = []
    while byteor_builtins[index] != NULL:
        names.append((<bytes>byteor_builtins[index].vtable.name).decode())
        index += 1
    return names


def open_builtin(str name, dict config, uint32_t payload_max) -> StageHandle:
    """Open a built-in stage; `config` in canonical text.

    StageError: STAGE_UNKNOWN, STAGE_CONFIG_INVALID.
    """
    cdef size_t index = 0
    wanted = name.encode()
    while byteor_builtins[index] != NULL and <bytes>byteor_builtins[index].vtable.name != wanted:
        index += 1
    if byteor_builtins[index] == NULL:
        known = ", ".join(builtin_names())
        raise StageError(f"no built-in stage `{name}`: there are {known}", reason="STAGE_UNKNOWN")
    cdef StageHandle handle = StageHandle()
    handle.opened.vtable = byteor_builtins[index].vtable
    _create(handle, config, payload_max, f"stage `{name}`")
    if byteor_builtins[index].declare != NULL:
        byteor_builtins[index].declare(handle.opened.handle.self, &handle.opened.vtable)
    return handle


def open_library(
    str path, str symbol, dict config, uint32_t payload_max, *, uint64_t seed=0, str shown="", int fd=-1
) -> StageHandle:
    """Open a stage of a shared library: the `byteor_stage_vtable` exported as `symbol`.

    `path` is loaded as given; messages call it `shown`. The handle takes `fd` over and
    closes it with itself. StageError: STAGE_LIBRARY_NOT_FOUND, STAGE_SYMBOL_NOT_FOUND,
    STAGE_ABI_MISMATCH, STAGE_CONFIG_INVALID.
    """
    cdef StageHandle handle = StageHandle()
    handle.fd = fd
    what = shown or path
    encoded = path.encode()
    handle.opened.library = dlopen(encoded, RTLD_NOW | RTLD_LOCAL)
    if handle.opened.library == NULL:
        reason = (<bytes>dlerror()).decode("utf-8", "replace").replace(path, what)
        raise StageError(
            f"library {what} cannot be loaded: {reason}", reason="STAGE_LIBRARY_NOT_FOUND")
    wanted = symbol.encode()
    cdef const byteor_stage_vtable *vtable
    vtable = <const byteor_stage_vtable *>dlsym(handle.opened.library, wanted)
    if vtable == NULL:
        raise StageError(
            f"library {what} exports no `{symbol}`: wanted an object of type byteor_stage_vtable, "
            "neither static nor hidden",
            reason="STAGE_SYMBOL_NOT_FOUND")
    if vtable.abi != BYTEOR_STAGE_ABI or vtable.struct_bytes != sizeof(byteor_stage_vtable):
        raise StageError(
            f"`{symbol}` of {what} has stage ABI {vtable.abi} with a table of "
            f"{vtable.struct_bytes} bytes: wanted ABI {BYTEOR_STAGE_ABI} with "
            f"{sizeof(byteor_stage_vtable)}; compile it with the byteor_stage.h of this byteor",
            reason="STAGE_ABI_MISMATCH")
    if vtable.create == NULL or vtable.process == NULL:
        raise StageError(
            f"`{symbol}` of {what} lacks create or process: both are wanted",
            reason="STAGE_ABI_MISMATCH")
    handle.opened.vtable = vtable[0]
    _create(handle, config, payload_max, f"stage `{symbol}` of {what}", seed)
    return handle


def open_function(
    uintptr_t process, uintptr_t end, uint32_t flags, uint64_t state_bytes, object owner
) -> StageHandle:
    """Open a stage of compiled functions by address (see stage_function.h; `end` 0 for none).

    `owner` keeps them alive.
    """
    cdef StageHandle handle = StageHandle()
    handle.opened.vtable = byteor_function_vtable
    handle.opened.vtable.flags = flags
    handle.opened.handle.vtable = &handle.opened.vtable
    handle.opened.handle.self = byteor_function_create(
        <byteor_stage_function *>process, <byteor_stage_function *>end, flags, state_bytes)
    if handle.opened.handle.self == NULL:
        raise MemoryError
    handle.state_bytes = state_bytes
    handle.owner = owner
    return handle


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


ctypedef struct touch_log:
    void *entries
    uint8_t *state
    uint64_t state_bytes


cdef int _record_touch(void *context, void *address, uint32_t size) noexcept nogil:
    cdef touch_log *log = <touch_log *>context
    cdef uint64_t offset = <uint64_t>(<uint8_t *>address - log.state)
    if offset > log.state_bytes or size > log.state_bytes - offset:
        return -1
    with gil:
        (<list>log.entries).append((offset, log.state[offset:offset + size]))
    return 0


@cython.final
cdef class Bench:
    """A batch in private memory to call a stage over, for tests and measurements: no ring."""

    cdef byteor_batch batch
    cdef uint8_t *original
    cdef touch_log log
    cdef object keep

    def __cinit__(
        self, list payloads, uint32_t slot_bytes, state=None, uint64_t first_sequence=0,
        times=None, touches=None,
    ):
        cdef uint32_t count = <uint32_t>len(payloads)
        self.batch.abi = BYTEOR_STAGE_ABI
        self.batch.count = count
        self.batch.slot_bytes = slot_bytes
        self.batch.payload_max = slot_bytes - BYTEOR_SLOT_HEADER_BYTES
        self.batch.first_sequence = first_sequence
        self.batch.slots = <uint8_t *>calloc(count + 1, slot_bytes)
        self.original = <uint8_t *>calloc(count + 1, slot_bytes)
        if self.batch.slots == NULL or self.original == NULL:
            raise MemoryError
        self._fill(payloads, times)
        self._lend(state, touches)

    def __dealloc__(self):
        free(self.batch.slots)
        free(self.original)

    cdef _fill(self, list payloads, times):
        cdef byteor_slot *slot
        cdef const uint8_t *data
        cdef uint32_t index
        for index, payload in enumerate(payloads):
            slot = byteor_slot_at(&self.batch, index)
            slot.time_ns = self.batch.first_sequence + index + 1 if times is None else times[index]
            if payload is None:
                slot.flags = BYTEOR_SLOT_DROPPED
                continue
            if len(payload) > self.batch.payload_max:
                room = self.batch.payload_max
                raise ValueError(f"payload {index} of {len(payload)} bytes: a slot holds {room}")
            slot.length = <uint16_t>len(payload)
            data = payload
            memcpy(byteor_payload(slot), data, slot.length)
        memcpy(self.original, self.batch.slots, <size_t>self.batch.count * self.batch.slot_bytes)

    cdef _lend(self, state, touches):
        cdef uint8_t[::1] area
        self.keep = (state, touches)
        if state is not None and len(state) > 0:
            area = state
            self.batch.state = &area[0]
            self.batch.state_bytes = <uint64_t>area.shape[0]
        if touches is not None:
            self.log.entries = <void *>touches
            self.log.state = <uint8_t *>self.batch.state
            self.log.state_bytes = self.batch.state_bytes
            self.batch.touch_context = &self.log
            self.batch.touch = _record_touch

    cdef _raise(self):
        text = _text(self.batch.error_text) if self.batch.error_text != NULL else "no text"
        raise StageError(text, details={"index": str(self.batch.error_index)})

    def process(self, uintptr_t address) -> list:
        """Call `process` once; the payloads left, None for a dropped one.

        StageError with details["index"], the message at fault.
        """
        cdef byteor_stage_handle *handle = <byteor_stage_handle *>address
        cdef byteor_slot *slot
        cdef uint32_t index
        cdef int outcome
        with nogil:
            outcome = handle.vtable.process(handle.self, &self.batch)
        if outcome != BYTEOR_STAGE_OK:
            self._raise()
        left = []
        for index in range(self.batch.count):
            slot = byteor_slot_at(&self.batch, index)
            dropped = slot.flags & BYTEOR_SLOT_DROPPED
            left.append(None if dropped else byteor_payload(slot)[:slot.length])
        return left

    def end(self, uintptr_t address, bytes last=b"") -> bytes:
        """Call `end` on an end slot that holds `last`; the message in it afterwards."""
        cdef byteor_stage_handle *handle = <byteor_stage_handle *>address
        cdef byteor_slot *slot = <byteor_slot *>self.batch.slots
        cdef const uint8_t *data = last
        cdef int outcome = BYTEOR_STAGE_OK
        memset(slot, 0, self.batch.slot_bytes)
        self.batch.count = 1
        slot.flags = BYTEOR_SLOT_END
        slot.length = <uint16_t>len(last)
        memcpy(byteor_payload(slot), data, slot.length)
        if handle.vtable.end != NULL:
            with nogil:
                outcome = handle.vtable.end(handle.self, &self.batch)
        if outcome != BYTEOR_STAGE_OK:
            self._raise()
        if slot.flags != BYTEOR_SLOT_END:
            raise StageError(f"flags {slot.flags} in the end slot: wanted {BYTEOR_SLOT_END}")
        return byteor_payload(slot)[:slot.length]

    def measure(self, uintptr_t address, uint32_t rounds) -> float:
        """Nanoseconds per message of `process` over the fresh batch, `rounds` times.

        The two clock reads of a round are part of it.
        """
        cdef byteor_stage_handle *handle = <byteor_stage_handle *>address
        cdef size_t size = <size_t>self.batch.count * self.batch.slot_bytes
        cdef uint64_t spent = 0
        cdef uint64_t started
        cdef uint32_t round_index, index
        cdef int outcome = BYTEOR_STAGE_OK
        with nogil:
            for round_index in range(rounds):
                memcpy(self.batch.slots, self.original, size)
                for index in range(self.batch.count):
                    byteor_slot_at(&self.batch, index).time_ns += <uint64_t>round_index * 1000
                started = _now_ns()
                outcome = handle.vtable.process(handle.self, &self.batch)
                spent += _now_ns() - started
                self.batch.first_sequence += self.batch.count
                if outcome != BYTEOR_STAGE_OK:
                    break
        if outcome != BYTEOR_STAGE_OK:
            self._raise()
        return <double>spent / <double>rounds / <double>self.batch.count


cdef uint64_t _now_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec


def drive(
    uintptr_t handle_address, list payloads, uint32_t slot_bytes, state=None,
    uint64_t first_sequence=0, *, times=None, touches=None,
) -> list:
    """Call a stage's `process` once over `payloads` (None: a slot dropped earlier).

    `state` (bytearray or None) is its state area and is changed in place; every
    `byteor_touch` is appended to `touches` as (offset, old bytes). Returns the payloads left, None
    for a dropped one; StageError with details["index"] on a failure.
    """
    batch = Bench(payloads, slot_bytes, state, first_sequence, times, touches)
    return batch.process(handle_address)


def drive_end(
    uintptr_t handle_address, uint32_t slot_bytes, state=None, *, bytes last=b""
) -> bytes:
    """Call a stage's `end` on an end slot that holds `last`; the message in it afterwards."""
    return Bench([], slot_bytes, state).end(handle_address, last)
