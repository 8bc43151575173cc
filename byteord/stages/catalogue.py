"""What byteor knows of its built-in stages: names, keys, problems of a configuration, effects.

Pure: it loads no native code and opens nothing, so validation may ask it about any document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from byteord.spec.model import (
    SLOT_BYTES_DEFAULT,
    SLOT_HEADER_BYTES,
    ConfigProblem,
    Scalar,
    StageInfo,
)
from byteord.stages.builtin import BUILTINS
from byteord.stages.declared import Builtin
from byteord.stages.reader import Reader


class Catalogue:
    """The built-in stages; implements `byteord.spec.model.StageCatalogue`."""

    def names(self) -> Sequence[str]:
        """Return the names of the built-in stages, in order."""
        return sorted(BUILTINS)

    def info(self, name: str) -> StageInfo | None:
        """Return what is known of a stage with default configuration and default slots, or None."""
        builtin = BUILTINS.get(name)
        return (
            None
            if builtin is None
            else _info(builtin, Reader({}, SLOT_BYTES_DEFAULT - SLOT_HEADER_BYTES))
        )

    def configured(self, name: str, config: Mapping[str, Scalar], payload_max: int) -> StageInfo:
        """Return exactly what a stage does with this valid configuration in such a ring."""
        return _info(BUILTINS[name], Reader(config, payload_max))

    def check(
        self, name: str, config: Mapping[str, Scalar], payload_max: int
    ) -> list[ConfigProblem]:
        """Return every problem of the configuration, each code beginning with `STAGE_CONFIG_`."""
        builtin, reader = BUILTINS[name], Reader(config, payload_max)
        reader.unknown(builtin.keys)
        builtin.configure(reader)
        return reader.problems


def _info(builtin: Builtin, reader: Reader) -> StageInfo:
    declared = builtin.configure(reader)
    return StageInfo(
        builtin.name,
        builtin.summary,
        builtin.keys,
        mutates=declared.mutates,
        drops=declared.drops,
        resizes=declared.resizes,
        state=declared.state,
        state_bytes=declared.state_bytes,
    )


CATALOGUE = Catalogue()
"""The one catalogue of built-in stages."""
