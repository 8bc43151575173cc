"""The published reference of every key and code, rendered from the tables that validation uses.

`python -m byteord.spec.reference` prints it; `REFERENCE.md` beside this module is its output and a
test holds the two together. Deployment and catalogues lie in layers above this one, so they are
imported by name when the page is made, never by anything that validates.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from byteord.spec import kv
from byteord.spec.codes import CODES
from byteord.spec.keys import SPEC_KEYS
from byteord.spec.lanegraph.keys import LANE_GRAPH_KEYS
from byteord.spec.model import ConfigKey
from byteord.spec.schema import TYPE_WORDS, Key

_HEAD = """\
# Reference: every key of specs and deployments

This page is made by `python -m byteord.spec.reference` from the tables that validation reads by.
In a key path `*` stands for the index of an array's element, `NAME` for the name of an endpoint or
a lane.
In TOML `stages.*.name` is `name` under `[[stages]]`; in KV it is `stages.0.name=...`.
"""

_MODELS = """\
A LaneGraph is written as `lanes`, `roles` and `endpoints`, or in shorthand as a `plan` of stages
and connections, from which lanes, bridges, routers and merges are made; `describe` shows them and
says why each was inserted. `spec_sha256` covers what was written.
"""

_CODES = """\
Problems of a stage's configuration have codes `STAGE_CONFIG_*`, those of an adapter's options
`ADAPTER_OPTION_*`.
"""

_CANONICAL = """\
## Canonical form

The canonical form of a document is KV with every default spelled out: what a document says is the
same whether it was written in TOML or KV and whether a default was written or left out, and so is
the SHA-256 of these bytes, `spec_sha256` and `deployment_sha256`. Endpoints are written ingress
first, byte ranges and effects sorted; sizes are bytes (`1 MiB` is `1048576`), durations whole
seconds or else `500ms`, byte strings text or else `hex:` and lower-case digits. What the catalogue
declares of a built-in stage (`mutates` to `effects`) is not written. A deployment's is the
effective one: flags (`--set`, `--input`, `--output`) applied.

"""


def render() -> str:
    """Return the whole reference as Markdown."""
    deployment = importlib.import_module("byteord.deployment.keys")
    stages = importlib.import_module("byteord.stages.catalogue").CATALOGUE
    adapters = importlib.import_module("byteord.adapters.catalogue").CATALOGUE
    parts = [
        _HEAD,
        "## Spec\n",
        _MODELS,
        '### `model = "single_ring"`\n',
        _keys(SPEC_KEYS),
        '### `model = "lane_graph"`\n',
        _keys(LANE_GRAPH_KEYS),
        "## Deployment\n",
        "`--set KEY=VALUE` overrides any of these, the value written as in KV.\n",
        _keys(deployment.DEPLOYMENT_KEYS),
        "## Built-in stages\n",
        "Keys of `[stages.config]`.\n",
        *(_stage(stages.info(name)) for name in sorted(stages.names())),
        "## Adapters\n",
        "Options stand beside `kind` in `[adapters.NAME]`.\n",
        *(_adapter(adapters.info(kind)) for kind in adapters.kinds()),
        _CANONICAL + "```text\n" + _grammar() + "\n```\n",
        "## Codes of findings\n",
        _CODES,
        _table(("code", "level", "meaning"), [(f"`{c.name}`", c.level, c.meaning) for c in CODES]),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _grammar() -> str:
    return inspect.cleandoc(kv.__doc__ or "").split("\n\n", 1)[1]


def _keys(keys: Iterable[Key]) -> str:
    rows = [(f"`{key.path}`", _type(key), _default(key), key.doc) for key in keys]
    return _table(("key", "type", "default", "meaning"), rows)


def _type(key: Key) -> str:
    if key.choices:
        words = ", ".join(f"`{choice}`" for choice in key.choices)
        return f"{words} or an array of CPUs" if key.type == "pin" else f"one of {words}"
    words = TYPE_WORDS[key.type].removeprefix("an ").removeprefix("a ")
    bounded = key.type == "integer" and key.minimum > -(1 << 62)
    return f"{words}, {key.minimum} to {key.maximum}" if bounded else words


def _default(key: Key) -> str:
    if key.required:
        return "required"
    if key.default_text:
        return key.default_text
    if key.default is None:
        return "none"
    return f"`{_value(key.default)}`"


def _value(value: Any) -> str:
    return kv.write_value(value) if value != "" else '""'


def _stage(info: Any) -> str:
    traits = [
        word
        for word, holds in (
            ("changes bytes", bool(info.mutates)),
            ("drops messages", info.drops),
            ("changes lengths", info.resizes),
            ("keeps state in shared memory", info.state == "state"),
        )
        if holds
    ]
    does = f" With its defaults it {' and '.join(traits)}." if traits else ""
    return f"### `{info.name}`\n\n{_sentence(info.summary)}{does}\n\n{_config(info.keys)}"


def _adapter(info: Any) -> str:
    ends = [end for end, holds in (("ingress", info.ingress), ("egress", info.egress)) if holds]
    traits = f"For {' and '.join(ends)}; {'finite' if info.finite else 'endless'} input, "
    resumes = "resumes" if info.resumable else "does not resume"
    head = f"### `{info.kind}`\n\n{_sentence(info.summary)} {traits}{resumes} after a restart."
    return f"{head}\n\n{_config(info.keys)}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _config(keys: Sequence[ConfigKey]) -> str:
    if not keys:
        return "It has no keys.\n"
    rows = [(f"`{key.name}`", _config_type(key), _config_default(key), key.doc) for key in keys]
    return _table(("key", "type", "default", "meaning"), rows)


def _config_type(key: ConfigKey) -> str:
    if key.choices:
        return "one of " + ", ".join(f"`{choice}`" for choice in key.choices)
    return key.type


def _config_default(key: ConfigKey) -> str:
    if key.required:
        return "required"
    return "none" if key.default is None else f"`{_value(key.default)}`"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(' --- ' for _ in head)}|"]
    lines.extend(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows)
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.stdout.write(render())
