"""Opens a data protection stage in a worker: schemas of the plan, the key from its secret.

The key lives in this process and in the native instance alone.
"""

from __future__ import annotations

from byteord._cext.stages import StageHandle, open_builtin
from byteord.deployment.plan import RolePlan, RunPlan
from byteord.errors import StageError
from byteord.secret_files import read_secret
from byteord.stages.guard.bind import bind, native_config, texts_of
from byteord.stages.guard.config import rules_of
from byteord.stages.guard.registry import parse_registry


def open_guard(role: RolePlan, plan: RunPlan, payload_max: int) -> StageHandle:
    """Open the stage of `role`; the caller closes the handle.

    What validation has checked is checked again. StageError with the reason of the first problem;
    NotFoundError or DeniedError of the secret.
    """
    registry = parse_registry(
        (f"{index} of the plan", text.encode()) for index, text in enumerate(plan.schemas)
    )
    schemas, problems = bind(
        role.config, registry, has_key=bool(plan.hash_key), payload_max=payload_max
    )
    if problems:
        first = problems[0]
        raise StageError(
            f"stage {role.name!r}: {first.key}: {first.seen}; wanted {first.wanted}; {first.fix}",
            reason=first.code,
            details={"stage": role.name},
        )
    hashes = any(rule.action == "hash" for rule in rules_of(texts_of(role.config)))
    key = read_secret(plan.hash_key, plan.secrets_dir) if hashes else b""
    return open_builtin(role.stage, native_config(role.config, schemas, key), payload_max)
