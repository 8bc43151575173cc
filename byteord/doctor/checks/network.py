"""N: the network, where adapters use it."""

from __future__ import annotations

from byteord.doctor.checks.cpus import workers_cpus
from byteord.doctor.look import Look, grown, mask_cpus, shared
from byteord.doctor.model import EVERY, Asked, SkippedError, Verdict, good, judge
from byteord.doctor.register import check, command, sysctl

NET = "/proc/sys/net/"
BACKLOG_MIN = 4096
BUFFER_BYTES = 8 << 20
_REASON = "no adapter of the deployment uses the network"


def _used(asked: Asked) -> None:
    if not asked.network:
        raise SkippedError(_REASON)


@check(
    "N01",
    "socket buffers",
    NET + "core/{r,w}mem_max",
    "what adapters ask for, 8 MiB at least",
    "allow larger buffers",
    remedies=lambda _: (
        *sysctl("net.core.rmem_max", str(BUFFER_BYTES))(_),
        *sysctl("net.core.wmem_max", str(BUFFER_BYTES))(_),
    ),
    profiles=EVERY,
    reference="socket(7); Aeron: media driver settings",
)
def _buffers(look: Look, asked: Asked) -> Verdict:
    _used(asked)
    read, write = look.number(NET + "core/rmem_max"), look.number(NET + "core/wmem_max")
    need = max(asked.receive_buffer_bytes, BUFFER_BYTES)
    return judge(min(read, write) >= need, f"rmem_max {read}, wmem_max {write}", f"{need} wanted")


@check(
    "N02",
    "queues of incoming packets and connections",
    NET + "core/{netdev_max_backlog,somaxconn}, ipv4/tcp_max_syn_backlog",
    f"at least {BACKLOG_MIN} each",
    "allow longer queues",
    remedies=lambda _: (
        *sysctl("net.core.netdev_max_backlog", str(BACKLOG_MIN))(_),
        *sysctl("net.core.somaxconn", str(BACKLOG_MIN))(_),
        *sysctl("net.ipv4.tcp_max_syn_backlog", str(BACKLOG_MIN))(_),
    ),
    reference="rpk: net tuner; seastar perftune",
)
def _backlogs(look: Look, asked: Asked) -> Verdict:
    _used(asked)
    names = ("core/netdev_max_backlog", "core/somaxconn", "ipv4/tcp_max_syn_backlog")
    found = {name.partition("/")[2]: look.number(NET + name) for name in names}
    observed = ", ".join(f"{name} {value}" for name, value in found.items())
    return judge(min(found.values()) >= BACKLOG_MIN, observed)


@check(
    "N03",
    "sockets poll their card",
    NET + "core/busy_{poll,read}",
    "50 us",
    "poll the card before sleeping",
    remedies=lambda _: (
        *sysctl("net.core.busy_poll", "50")(_),
        *sysctl("net.core.busy_read", "50")(_),
    ),
    reference="tuned: network-latency",
)
def _busy(look: Look, asked: Asked) -> Verdict:
    _used(asked)
    poll, read = look.number(NET + "core/busy_poll"), look.number(NET + "core/busy_read")
    return judge(poll > 0 and read > 0, f"busy_poll {poll}, busy_read {read}")


@check(
    "N04",
    "no packet is dropped",
    "/sys/class/net/*/statistics/rx_{dropped,missed_errors}",
    "no count grows",
    "longer rings of the card, larger socket buffers",
    remedies=command("ethtool -G DEVICE rx 4096"),
    profiles=EVERY,
    reference="kernel: networking/statistics; Aeron",
    cost="probe",
)
def _drops(look: Look, asked: Asked) -> Verdict:
    _used(asked)

    def read(view: Look) -> dict[str, int]:
        found = {}
        for kind in ("rx_dropped", "rx_missed_errors"):
            for name, text in view.values(f"/sys/class/net/*/statistics/{kind}").items():
                found[name] = int(text) if text.isdigit() else 0
        return found

    delta, probed = grown(look, read)
    total = sum(delta.values())
    for name, count in delta.items():
        if count:
            look.saw(name)
    return judge(not probed or not total, f"{total} {'over the probe' if probed else 'so far'}")


@check(
    "N05",
    "packets are handled on other CPUs",
    "/sys/class/net/*/queues/*/{rps_cpus,xps_cpus}",
    "none of the workers' CPUs",
    "write masks without the workers' CPUs",
    reference="kernel: networking/scaling; seastar perftune",
)
def _steering(look: Look, asked: Asked) -> Verdict:
    _used(asked)
    cpus = workers_cpus(asked)
    masks = look.values("/sys/class/net/*/queues/rx-*/rps_cpus")
    on = [name for name, text in masks.items() if shared(mask_cpus(text or "0"), cpus)]
    for name in on[:4]:
        look.saw(name, masks[name])
    return judge(not on, f"{len(on)} of {len(masks)} receive queues")


@check(
    "N06",
    "the card does not hold packets back",
    "ethtool -c",
    "rx-usecs 0 to 10",
    "lower the card's coalescing",
    remedies=command("ethtool -C DEVICE rx-usecs 0 adaptive-rx off"),
    reference="ethtool(8); tuned: network-latency",
    cost="tool",
)
def _coalescing(look: Look, asked: Asked) -> Verdict:
    _used(asked)
    said = []
    slow = False
    for name in look.root.names("/sys/class/net/*/device"):
        device = name.split("/")[4]
        text = look.kernel.tool("ethtool", "-c", device) or ""
        for line in text.splitlines():
            key, _, value = line.partition(":")
            if key == "rx-usecs" and value.strip().isdigit():
                said.append(f"{device} {value.strip()} us")
                slow |= int(value) > 10  # noqa: PLR2004
    if not said:
        raise SkippedError("no card says (or ethtool is not installed)")
    return judge(not slow, ", ".join(said))


@check(
    "N07",
    "frame size",
    "/sys/class/net/*/mtu",
    "the same on every card",
    "set one MTU on both ends of a link",
    profiles=(),
    reference="ip-link(8)",
)
def _mtu(look: Look, asked: Asked) -> Verdict:
    _used(asked)
    found = {name.split("/")[4]: text for name, text in look.values("/sys/class/net/*/mtu").items()}
    for name in list(found)[:4]:
        look.maybe(f"/sys/class/net/{name}/mtu")
    return good(", ".join(f"{name} {text}" for name, text in found.items()))


@check(
    "N08",
    "no datagram is lost in a full socket",
    "RcvbufErrors in /proc/net/snmp",
    "it does not grow",
    "larger socket buffers (N01)",
    remedies=sysctl("net.core.rmem_max", str(BUFFER_BYTES)),
    profiles=EVERY,
    reference="kernel: networking/snmp_counter; Aeron",
    cost="probe",
)
def _datagrams(look: Look, asked: Asked) -> Verdict:
    _used(asked)

    def read(view: Look) -> dict[str, int]:
        lines = [line for line in view.text("/proc/net/snmp").splitlines() if line[:4] == "Udp:"]
        if len(lines) < 2:  # noqa: PLR2004
            raise SkippedError("/proc/net/snmp has no line Udp:")
        pairs = dict(zip(lines[0].split()[1:], lines[1].split()[1:], strict=False))
        return {"RcvbufErrors": int(pairs.get("RcvbufErrors", 0))}

    delta, probed = grown(look, read)
    count = delta["RcvbufErrors"]
    return judge(not probed or not count, f"{count} {'over the probe' if probed else 'so far'}")


@check(
    "N09",
    "multicast",
    "/proc/net/igmp, " + NET + "ipv4/conf/all/rp_filter",
    "reported; rp_filter loose (2) or off where feeds come by another card",
    "loosen the reverse path filter",
    remedies=sysctl("net.ipv4.conf.all.rp_filter", "2"),
    profiles=(),
    reference="kernel: networking/ip-sysctl (rp_filter)",
)
def _multicast(look: Look, asked: Asked) -> Verdict:
    _used(asked)
    strict = look.number(NET + "ipv4/conf/all/rp_filter")
    groups = look.text("/proc/net/igmp").count("\n\t\t\t\t")
    return good(f"rp_filter {strict}, {groups} groups joined")


@check(
    "N10",
    "no more queues than CPUs for them",
    "/sys/class/net/*/queues/rx-*",
    "at most as many as CPUs are left to everything else",
    "fewer channels of the card",
    remedies=command("ethtool -L DEVICE combined N"),
    reference="tuned; seastar perftune; ethtool(8)",
)
def _queues(look: Look, asked: Asked) -> Verdict:
    _used(asked)
    workers_cpus(asked)
    counts: dict[str, int] = {}
    for name in look.names("/sys/class/net/*/queues/rx-*"):
        device = name.split("/")[4]
        if look.root.exists(f"/sys/class/net/{device}/device"):
            counts[device] = counts.get(device, 0) + 1
    rest = max(1, len(asked.housekeeping))
    many = [name for name, count in counts.items() if count > rest]
    observed = ", ".join(f"{name} {count}" for name, count in counts.items()) or "no card"
    return judge(not many, observed, f"{rest} CPUs are left for them")
