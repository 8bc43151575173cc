"""The readers of documents and their validation under damaged input.

`atheris` can drive the same target: `atheris.Setup(sys.argv, target)`.
"""

from __future__ import annotations

from random import Random

import pytest

from byteord.spec.document import Source
from tests.fuzz.mutation import corpus, mutations
from tests.unit.spec.documents import SPEC, check

TOKENS = (
    b"=", b'"', b"'", b"[", b"]", b"[[", b"]]", b"{", b"}", b".", b",", b"#", b"\n", b"\r\n", b"\0",
    b"\xff", b"\xc3\xa9", b'"""', b"'''", b"\\u0000", b"true", b"-0", b"1e999", b"9" * 40, b"[]",
    b"stages.0.", b"config.", b"secret:x", b"python:", b"1979-05-27", b"\xef\xbb\xbf", b"0x", b" ",
)  # fmt: skip
SECONDS = 2.0


def target(data: bytes) -> None:
    """Validate arbitrary bytes as spec and as deployment: findings are fine, exceptions are not."""
    for form in ("toml", "kv", ""):
        report = check(Source("", data, form), Source("", data, form))
        assert report.ok is (report.spec is not None and report.deployment is not None)
        if report.spec is not None:
            assert check(report.spec_kv).spec_kv == report.spec_kv
        as_deployment = check(SPEC, Source("", data, form)).deployment
        if as_deployment is not None:
            again = check(SPEC, as_deployment.kv).deployment
            assert again is not None
            assert again.kv == as_deployment.kv


@pytest.mark.timeout(60)
def test_damaged_documents_are_reported_never_raised() -> None:
    """Damaged specs and deployments give findings or documents whose canonical form is stable."""
    seed = Random().randrange(1 << 32)
    for data in mutations(corpus("documents"), TOKENS, Random(seed), seconds=SECONDS):
        try:
            target(data)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {data!r}") from error
