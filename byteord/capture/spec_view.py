"""A spec as it may leave its host: what byteor knows the meaning of stays, free values do not.

Pure. Owns which values those are: names, numbers and words of the tables stay, and what a stage of
the catalogue declares; the configuration of users' stages and where an action goes to become
tokens, unless the deployment says by name what may leave.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from byteord.capture.redact import Redactor
from byteord.deployment.bundling import lets_leave
from byteord.spec.keys import SPEC_KEYS
from byteord.spec.lanegraph.keys import LANE_GRAPH_KEYS
from byteord.spec.model import Model, Scalar, StageCatalogue
from byteord.spec.schema import key_of
from byteord.spec.stage_key import tokened_key

_STAGE = re.compile(r"(stages|roles)\.([0-9]+)\.(stage|config\..+)\Z")


@dataclass(frozen=True, slots=True)
class SpecView:
    """A spec in canonical KV with tokens in it; `withheld` names what they stand for."""

    kv: bytes
    withheld: tuple[str, ...] = ()
    """`stages.NAME.config.KEY`, `stages.NAME.target`; in order, each once."""


NO_SPEC = SpecView(b"")


class SpecFilter:
    """Withholds free values of the spec of one bundle."""

    def __init__(
        self, redactor: Redactor, stages: StageCatalogue, allowed: Sequence[str] = ()
    ) -> None:
        """Keep the catalogue, and the patterns of what the deployment lets leave."""
        self._redactor, self._stages, self._allowed = redactor, stages, tuple(allowed)

    def spec(self, kv: bytes, flat: Mapping[str, Scalar]) -> SpecView:
        """Return canonical KV, of which `flat` are keys and values, with tokens in it.

        Lines that stay are the very same bytes.
        """
        if not flat:
            return SpecView(b"", ("spec.kv",))
        graph = flat.get("model") == Model.LANE_GRAPH
        table = LANE_GRAPH_KEYS if graph else SPEC_KEYS
        lines, withheld = [], []
        for line in kv.decode("ascii").removesuffix("\n").split("\n"):
            key = line.partition("=")[0]
            name, value = self._value(key, flat, table)
            lines.append(f"{key}={value}\n" if name else f"{line}\n")
            withheld += [name] if name else []
        return SpecView("".join(lines).encode("ascii"), tuple(dict.fromkeys(withheld)))

    def description(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Return a description of the spec with the same tokens in it."""
        stages = [self._described(each) for each in said.get("stages") or ()]
        return {**said, "stages": stages} if "stages" in said else dict(said)

    def _described(self, stage: Mapping[str, Any]) -> dict[str, Any]:
        name, key = str(stage.get("name")), str(stage.get("stage"))
        config = {
            option: self._token(value) if self._is_free(name, key, option) else value
            for option, value in (stage.get("config") or {}).items()
        }
        return {**stage, "stage": self._target(name, key)[1], "config": config}

    def _value(self, key: str, flat: Mapping[str, Scalar], table: Iterable[Any]) -> tuple[str, str]:
        """Return the name of what is withheld at a key and what stands there; empty: nothing is."""
        found = _STAGE.match(key)
        if found is None:
            known = key_of(table, key) is not None or f"{key}.0" in flat
            return ("", "") if known else (key, self._token(flat.get(key, "")))
        place = f"{found[1]}.{found[2]}"
        name, stage = str(flat.get(f"{place}.name", place)), str(flat.get(f"{place}.stage", ""))
        if found[3] == "stage":
            return self._target(name, stage)
        option = found[3].removeprefix("config.")
        if not self._is_free(name, stage, option):
            return "", ""
        return f"stages.{name}.config.{option}", self._token(flat.get(key, ""))

    def _is_free(self, name: str, stage: str, option: str) -> bool:
        """Tell whether only the stage itself knows what a value means, and nobody lets it leave."""
        info = None if ":" in stage else self._stages.info(stage)
        known = (row.name for row in info.keys) if info is not None else ()
        if any(option == row or _is_below(option, row) for row in known):
            return False
        return not lets_leave(self._allowed, f"stages.{name}.config.{option}")

    def _target(self, name: str, stage: str) -> tuple[str, str]:
        what, shown = f"stages.{name}.target", tokened_key(stage, self._redactor.token)
        if shown == stage or lets_leave(self._allowed, what):
            return "", stage
        return what, shown

    def _token(self, value: Scalar) -> str:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return self._redactor.token(text)


def _is_below(option: str, row: str) -> bool:
    return row.endswith(".*") and option.startswith(row[:-1])
