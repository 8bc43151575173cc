"""Opening adapters by kind: the one entry for workers.

What validation has checked is checked again, against the same tables, since a worker trusts no
document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byteord._cext import adapters as native
from byteord.adapters import files, sockets
from byteord.adapters.catalogue import read_checked
from byteord.adapters.context import OpenContext, Resume
from byteord.adapters.framing import Framing
from byteord.adapters.kinds import STREAM_KINDS
from byteord.errors import AdapterError, InvalidDocumentError
from byteord.spec.model import Scalar

__all__ = ["OpenContext", "Resume", "open_sink", "open_source"]

_STREAM_SOCKETS = frozenset({"tcp", "unix_stream"})
_CONTENTS = ("counter", "random", "checksummed", "text", "trades")


def open_source(
    kind: str, options: Mapping[str, Scalar], context: OpenContext
) -> native.SourceHandle:
    """Return an ingress ready to be polled, at its committed position when there is one.

    Raise InvalidDocumentError for options that validation would refuse; NotFoundError, DeniedError,
    UnavailableError, AdapterError, DataError or ResourceError, each with a reason, when the thing
    cannot be opened.
    """
    values = _values(kind, options, context, ingress=True)
    if kind in {"file", "pcap"}:
        return files.open_input(values, context)
    handle = _open_source(kind, values, context)
    if context.resume is not None:
        handle.restore(context.resume)
    return handle


def open_sink(kind: str, options: Mapping[str, Scalar], context: OpenContext) -> native.SinkHandle:
    """Return an egress ready to be written, at its committed position when there is one.

    Errors are those of `open_source`.
    """
    values = _values(kind, options, context, ingress=False)
    if kind == "file":
        return files.open_output(values, context)
    handle = _open_sink(kind, values, context)
    if context.resume is not None:
        handle.restore(context.resume)
    return handle


def _open_source(kind: str, values: Mapping[str, Any], context: OpenContext) -> native.SourceHandle:
    if kind in STREAM_KINDS:
        return native.open_packet_source(_stream_fd(context), Framing.of(values))
    if kind == "generator":
        return native.open_generator(
            content=_CONTENTS.index(values["content"]),
            size=values["size"],
            size_max=values["size_max"],
            count=values["count"],
            rate=values["rate"],
            at_once=values["at_once"],
            seed=values["seed"],
        )
    if kind == "udp":
        return sockets.open_udp_source(values, context)
    if kind == "unix_dgram":
        return sockets.open_unix_dgram_source(values, context)
    if kind in _STREAM_SOCKETS:
        return sockets.open_stream_source(kind, values, context)
    raise _not_opened(kind, context)


def _open_sink(kind: str, values: Mapping[str, Any], context: OpenContext) -> native.SinkHandle:
    if kind in STREAM_KINDS:
        return native.open_packet_sink(_stream_fd(context), Framing.of(values))
    if kind == "discard":
        return native.open_discard(verify=values["verify"])
    if kind == "udp":
        return sockets.open_udp_sink(values, context)
    if kind == "unix_dgram":
        return sockets.open_unix_dgram_sink(values, context)
    if kind in _STREAM_SOCKETS:
        return sockets.open_stream_sink(kind, values, context)
    raise _not_opened(kind, context)


def _values(
    kind: str, options: Mapping[str, Scalar], context: OpenContext, *, ingress: bool
) -> dict[str, Any]:
    values, problems = read_checked(kind, options, ingress=ingress, payload_max=context.payload_max)
    if problems:
        texts = "; ".join(
            f"{found.key}: {found.seen}, wanted {found.wanted}: {found.fix}" for found in problems
        )
        raise InvalidDocumentError(
            f"adapter {context.name or kind} ({kind}): {texts}",
            reason=problems[0].code,
            details={"adapter": context.name, "kind": kind},
        )
    return values


def _stream_fd(context: OpenContext) -> int:
    if context.stream_fd < 0:
        raise AdapterError(
            f"adapter {context.name}: it is the run's client, but none is attached; give the run "
            "--input or --output, or bind another kind of adapter",
            reason="ADAPTER_NO_CLIENT",
            details={"adapter": context.name},
        )
    return context.stream_fd


def _not_opened(kind: str, context: OpenContext) -> AdapterError:
    return AdapterError(
        f"adapter {context.name}: kind {kind} works in shared memory and is not opened by a worker",
        reason="ADAPTER_KIND",
        details={"adapter": context.name, "kind": kind},
    )
