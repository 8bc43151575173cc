"""Opening sockets: resolving, binding, joining, connecting, accepting; everything that can fail.

A Unix socket's path is reached through its directory's descriptor, so no link is followed and no
length limit of `sun_path` is met.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from byteord._cext import adapters as native
from byteord.adapters.context import OpenContext
from byteord.adapters.framing import Framing
from byteord.adapters.options import split_address
from byteord.adapters.paths import parent_of
from byteord.errors import AdapterError, ByteorError, DeniedError, NotFoundError, UnavailableError

_SO_RXQ_OVFL = 40
_IP_ADD_SOURCE_MEMBERSHIP = 39
_BACKLOG = 16


# ---- datagrams ----


def open_udp_source(values: Mapping[str, Any], context: OpenContext) -> native.SourceHandle:
    """Bind a UDP address; with a group, the group's at that port."""
    text, group = values["bind"], values.get("group")
    what = f"adapter {context.name}: udp {text}"
    family, address = _resolve(what, text, socket.SOCK_DGRAM)
    if group is None and _is_group(address[0]):
        group = address[0]
    if group is not None:
        family = socket.AF_INET6 if ":" in group else socket.AF_INET
    with _opening(what, text, socket.socket(family, socket.SOCK_DGRAM)) as opened:
        _set_buffer(opened, socket.SO_RCVBUF, values["receive_buffer"])
        opened.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
        if group is None:
            opened.bind(address)
        else:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind((group, address[1]))
            _join(opened, family, group, values)
        opened.setblocking(False)
        return native.open_datagram_source(opened.detach(), count=values["count"])


def _is_group(host: str) -> bool:
    return ip_address(host.partition("%")[0]).is_multicast


def open_udp_sink(values: Mapping[str, Any], context: OpenContext) -> native.SinkHandle:
    """Connect a UDP socket, so that the kernel reports what it knows of the receiver."""
    text = values["connect"]
    what = f"adapter {context.name}: udp {text}"
    family, address = _resolve(what, text, socket.SOCK_DGRAM)
    with _opening(what, text, socket.socket(family, socket.SOCK_DGRAM)) as opened:
        _set_buffer(opened, socket.SO_SNDBUF, values["send_buffer"])
        if _is_group(address[0]):
            _set_multicast_sender(opened, family, values)
        opened.connect(address)
        opened.setblocking(False)
        return native.open_datagram_sink(opened.detach(), unheard_is_lost=True)


def _interface_index(name: str | None) -> int:
    try:
        return socket.if_nametoindex(name) if name else 0
    except OSError as error:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from error


def _interface_request(group: str, interface: str | None) -> bytes:
    """Return an `ip_mreqn`: the interface by IPv4 address or by name."""
    local, index = "0.0.0.0", 0  # noqa: S104 (any interface: the kernel's route decides)
    if interface:
        try:
            local = str(ip_address(interface))
        except ValueError:
            index = _interface_index(interface)
    return socket.inet_aton(group) + socket.inet_aton(local) + index.to_bytes(4, "little")


def _join(opened: socket.socket, family: int, group: str, values: Mapping[str, Any]) -> None:
    interface, only = values.get("interface"), values.get("source")
    if family == socket.AF_INET6:
        request = socket.inet_pton(family, group.partition("%")[0])
        request += _interface_index(interface).to_bytes(4, "little")
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    elif only:
        local = _interface_request(group, interface)[4:8]
        request = socket.inet_aton(group) + local + socket.inet_aton(only)
        opened.setsockopt(socket.IPPROTO_IP, _IP_ADD_SOURCE_MEMBERSHIP, request)
    else:
        request = _interface_request(group, interface)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)


def _set_multicast_sender(opened: socket.socket, family: int, values: Mapping[str, Any]) -> None:
    interface, ttl, loop = values.get("interface"), values["ttl"], int(values["loopback"])
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, ttl)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, loop)
        if interface:
            index = _interface_index(interface)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        return
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, loop)
    if interface:
        request = _interface_request("0.0.0.0", interface)  # noqa: S104 (no group to name)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)


def open_unix_dgram_source(values: Mapping[str, Any], context: OpenContext) -> native.SourceHandle:
    """Bind a Unix datagram socket; its file is removed again when the source closes."""
    path = values["path"]
    what = f"adapter {context.name}: unix_dgram {path}"
    with _opening(what, path, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as opened:
        _set_buffer(opened, socket.SO_RCVBUF, values["receive_buffer"])
        remove = _bind_unix(what, path, opened, context)
        opened.setblocking(False)
        handle = native.open_datagram_source(opened.detach(), count=values["count"])
    handle.on_close.append(remove)
    return handle


def open_unix_dgram_sink(values: Mapping[str, Any], context: OpenContext) -> native.SinkHandle:
    """Connect to a Unix datagram socket."""
    path = values["path"]
    what = f"adapter {context.name}: unix_dgram {path}"
    with _opening(what, path, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as opened:
        _set_buffer(opened, socket.SO_SNDBUF, values["send_buffer"])
        _connect_unix(opened, path, context)
        opened.setblocking(False)
        return native.open_datagram_sink(opened.detach(), unheard_is_lost=False)


# ---- streams ----


def open_stream_source(
    kind: str, values: Mapping[str, Any], context: OpenContext
) -> native.SourceHandle:
    """Connect, or listen for peers that write."""
    framing = Framing.of(values)
    descriptor, remove = _open_stream(kind, values, context, socket.SO_RCVBUF)
    if values.get("listen"):
        handle = native.open_socket_source(framing, listen_fd=descriptor, peers=values["peers"])
    else:
        handle = native.open_socket_source(framing, fd=descriptor)
    handle.on_close.extend(remove)
    return handle


def open_stream_sink(
    kind: str, values: Mapping[str, Any], context: OpenContext
) -> native.SinkHandle:
    """Connect, or listen for a peer that reads."""
    framing = Framing.of(values)
    descriptor, remove = _open_stream(kind, values, context, socket.SO_SNDBUF)
    if values.get("listen"):
        handle = native.open_socket_sink(framing, listen_fd=descriptor)
    else:
        handle = native.open_socket_sink(framing, fd=descriptor)
    handle.on_close.extend(remove)
    return handle


def _open_stream(
    kind: str, values: Mapping[str, Any], context: OpenContext, buffer: int
) -> tuple[int, list[Callable[[], None]]]:
    """Return a descriptor that listens or is connected, and what to do when it closes."""
    listens = bool(values.get("listen"))
    text = values["listen"] if listens else values["connect"]
    what = f"adapter {context.name}: {kind} {text}"
    size = values["receive_buffer"] if buffer == socket.SO_RCVBUF else values["send_buffer"]
    if kind == "tcp":
        family, address = _resolve(what, text, socket.SOCK_STREAM)
    else:
        family, address = socket.AF_UNIX, (text, 0)
    remove: list[Callable[[], None]] = []
    with _opening(what, text, socket.socket(family, socket.SOCK_STREAM)) as opened:
        _set_buffer(opened, buffer, size)
        opened.settimeout(None if listens else values["connect_timeout"])
        if kind == "tcp":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address) if listens else opened.connect(address)
        elif listens:
            remove.append(_bind_unix(what, text, opened, context))
        else:
            _connect_unix(opened, text, context)
        if listens:
            opened.listen(_BACKLOG)
        opened.setblocking(False)
        return opened.detach(), remove
    raise AssertionError  # pragma: no cover (the with block returns or raises)


# ---- shared ----


@contextlib.contextmanager
def _opening(what: str, address: str, opened: socket.socket) -> Iterator[socket.socket]:
    """Close the socket and explain when the block fails."""
    try:
        yield opened
    except OSError as error:
        opened.close()
        raise socket_error(what, address, error) from error
    except BaseException:
        opened.close()
        raise


def _set_buffer(opened: socket.socket, option: int, size: int) -> None:
    if size:
        opened.setsockopt(socket.SOL_SOCKET, option, min(size, (1 << 31) - 1) // 2)


def _resolve(what: str, text: str, kind: int) -> tuple[int, tuple[str, int]]:
    host, port = split_address(text)
    try:
        found = socket.getaddrinfo(host, port, type=kind)
    except socket.gaierror as error:
        raise NotFoundError(
            f"{what}: the host {host} cannot be resolved ({error.strerror}); correct the name, or "
            "write an address",
            reason="ADDRESS_NOT_FOUND",
            details={"address": text},
        ) from error
    family, _type, _protocol, _name, address = found[0]
    return family, address  # type: ignore[return-value]  # AF_INET6 has two more, passed on as is


def _unix_dirs(context: OpenContext) -> tuple[str, ...]:
    return context.socket_dirs or ("/",)


def _through(directory: int, name: str) -> str:
    return f"/proc/self/fd/{directory}/{name}"


def _connect_unix(opened: socket.socket, path: str, context: OpenContext) -> None:
    with parent_of(path, _unix_dirs(context)) as (directory, name):
        opened.connect(_through(directory, name))


def _bind_unix(
    what: str, path: str, opened: socket.socket, context: OpenContext
) -> Callable[[], None]:
    """Bind, in the place of a socket that nobody serves any more; return what removes the file."""
    with parent_of(path, _unix_dirs(context)) as (directory, name):
        _remove_stale(what, path, directory, name, opened.type)
        opened.bind(_through(directory, name))
        held = os.dup(directory)
        inode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_ino

    def remove() -> None:
        """Remove the socket's file if it is still ours."""
        with contextlib.suppress(OSError):
            if os.stat(name, dir_fd=held, follow_symlinks=False).st_ino == inode:
                os.unlink(name, dir_fd=held)
        os.close(held)

    return remove


def _remove_stale(what: str, path: str, directory: int, name: str, kind: int) -> None:
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise AdapterError(
            f"{what}: something that is no socket has this path; remove it, or choose another path",
            reason="ADDRESS_IN_USE",
            details={"address": path},
        )
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(_through(directory, name))
        except ConnectionRefusedError:
            os.unlink(name, dir_fd=directory)
        except OSError:
            return  # somebody serves it, or it is of another type: binding will say so


def socket_error(what: str, address: str, error: OSError) -> ByteorError:
    """Return the error for people behind an OSError of a socket call."""
    details = {
        "address": address,
        "errno": errno.errorcode.get(error.errno or 0, str(error.errno)),
    }
    text = os.strerror(error.errno) if error.errno else str(error)
    kind: type[ByteorError] = AdapterError
    match errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno:
        case errno.EADDRINUSE:
            reason, then = "ADDRESS_IN_USE", "another process has it: stop that, or choose another"
        case errno.EADDRNOTAVAIL:
            reason = "ADDRESS_NOT_HERE"
            then = "this host has no such address or interface: choose one that `ip address` shows"
        case errno.EACCES | errno.EPERM:
            kind, reason = DeniedError, "ADDRESS_DENIED"
            then = "this worker's user may not: choose a port from 1024 up, or change permissions"
        case errno.ENOENT:
            kind, reason, then = NotFoundError, "ADDRESS_NOT_FOUND", "start the one who serves it"
        case errno.ECONNREFUSED:
            kind, reason = UnavailableError, "ADDRESS_REFUSED"
            then = "nobody listens there: start the one who serves it, then try again"
        case errno.ENODEV | errno.ENXIO:
            reason, then = "INTERFACE_NOT_FOUND", "choose an interface that `ip link` shows"
        case errno.ETIMEDOUT | errno.EHOSTUNREACH | errno.ENETUNREACH:
            kind, reason = UnavailableError, "ADDRESS_UNREACHABLE"
            then = "check the address and the way there, then try again"
        case None:
            reason, then = "ADDRESS_TOO_LONG", "give the socket a name of at most 80 bytes"
        case _:
            reason, then = "ADDRESS_FAILED", "correct the address or the option"
    return kind(f"{what}: {text}; {then}", reason=reason, details=details)
