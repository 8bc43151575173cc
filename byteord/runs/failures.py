"""From the failure of a run to the error for whoever waits for it. Pure."""

from __future__ import annotations

from byteord import errors
from byteord.runs.state import RunState
from byteord.runs.view import FailureView, RunView

_BY_REASON: dict[str, type[errors.ByteorError]] = {
    each.reason: each
    for each in (
        errors.DataError,
        errors.NotFoundError,
        errors.AlreadyExistsError,
        errors.DeniedError,
        errors.ResourceError,
        errors.DeadlineError,
        errors.RegionError,
    )
}
_BY_PREFIX: tuple[tuple[str, type[errors.ByteorError]], ...] = (
    ("STAGE_", errors.StageError),
    ("ADAPTER_", errors.AdapterError),
    ("SHM_", errors.ResourceError),
    ("CLIENT_", errors.UnavailableError),
    ("SHIM_", errors.UnavailableError),
    ("TUNING_", errors.WrongStateError),
)


def failure_error(failure: FailureView, *, run_id: str, kind: str = "") -> errors.ByteorError:
    """Return the error that names a failure.

    `kind` is that of the failed role, for reasons of no family.
    """
    details = {
        "run": run_id,
        "role": failure.role,
        "stage": failure.stage,
        "message_sha256": failure.message_sha256,
    }
    if failure.sequence is not None:
        details["sequence"] = str(failure.sequence)
    return _class_of(failure.reason, kind)(
        _sentence(failure),
        reason=failure.reason,
        details={key: value for key, value in details.items() if value},
    )


def run_error(view: RunView) -> errors.ByteorError | None:
    """Return the error for someone who waited for more of a run that has ended so.

    None if it completed.
    """
    if view.state is RunState.FAILED:
        failure = view.failure or FailureView("RUN_FAILED", message="it does not say why")
        kinds = {role.name: role.kind for role in view.roles}
        return failure_error(failure, run_id=view.id, kind=kinds.get(failure.role, ""))
    if view.state is RunState.STOPPED:
        return errors.WrongStateError(
            f"the run {view.id} ({view.name}) was stopped", reason="RUN_STOPPED"
        )
    return None


def _class_of(reason: str, kind: str) -> type[errors.ByteorError]:
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    for prefix, each in _BY_PREFIX:
        if reason.startswith(prefix):
            return each
    if kind == "stage":
        return errors.StageError
    return errors.AdapterError if kind in ("ingress", "egress") else errors.WrongStateError


def _sentence(failure: FailureView) -> str:
    if not failure.role:
        return failure.message
    where = f" at sequence {failure.sequence}" if failure.sequence is not None else ""
    stage = f" ({failure.stage})" if failure.stage and failure.stage != failure.role else ""
    return f"{failure.role}{stage} failed{where}: {failure.message}"
