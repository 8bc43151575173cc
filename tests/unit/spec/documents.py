"""Documents and catalogues that the document tests share.

The catalogues here are small, complete implementations of the seams, so that these tests hold
whatever stages and adapters a build has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from byteord.deployment.model import (
    AdapterInfo,
    Authority,
    Dataguard,
    DocumentFiles,
    HostFacts,
    SchemaFile,
)
from byteord.deployment.validate import Report, validate
from byteord.errors import NotFoundError
from byteord.spec.document import Source
from byteord.spec.findings import Finding, Severity
from byteord.spec.model import (
    ByteRange,
    ConfigKey,
    ConfigProblem,
    Scalar,
    Stage,
    StageInfo,
    StateKind,
)

SPEC = """\
name = "orders"
model = "single_ring"

[[stages]]
name = "keep"
stage = "keep"
config.value = 84

[[endpoints]]
name = "in"
kind = "ingress"

[[endpoints]]
name = "out"
kind = "egress"
"""
"""The smallest whole spec; the stage is on lines 4 to 7."""

ENDS = SPEC[SPEC.index("[[endpoints]]") :]
HEAD = 'name = "orders"\nmodel = "single_ring"\n'

DEPLOYMENT = """\
[adapters.in]
kind = "box"
path = "/data/in"

[adapters.out]
kind = "box"
path = "/data/out"
"""

HOST = HostFacts(
    cpus_online=(0, 1, 2, 3, 4, 5, 6, 7),
    cpus_allowed=(0, 1, 2, 3),
    physical_cores=((0, 4), (1, 5), (2, 6), (3, 7)),
    shm_free_bytes=1 << 30,
    memory_available_bytes=1 << 30,
    membarrier=True,
    clock="tsc",
)
AUTHORITY = Authority(
    code_dirs=("/code",),
    read_dirs=("/data",),
    write_dirs=("/data",),
    listen=("127.0.0.1:*", "unix:/run/feeds"),
    connect=("*:9000",),
)


def stages_spec(*stages: str, ring: str = "") -> str:
    """Return a spec with these stage tables (without their headers) and this ring table."""
    tables = "".join(f"\n[[stages]]\n{stage}\n" for stage in stages)
    return f"{HEAD}\n[ring]\n{ring}\n{tables}\n{ENDS}"


class Stages:
    """A stage catalogue with one stage of each trait."""

    def names(self) -> list[str]:
        """Return the names."""
        return ["keep", "look", "scrub", "trim"]

    def info(self, name: str) -> StageInfo | None:
        """Return what is known of a stage."""
        return self.configured(name, {}, 240) if name in self.names() else None

    def configured(self, name: str, config: Mapping[str, Scalar], payload_max: int) -> StageInfo:
        """Return what a stage does: `keep` drops, `scrub` changes `config.at`, `trim` resizes."""
        del payload_max
        at = config.get("at", 0)
        keys = {
            "keep": (
                ConfigKey("value", "integer", "what the first byte is", required=True),
                ConfigKey("field", "string", "which field", default="first"),
                ConfigKey("odd", "boolean", "odd ones only", default=False),
            ),
            "scrub": (ConfigKey("at", "integer", "where", default=0),),
        }.get(name, ())
        return StageInfo(
            name,
            f"the stage {name}",
            keys,
            mutates=(ByteRange(int(at), 4),) if name == "scrub" else (),
            drops=name == "keep",
            resizes=name == "trim",
            state=StateKind.STATELESS,
        )

    def check(
        self, name: str, config: Mapping[str, Scalar], payload_max: int
    ) -> list[ConfigProblem]:
        """Return unknown, missing and mistyped keys."""
        del payload_max
        info = self.info(name)
        assert info is not None
        return _check("STAGE_CONFIG_UNKNOWN_KEY", info.keys, config)


class NoFiles:
    """Files of deployments, none of which is there."""

    def schemas(self, paths: Sequence[str]) -> tuple[SchemaFile, ...]:
        """Find none of the files."""
        if paths:
            raise NotFoundError(f"path {paths[0]}: there is no such file")
        return ()

    def certificates(self, path: str) -> SchemaFile:
        """Find none."""
        raise NotFoundError(f"path {path}: there is no such file")

    def misfits(self, stage: Stage, dataguard: Dataguard, payload_max: int) -> list[ConfigProblem]:
        """Find nothing."""
        del stage, dataguard, payload_max
        return []


@dataclass(frozen=True)
class Needs:
    """What an adapter of the tests wants of the host."""

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    listens: tuple[str, ...] = ()
    connects: tuple[str, ...] = ()


_FRAMING = ConfigKey("framing", "string", "cut", default="lines", choices=("lines", "fixed"))
_PATH = ConfigKey("path", "string", "the file", required=True)
_ADDRESS = ConfigKey("address", "string", "the address", required=True)
_ADAPTERS = {
    "stream": AdapterInfo("stream", "the client", True, True, (_FRAMING,), True, True),
    "stdin": AdapterInfo("stdin", "its input", True, False, (_FRAMING,), True, True),
    "stdout": AdapterInfo("stdout", "its output", False, True, (_FRAMING,), True, True),
    "box": AdapterInfo("box", "a file", True, True, (_PATH, _FRAMING), True, True),
    "file": AdapterInfo("file", "a file that counts", True, True, (_PATH,), True, False),
    "client": AdapterInfo("client", "a process of its own", True, True, (), True, False),
    "ear": AdapterInfo("ear", "a listening socket", True, False, (_ADDRESS,), False, False),
    "mouth": AdapterInfo("mouth", "a sending socket", False, True, (_ADDRESS,), False, False),
}


class Adapters:
    """An adapter catalogue with a file, sockets and the client's streams."""

    def kinds(self) -> list[str]:
        """Return the kinds."""
        return list(_ADAPTERS)

    def info(self, kind: str) -> AdapterInfo | None:
        """Return what is known of a kind."""
        return _ADAPTERS.get(kind)

    def check(
        self, kind: str, options: Mapping[str, Scalar], *, ingress: bool, payload_max: int
    ) -> list[ConfigProblem]:
        """Return unknown, missing and mistyped options."""
        del ingress, payload_max
        return _check("ADAPTER_OPTION_UNKNOWN", _ADAPTERS[kind].keys, options)

    def needs(self, kind: str, options: Mapping[str, Scalar], *, ingress: bool) -> Needs:
        """Return the path or the address."""
        where = (str(options.get("path", options.get("address", ""))),)
        if kind == "box":
            return Needs(reads=where) if ingress else Needs(writes=where)
        if kind == "ear":
            return Needs(listens=where)
        return Needs(connects=where) if kind == "mouth" else Needs()

    def as_stream(
        self, kind: str, options: Mapping[str, Scalar], *, ingress: bool
    ) -> dict[str, Scalar]:
        """Keep the framing."""
        del kind, ingress
        return {key: value for key, value in options.items() if key == "framing"}


_TYPES: dict[str, type] = {"integer": int, "string": str, "boolean": bool}


def _check(
    unknown: str, keys: tuple[ConfigKey, ...], config: Mapping[str, Scalar]
) -> list[ConfigProblem]:
    known = {key.name: key for key in keys}
    problems = [
        ConfigProblem(name, unknown, name, "a known key", "delete it")
        for name in config
        if name not in known
    ]
    for key in keys:
        value = config.get(key.name)
        if value is None and key.required:
            problems.append(
                ConfigProblem(key.name, "STAGE_CONFIG_MISSING", "nothing", key.doc, "-")
            )
        elif value is not None and not _fits(value, key.type):
            problems.append(ConfigProblem(key.name, "STAGE_CONFIG_TYPE", str(value), key.type, "-"))
    return problems


def _fits(value: Scalar, kind: str) -> bool:
    """Tell whether a value is of its key's type; an integer may stand in quotes."""
    return type(value) is _TYPES[kind] or (kind == "integer" and str(value).isdecimal())


def check(
    spec: str | bytes | Source = SPEC,
    deployment: str | bytes | Source | None = None,
    *,
    authority: Authority = AUTHORITY,
    host: HostFacts | None = HOST,
    overrides: Mapping[str, str] | None = None,
    client_input: bool = False,
    client_output: bool = False,
    files: DocumentFiles | None = None,
    level: str = "host",
) -> Report:
    """Validate documents given as text against the catalogues of this module."""
    return validate(
        source(spec),
        None if deployment is None else source(deployment),
        authority=authority,
        stages=Stages(),
        adapters=Adapters(),
        host=host,
        overrides=overrides,
        client_input=client_input,
        client_output=client_output,
        files=files,
        level=level,
    )


def source(text: str | bytes | Source) -> Source:
    """Return a document without a name, whose format is to be told."""
    if isinstance(text, Source):
        return text
    return Source("", text.encode() if isinstance(text, str) else text)


def found(report: Report, code: str) -> list[Finding]:
    """Return the findings of one code."""
    return [finding for finding in report.findings if finding.code == code]


def errors(report: Report) -> list[str]:
    """Return the codes of all errors."""
    return [item.code for item in report.findings if item.severity is Severity.ERROR]


def narrowed(**limits: int) -> Authority:
    """Return the authority with other ceilings."""
    return replace(AUTHORITY, **limits)  # type: ignore[arg-type]
