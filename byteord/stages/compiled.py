"""Stages that Numba compiles: `numba:module:function`.

    def function(payloads, lengths, keep)           # stateless
    def function(payloads, lengths, keep, state)    # the stage declares `state_bytes`

- `payloads`: uint8[count, payload_max], a strided view over the slots themselves: row i is message
  i, of which `lengths[i]` bytes are in use. Writable only if the stage declares `mutates`: else an
  assignment to it does not compile.
- `lengths`: uint32[count]. With `resizes = true` a changed length becomes the message's.
- `keep`: uint8[count]. 1 for a message, 0 for a place without one (dropped before): pass over it.
  With `drops = true` setting it to 0 drops the message.
- `state`: uint8[state_bytes], at most 4096, zeroed at first, in shared memory: it survives a crash.
- Returns None, or an integer: -1 for success, else the index of the message at fault, which is then
  named in the stage error. An exception fails the batch as a whole.

If the module also has `function_end`, it is called once on the end of the input:
`function_end(payload, length)` or `function_end(payload, length, state)`, with the uint8 payload of
the end slot, the bytes of the last message that an earlier stage left there (0 for none), and must
return the bytes of the last message to leave (0 for none).

Both are compiled when the worker starts (one to two seconds), never cached, and run without the
GIL. A function that is `@njit` already is compiled anew, without its decorator's options. A batch
is cut into pieces of at most 1,024 messages. There is no configuration: constants belong into the
module.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from byteord._cext.stages import StageHandle, open_function
from byteord.deployment.plan import RolePlan
from byteord.errors import StageError
from byteord.stages.source import import_code

STATE_BYTES_MAX = 4096
MUTATES, DROPS, RESIZES = 1, 2, 4
SLOT_HEADER_BYTES = 16


def open_compiled(
    role: RolePlan,
    module_name: str,
    function_name: str,
    code_dirs: Sequence[str],
    shown: Sequence[str] = (),
) -> StageHandle:
    """Import, compile and open the stage of `role`.

    StageError: STAGE_NUMBA_MISSING, STAGE_CONFIG_INVALID, STAGE_STATE_TOO_LARGE, those of
    `import_code`, STAGE_FUNCTION_NOT_FOUND, STAGE_COMPILE_FAILED.
    """
    _require_numba(role)
    if role.config:
        raise StageError(
            f"stage {role.name!r}: a numba stage takes no config, seen {', '.join(role.config)}; "
            "put constants into its module",
            reason="STAGE_CONFIG_INVALID",
        )
    if role.state_bytes > STATE_BYTES_MAX:
        raise StageError(
            f"stage {role.name!r}: {role.state_bytes} bytes of state, and a numba stage keeps at "
            f"most {STATE_BYTES_MAX}; lower state_bytes, or write the stage in C",
            reason="STAGE_STATE_TOO_LARGE",
        )
    module = import_code(module_name, code_dirs, shown)
    function = getattr(module, function_name, None)
    if not callable(function):
        raise StageError(
            f"stage {role.name!r}: module {module_name!r} has no function {function_name!r}",
            reason="STAGE_FUNCTION_NOT_FOUND",
        )
    process = _compile(role, function, _process_shim)
    end_function = getattr(module, f"{function_name}_end", None)
    end = _compile(role, end_function, _end_shim) if callable(end_function) else None
    flags = (MUTATES if role.mutates else 0) | (DROPS if role.drops else 0)
    flags |= RESIZES if role.resizes else 0
    end_address = end.address if end is not None else 0
    return open_function(process.address, end_address, flags, role.state_bytes, (process, end))


def _numba(part: str = "") -> Any:
    return importlib.import_module(f"numba{part}")


def _require_numba(role: RolePlan) -> None:
    try:
        _numba()
    except ImportError as error:
        raise StageError(
            f"stage {role.name!r} needs Numba, which cannot be imported ({error}); "
            'install it with: pip install "byteor[numba]"',
            reason="STAGE_NUMBA_MISSING",
        ) from error


def _compile(
    role: RolePlan, function: Callable[..., Any], shim: Callable[[RolePlan, Any], Any]
) -> Any:
    plain = getattr(function, "py_func", function)
    try:
        return shim(role, plain)
    except (_numba(".core.errors").NumbaError, TypeError) as error:
        raise StageError(
            f"stage {role.name!r}: Numba cannot compile {plain.__module__}.{plain.__qualname__}: "
            f"{_explain(str(error))}",
            reason="STAGE_COMPILE_FAILED",
        ) from error


def _explain(text: str) -> str:
    """Shorten Numba's message to its beginning and the place in the source that it names last."""
    places = re.findall(r'File "[^"]+", line \d+', text)
    hint = "; the payloads are read-only: declare `mutates` to change them"
    parts = [" ".join(text.split())[:400]]
    parts += [f" (at {places[-1]})"] if places else []
    return "".join([*parts, hint] if "setitem(readonly array" in text else parts)


def _signature() -> Any:
    types = _numba(".types")
    size, data = types.int64, types.CPointer(types.uint8)
    lengths = types.CPointer(types.uint32)
    return size(data, size, size, size, lengths, data, data, size)


def _returns(compiled: Any, wanted: str, *, none: bool) -> bool:
    """Tell whether the compiled function returns an integer; raise TypeError for anything else."""
    types = _numba(".types")
    returned = compiled.nopython_signatures[0].return_type
    if isinstance(returned, types.Integer):
        return True
    if none and returned is types.none:
        return False
    message = f"it returns {returned}, wanted {wanted} on every path"
    raise TypeError(message)


def _process_shim(role: RolePlan, function: Callable[..., Any]) -> Any:
    types, carray = _numba(".types"), _numba().carray
    rows = types.Array(types.uint8, 2, "A", readonly=not role.mutates)
    lengths, flags = types.Array(types.uint32, 1, "C"), types.Array(types.uint8, 1, "C")
    arguments = (rows, lengths, flags, flags) if role.state_bytes else (rows, lengths, flags)
    compiled = _numba().njit(arguments, nogil=True)(function)
    has_result = _returns(compiled, "None or an integer", none=True)
    has_state = role.state_bytes > 0

    def call(slots, count, slot_bytes, payload_max, lengths, keep, state, state_bytes):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, PLR0917 - Numba types it
        first, last = SLOT_HEADER_BYTES, SLOT_HEADER_BYTES + payload_max
        payloads = carray(slots, (count, slot_bytes))[:, first:last]
        sizes, kept = carray(lengths, (count,)), carray(keep, (count,))
        try:
            if has_state:
                result = compiled(payloads, sizes, kept, carray(state, (state_bytes,)))
            else:
                result = compiled(payloads, sizes, kept)
        except Exception:  # noqa: BLE001 - compiled code: the only form that Numba knows
            return -2
        return result if has_result else -1

    return _numba().cfunc(_signature())(call)


def _end_shim(role: RolePlan, function: Callable[..., Any]) -> Any:
    types, carray = _numba(".types"), _numba().carray
    data = types.Array(types.uint8, 1, "C")
    arguments = (data, types.int64, data) if role.state_bytes else (data, types.int64)
    compiled = _numba().njit(arguments, nogil=True)(function)
    _returns(compiled, "the bytes of the last message, an integer,", none=False)
    has_state = role.state_bytes > 0

    def call(slots, _count, slot_bytes, payload_max, lengths, _keep, state, state_bytes):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, PLR0917 - Numba types it
        first, last = SLOT_HEADER_BYTES, SLOT_HEADER_BYTES + payload_max
        payload, sizes = carray(slots, (slot_bytes,))[first:last], carray(lengths, (1,))
        try:
            if has_state:
                length = compiled(payload, sizes[0], carray(state, (state_bytes,)))
            else:
                length = compiled(payload, sizes[0])
        except Exception:  # noqa: BLE001 - compiled code: the only form that Numba knows
            return -2
        if length < 0 or length > payload_max:
            return 0
        sizes[0] = length
        return -1

    return _numba().cfunc(_signature())(call)
