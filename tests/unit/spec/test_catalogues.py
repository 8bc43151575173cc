"""The documents with the real stages and adapters of this build."""

from __future__ import annotations

import pytest

from byteord.adapters.catalogue import CATALOGUE as ADAPTERS
from byteord.deployment.model import Authority
from byteord.deployment.validate import Report, validate
from byteord.spec import kv
from byteord.spec.codes import CATALOGUE_PREFIXES, LEVEL_OF
from byteord.spec.document import Source
from byteord.spec.findings import Severity
from byteord.stages.catalogue import CATALOGUE as STAGES
from tests.unit.spec.documents import SPEC, stages_spec

AUTHORITY = Authority(
    read_dirs=("/data",), write_dirs=("/data",), listen=("*:*",), connect=("*:*",)
)

SMALLEST = {
    "count": "",
    "crc32c": 'mode = "stamp"',
    "dataguard_check": "",
    "dataguard_fused": 'rules = ["user:hash", "ip:mask=1:2:="]',
    "dataguard_redact": 'format = "msgpack"\nrules = ["user:replace_with=a b"]',
    "dedupe": "",
    "filter": 'contains = "Failed password"',
    "identity": "",
    "rate_limit": "rate = 5",
    "sample": "every = 2",
    "select": "ranges = [{ offset = 0, length = 4 }, { offset = 8 }]",
}
"""A configuration of each built-in stage that has no errors."""


def _validate(spec: str, deployment: str | None = None, *, client: bool = False) -> Report:
    return validate(
        Source("spec", spec.encode()),
        None if deployment is None else Source("deployment", deployment.encode()),
        authority=AUTHORITY,
        stages=STAGES,
        adapters=ADAPTERS,
        client_input=client,
        client_output=client,
    )


def _stage(name: str, config: str) -> Report:
    return _validate(stages_spec(f'name = "s"\nstage = "{name}"\n[stages.config]\n{config}'))


def test_every_stage_has_an_example_here() -> None:
    """A new built-in stage gets its smallest configuration in this test."""
    assert set(SMALLEST) == set(STAGES.names())


@pytest.mark.parametrize("name", sorted(SMALLEST))
def test_each_stage_validates_and_reads_back(name: str) -> None:
    """Every built-in stage has a valid configuration whose canonical form gives the same spec."""
    report = _stage(name, SMALLEST[name])
    assert report.ok, report.findings
    assert report.spec is not None
    assert _validate(report.spec_kv.decode()).spec == report.spec


@pytest.mark.parametrize("name", sorted(SMALLEST))
def test_a_default_spelled_out_changes_nothing(name: str) -> None:
    """Where a default may be written, writing it gives the same hash as leaving it out."""
    plain = _stage(name, SMALLEST[name])
    info = STAGES.info(name)
    assert info is not None
    assert plain.spec is not None
    for key in info.keys:
        if key.default is None or "*" in key.name:
            continue
        text = (
            kv.write_value(key.default) if not isinstance(key.default, str) else f'"{key.default}"'
        )
        spelled = _stage(name, f"{SMALLEST[name]}\n{key.name} = {text}")
        if spelled.ok:
            assert spelled.spec_kv == plain.spec_kv, key.name
            assert dict(plain.spec.stages[0].config)[key.name] == key.default


def test_spellings_of_one_configuration_share_a_hash() -> None:
    """Digits with and without quotes, fractions with and without zeros, are one configuration."""
    for name, spellings in (
        ("filter", ("offset = 0\nvalue = 84", 'offset = "0"\nvalue = "84"')),
        ("filter", ("equals = 42", 'equals = "42"')),
        ("sample", ("fraction = 0.5", 'fraction = "0.50"')),
        ("sample", ("fraction = 1.0", "fraction = 1")),
        ("filter", ('contains = "Failed"', 'contains = "hex:4661696C6564"')),
        ("filter", ('equals = "hex:FF00"', 'equals = "hex:ff00"')),
    ):
        texts = {_stage(name, spelling).spec_kv for spelling in spellings}
        assert len(texts) == 1, (name, texts)
        assert texts != {b""}


@pytest.mark.parametrize(
    "spellings",
    [
        ("connect_timeout = 10", 'connect_timeout = "10s"', 'connect_timeout = "10000 ms"', ""),
        ("connect_timeout = 0.5", 'connect_timeout = "500ms"', 'connect_timeout = "0.50 s"'),
        ("send_buffer = 1048576", 'send_buffer = "1 MiB"', 'send_buffer = "1024KiB"'),
        ('delimiter = "\\n"', 'delimiter = "hex:0A"', ""),
    ],
)
def test_quantities_are_hashed_as_what_they_mean(spellings: tuple[str, ...]) -> None:
    """Sizes, durations and byte strings: one deployment_sha256 however they are spelled."""
    head = '[adapters.in]\nkind = "stdin"\n[adapters.out]\nkind = "tcp"\nconnect = "127.0.0.1:9"\n'
    spec = stages_spec('name = "s"\nstage = "identity"')
    made = [_validate(spec, f"{head}framing = 'lines'\n{text}\n") for text in spellings]
    hashes = {report.deployment.sha256 for report in made if report.deployment}
    assert len(hashes) == 1, [report.findings for report in made]
    assert all(report.ok for report in made), made[0].findings


def test_what_a_stage_does_comes_from_the_catalogue() -> None:
    """A filter drops, a selection resizes, whatever the spec leaves unsaid."""
    keep = _stage("filter", SMALLEST["filter"]).spec
    cut = _stage("select", SMALLEST["select"]).spec
    assert keep is not None
    assert cut is not None
    assert keep.stages[0].drops
    assert cut.stages[0].resizes
    assert keep.stages[0].deterministic
    assert keep.stages[0].effects == ()


def test_catalogue_problems_have_codes_of_their_own() -> None:
    """Problems of a configuration carry a prefix that is published, and stand at their key."""
    report = _stage("filter", 'value = "x"\nwidth = 3\nop = "near"')
    codes = {item.code for item in report.findings}
    assert codes
    assert all(code.startswith(CATALOGUE_PREFIXES) or code in LEVEL_OF for code in codes)
    assert {item.path for item in report.findings} == {
        "stages.0.config.value",
        "stages.0.config.width",
        "stages.0.config.op",
    }
    assert all(item.line for item in report.findings)


def test_an_unknown_option_or_key_is_a_warning_in_dev() -> None:
    """Unknown keys of both catalogues are recognised as such."""
    stage = _stage("identity", "x = 1")
    assert stage.ok
    assert [item.severity for item in stage.findings] == [Severity.WARNING]
    adapter = _validate(
        stages_spec('name = "s"\nstage = "identity"'),
        '[adapters.in]\nkind = "stdin"\nframming = "lines"\n[adapters.out]\nkind = "discard"\n',
    )
    assert adapter.ok
    assert [item.severity for item in adapter.findings] == [Severity.WARNING]


@pytest.mark.parametrize(
    ("ingress", "egress"),
    [
        ('kind = "file"\npath = "/data/in"', 'kind = "file"\npath = "/data/out"'),
        (
            'kind = "file"\npath = "/data/in"\nframing = "fixed"\nrecord_bytes = 56',
            'kind = "file"\npath = "/data/out"\nmode = "append"',
        ),
        ('kind = "generator"\ncount = 10\nsize = "48"', 'kind = "discard"'),
        ('kind = "stdin"\nframing = "length_prefixed"', 'kind = "stdout"\nframing = "fixed"'),
        ('kind = "client"', 'kind = "client"'),
    ],
)
def test_adapters_read_back(ingress: str, egress: str) -> None:
    """A deployment with real adapters has a canonical form that gives the same deployment."""
    spec = stages_spec('name = "s"\nstage = "identity"')
    report = _validate(spec, f"[adapters.in]\n{ingress}\n[adapters.out]\n{egress}\n")
    assert report.deployment is not None, report.findings
    again = _validate(spec, report.deployment.kv.decode())
    assert again.deployment == report.deployment


def test_client_streams_keep_the_framing_of_a_file() -> None:
    """`--input` of a pipeline that reads fixed records from a file reads fixed records."""
    report = _validate(
        stages_spec('name = "s"\nstage = "identity"'),
        '[adapters.in]\nkind = "file"\npath = "/nowhere/x"\nframing = "fixed"\nrecord_bytes = 56\n'
        '[adapters.out]\nkind = "file"\npath = "/nowhere/y"\n',
        client=True,
    )
    assert report.deployment is not None, report.findings
    options = report.deployment.adapters["in"].options
    assert report.deployment.adapters["in"].kind == "stream"
    assert (options["framing"], options["record_bytes"]) == ("fixed", 56)
    assert report.deployment.adapters["out"].options["framing"] == "lines"


def test_a_file_outside_the_allowed_directories_is_denied() -> None:
    """What a real file adapter would open is held against the daemon's directories."""
    report = _validate(
        stages_spec('name = "s"\nstage = "identity"'),
        '[adapters.in]\nkind = "file"\npath = "/etc/passwd"\n[adapters.out]\nkind = "discard"\n',
    )
    assert [(item.code, item.path) for item in report.findings] == [
        ("POLICY_PATH_DENIED", "adapters.in.path")
    ]


def test_the_small_catalogue_of_the_tests_is_not_used_here() -> None:
    """A stage that only the other tests know is unknown to the build."""
    assert [item.code for item in _validate(SPEC).findings] == ["SPEC_STAGE_UNKNOWN"]
