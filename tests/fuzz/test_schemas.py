"""The reader of schema files, and the stages that work by them, under damaged input.

An input is a schema file, a NUL, and a message. `tests.fuzz.guided schemas` drives the same target.
"""

from __future__ import annotations

import contextlib
import json
from random import Random

import pytest

from byteord._cext.stages import Bench, open_builtin
from byteord.errors import InvalidDocumentError, StageError
from byteord.stages.guard.bind import bind, native_config
from byteord.stages.guard.config import STATE_BYTES
from byteord.stages.guard.registry import Schema, parse_registry
from tests.fuzz.mutation import mutations
from tests.support.guard import KEY, REGISTRY, RULES, config_of

MESSAGE = b'{"type":"login","version":3,"user":"u","ip":"10.0.0.1","port":1,"tags":[1,{}]}'
SEEDS = (
    REGISTRY + b"\0" + MESSAGE,
    REGISTRY + b"\0" + b'{"type":"open","version":1,"user":{"a":null},"extra":{}}',
    REGISTRY + b"\0" + b"\x83\xa4type\xa5login\xa7version\x03\xa4user\xa1u",
    b'[[schemas]]\nid="a"\nversion=1\nfields=[{name="x"}]\0{"type":"a","version":1}',
)
TOKENS = (
    b"[[schemas]]", b"id=", b'"', b"version = -1", b"minimum = 9", b"additional = true", b"{", b"}",
    b"name =", b"type =", b'"integer"', b"bytes = 3", b"\0", b"\xff", b"1e999", b"9" * 30,
    b"\xc1", b"\xdf\xff\xff\xff\xff", b'"user":', b'"version":3,',
)  # fmt: skip
SECONDS = 2.0
PAYLOAD_MAX = 1008


def target(data: bytes) -> None:
    """Read a schema file; work by it, or by the tests' own, on a message."""
    text, _, message = data.partition(b"\0")
    schemas: tuple[Schema, ...] = parse_registry([("own", REGISTRY)])
    with contextlib.suppress(InvalidDocumentError):
        schemas = parse_registry([("fuzz.toml", text)])
    for form in ("json", "msgpack"):
        _through(schemas, form, message[:PAYLOAD_MAX])


def _through(schemas: tuple[Schema, ...], form: str, message: bytes) -> None:
    config = config_of(RULES, on_reject="drop", format=form)
    bound, problems = bind(config, schemas, has_key=True, payload_max=PAYLOAD_MAX)
    if problems:
        return
    handle = open_builtin("dataguard_fused", native_config(config, bound, KEY), PAYLOAD_MAX)
    try:
        bench = Bench([message], PAYLOAD_MAX + 16, bytearray(STATE_BYTES))
        try:
            [left] = bench.process(handle.address)
        except StageError:
            return  # a message without a schema fails the stage
        if left is not None and form == "json":
            assert isinstance(json.loads(left), dict), left
    finally:
        handle.close()


@pytest.mark.timeout(60)
def test_damaged_schemas_and_messages_crash_nothing() -> None:
    """A damaged schema file is refused by name; a damaged message is dropped, or still one."""
    seed = Random().randrange(1 << 32)
    for data in mutations(SEEDS, TOKENS, Random(seed), seconds=SECONDS):
        try:
            target(data)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {data!r}") from error
