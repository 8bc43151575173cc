"""Loading a Python stage: its module from the allowed directories, its context, its object.

Runs only inside a worker. Where the module may come from is `byteord.stages.source`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from byteord._cext.batch import PythonStage
from byteord.deployment.plan import RolePlan
from byteord.errors import StageError
from byteord.stages.source import import_code


class StageContext:
    """What a Python stage learns of where it runs; the first argument of its constructor."""

    def __init__(self, role: RolePlan, glue: PythonStage, seed: int) -> None:
        """Keep the role's plan and the glue that knows the batch in hand."""
        self.name = role.name
        self.shard = max(role.shard, 0)
        self.config: Mapping[str, Any] = dict(role.config)
        self.seed = seed
        """64 bits, others for each stage, shard and run; a replay gets those of its run."""
        self._private = role.state == "private"
        self._random: Random | None = None
        self._glue = glue

    @property
    def now_ns(self) -> int:
        """The run's clock at the start of the call, nanoseconds; 0 outside a call."""
        return self._glue.now_ns

    @property
    def random(self) -> Random:
        """The stage's own generator, seeded with `seed`: a replay draws what was drawn live.

        Only with `state = "private"`, which is what a generator is: how far it was drawn from dies
        with the process. Other stages draw from `seed` and what survives.
        """
        if not self._private:
            message = (
                f"stage {self.name}: ctx.random has a state of its own, which a restart loses; "
                'wanted state = "private" in the spec, or numbers drawn from ctx.seed and the '
                "sequence of a message"
            )
            raise StageError(message, reason="STAGE_INTERFACE")
        if self._random is None:
            self._random = Random(self.seed)  # noqa: S311  to be drawn again, not to be secret
        return self._random

    def state(self, dtype: Any = None) -> Any:
        """Return the stage's state, which lies in shared memory and survives the process.

        A memoryview of bytes, or with a dtype a writable NumPy array of as many items as fit. Valid
        inside the call only; ask again in the next one. Zero at first.
        """
        view = self._glue.state_view()
        if dtype is None:
            return view
        import numpy as np

        kind = np.dtype(dtype)
        return np.frombuffer(view, kind, count=len(view) // kind.itemsize)


def load(
    role: RolePlan, code_dirs: tuple[str, ...], *, seed: int = 0, shown: tuple[str, ...] = ()
) -> PythonStage:
    """Import, construct and bind the stage of a role; StageError with a reason when that fails.

    `seed`: what it draws from. `shown`: where the first of the directories was copied from, if it
    was.
    """
    _, module_name, class_name = role.stage.split(":", 2)
    glue = PythonStage(bool(role.mutates), role.drops, role.resizes)
    cls = _find_class(role, module_name, class_name, code_dirs, shown)
    try:
        instance = cls(StageContext(role, glue, seed), **_keywords(role.config))
    except Exception as error:
        message = (
            f"stage {role.name}: {role.stage} could not be constructed: "
            f"{type(error).__name__}: {error}"
        )
        raise StageError(message, reason="STAGE_CONSTRUCTION_FAILED") from error
    if not callable(getattr(instance, "process", None)):
        message = f"stage {role.name}: {role.stage} has no method process(batch)"
        raise StageError(message, reason="STAGE_INTERFACE")
    glue.bind(instance)
    return glue


def _keywords(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if "." not in key}


def _find_class(
    role: RolePlan,
    module_name: str,
    class_name: str,
    code_dirs: tuple[str, ...],
    shown: tuple[str, ...],
) -> Any:
    try:
        module = import_code(module_name, code_dirs, shown)
    except StageError as error:
        message = f"stage {role.name}: {error.message}"
        raise StageError(message, reason=error.reason, details=error.details) from error
    try:
        return getattr(module, class_name)
    except AttributeError:
        message = (
            f"stage {role.name}: module {module_name} ({module.__file__}) has no class {class_name}"
        )
        raise StageError(message, reason="STAGE_CLASS_NOT_FOUND") from None
