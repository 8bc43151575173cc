"""The catalogue: every option documented and checked, every problem with its code and fix."""

from __future__ import annotations

from typing import Any

import pytest

from byteord.adapters.catalogue import CATALOGUE
from byteord.adapters.kinds import KINDS
from byteord.deployment.model import AdapterCatalogue
from byteord.spec.model import ConfigProblem


def problems(kind: str, *, ingress: bool = True, **options: Any) -> list[ConfigProblem]:
    """Return the findings about an adapter."""
    return CATALOGUE.check(kind, options, ingress=ingress, payload_max=240)


def test_it_is_what_validation_expects() -> None:
    """The seam holds by type, and every kind describes itself."""
    catalogue: AdapterCatalogue = CATALOGUE
    for kind in catalogue.kinds():
        info = catalogue.info(kind)
        assert info is not None
        assert info.ingress or info.egress
        names = [key.name for key in info.keys]
        assert len(names) == len(set(names))
        assert all(key.doc and key.type for key in info.keys)
    assert catalogue.info("nothing") is None


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_default_is_accepted(kind: str) -> None:
    """What the reference shows as default can be written down as it stands."""
    for option in KINDS[kind].options:
        for ingress in (True, False):
            fits = KINDS[kind].ingress if ingress else KINDS[kind].egress
            if option.default is None or not fits or not option.at(ingress=ingress):
                continue
            found = problems(kind, ingress=ingress, **{option.name: option.default})
            assert [problem for problem in found if problem.key == option.name] == []


@pytest.mark.parametrize(
    ("kind", "ingress", "options", "key", "code", "fix"),
    [
        ("fil", True, {}, "kind", "KIND", 'write kind = "file"'),
        ("discard", True, {}, "kind", "END", "bind discard to an egress"),
        ("file", True, {}, "path", "MISSING", "add path = "),
        ("file", True, {"path": "a", "folow": True}, "folow", "UNKNOWN", "follow instead"),
        (
            "file",
            True,
            {"path": "a", "fsync": "end"},
            "fsync",
            "UNKNOWN",
            "fsync is for the egress",
        ),
        ("file", True, {"path": ""}, "path", "VALUE", "a text that is not empty"),
        ("file", True, {"path": "a\0b"}, "path", "VALUE", "without a null"),
        ("file", True, {"path": "a", "follow": "yes"}, "follow", "VALUE", "true or false"),
        ("file", True, {"path": "a", "framing": "line"}, "framing", "VALUE", "(lines?)"),
        (
            "file",
            True,
            {"path": "a", "framing": "fixed"},
            "record_bytes",
            "MISSING",
            "record_bytes",
        ),
        (
            "file",
            True,
            {"path": "a", "framing": "fixed", "record_bytes": 241},
            "record_bytes",
            "RANGE",
            "slot_bytes",
        ),
        ("file", True, {"path": "a", "length_bytes": 3}, "length_bytes", "VALUE", "1, 2, 4 or 8"),
        ("file", True, {"path": "a", "delimiter": "ab"}, "delimiter", "VALUE", "one byte"),
        ("file", False, {"path": "a", "mode": "replace"}, "mode", "VALUE", "truncate"),
        ("generator", True, {"count": -1}, "count", "VALUE", "at least 0"),
        ("generator", True, {"count": "9"}, "count", "VALUE", "without quotes"),
        ("generator", True, {"size": "64 apples"}, "size", "VALUE", "64KiB"),
        ("generator", True, {"size": 241}, "size", "RANGE", "slot_bytes"),
        ("generator", True, {"content": "checksummed", "size": 8}, "size", "RANGE", "size = 12"),
        ("udp", True, {"bind": "nowhere"}, "bind", "VALUE", "host:port"),
        ("udp", True, {"bind": "a:70000"}, "bind", "VALUE", "host:port"),
        ("udp", True, {"bind": "a:1", "group": "10.0.0.1"}, "group", "VALUE", "239.1.2.3"),
        ("udp", False, {}, "connect", "MISSING", "connect"),
        ("tcp", True, {}, "listen", "CONFLICT", "one of the two"),
        ("tcp", True, {"connect": "a:1", "peers": 2}, "peers", "CONFLICT", "listen"),
        (
            "tcp",
            True,
            {"connect": "a:1", "connect_timeout": "soon"},
            "connect_timeout",
            "VALUE",
            "10s",
        ),
        ("stream", True, {"port": 5}, "port", "CONFLICT", 'framing = "pcap"'),
        ("pcap", True, {"path": "a", "payload": "tcp"}, "payload", "VALUE", "udp, frame"),
        ("client", True, {"x": 1}, "x", "UNKNOWN", "remove it"),
    ],
)
def test_every_problem_names_its_key_and_fix(
    *, kind: str, ingress: bool, options: dict[str, Any], key: str, code: str, fix: str
) -> None:
    """One finding, with a stable code, what was seen and what to write instead."""
    found = problems(kind, ingress=ingress, **options)
    assert [(problem.key, problem.code) for problem in found] == [(key, f"ADAPTER_OPTION_{code}")]
    assert found[0].seen
    assert fix in f"{found[0].fix} {found[0].wanted}"


def test_all_problems_are_reported_at_once() -> None:
    """Not only the first."""
    found = problems("file", pth="x", follow=1, gzip="maybe")
    assert {problem.key for problem in found} == {"pth", "path", "follow", "gzip"}


def test_sizes_and_durations_take_units() -> None:
    """As people write them."""
    assert problems("generator", size="128", size_max="0.2KiB")[0].key == "size_max"
    assert problems("udp", bind="a:1", receive_buffer="4MiB") == []
    assert problems("tcp", connect="a:1", connect_timeout="1.5s") == []
    assert problems("tcp", connect="a:1", connect_timeout="11m")[0].wanted == "0.001 to 600 seconds"


def test_needs_name_what_the_host_must_allow() -> None:
    """Paths read and written, addresses bound and reached."""
    assert CATALOGUE.needs("file", {"path": "/a"}, ingress=True).reads == ("/a",)
    assert CATALOGUE.needs("pcap", {"path": "/a"}, ingress=True).reads == ("/a",)
    assert CATALOGUE.needs("file", {"path": "/a"}, ingress=False).writes == ("/a",)
    assert CATALOGUE.needs("udp", {"bind": "h:1"}, ingress=True).listens == ("h:1",)
    assert CATALOGUE.needs("udp", {"connect": "h:1"}, ingress=False).connects == ("h:1",)
    assert CATALOGUE.needs("tcp", {"listen": "h:1"}, ingress=False).listens == ("h:1",)
    assert CATALOGUE.needs("tcp", {"connect": "h:1"}, ingress=True).connects == ("h:1",)
    needs = CATALOGUE.needs("unix_dgram", {"path": "/s"}, ingress=True)
    assert (needs.listens, needs.reads) == (("unix:/s",), ())
    assert CATALOGUE.needs("unix_stream", {"connect": "/s"}, ingress=True).connects == ("unix:/s",)
    assert CATALOGUE.needs("nothing", {"path": 1}, ingress=True).reads == ()


def test_an_adapter_as_the_clients_stream() -> None:
    """The framing stays, the rest goes; a capture becomes framing pcap."""
    options: dict[str, Any] = {"path": "/a", "framing": "fixed", "record_bytes": 56, "follow": True}
    kept = CATALOGUE.as_stream("file", options, ingress=True)
    assert kept == {"framing": "fixed", "record_bytes": 56}
    kept = CATALOGUE.as_stream("pcap", {"path": "/a", "port": 9000}, ingress=True)
    assert kept == {"framing": "pcap", "port": 9000}
    assert CATALOGUE.check("stream", kept, ingress=True, payload_max=240) == []
    assert CATALOGUE.as_stream("udp", {"bind": "h:1"}, ingress=True) == {}
    assert CATALOGUE.as_stream("file", {"path": "a", "mode": "append"}, ingress=False) == {}
