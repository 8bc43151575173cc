"""Host tuning as a record that can be undone: check, write down, apply, check again, roll back.

Owns what `byteor-tune` does: sysctl keys and files of `/sys`, nothing else. Boot arguments, units
and commands stay with the operator. The daemon never calls this. Every value is written down,
durably, before it is changed, and goes back only if it is still the one that was set here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from byteord.doctor.model import Asked, Remedy, Report
from byteord.doctor.registry import CHECKS
from byteord.doctor.run import run_checks
from byteord.errors import DataError
from byteord.tuning.root import HostRoot

VERSION = 1
RECORD = "/var/lib/byteor-tune/record.json"
_RATIOS = {
    "/proc/sys/vm/dirty_bytes": "/proc/sys/vm/dirty_ratio",
    "/proc/sys/vm/dirty_background_bytes": "/proc/sys/vm/dirty_background_ratio",
}
"""Keys that cannot be set back to 0: writing the other of the pair does that."""
BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class Setting:
    """One file of the host: what was found in it and what was set."""

    path: str
    found: str
    set: str
    code: str
    """Check that asked for it."""
    back: str = ""
    """File that `found` was read from and goes back to; empty: `path` itself."""


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that was changed since the host started."""

    boot_id: str
    profile: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to one setting."""

    setting: Setting
    state: str
    """`applied`, `refused`, `restored`, `changed_since` or `gone`."""
    reason: str = ""


def check(asked: Asked, root: HostRoot) -> Report:
    """Return what doctor says; nothing is changed."""
    return run_checks(CHECKS, asked, root)


def planned(report: Report, root: HostRoot) -> tuple[Setting, ...]:
    """Return the files that would be written: of each path the first check's, and existing ones."""
    found: dict[str, Setting] = {}
    for result in report.checks:
        for remedy in result.remedies:
            for path in _paths(remedy, root):
                setting = _setting(path, remedy.value, result.code, root)
                if setting is not None and path not in found:
                    found[path] = setting
    return tuple(found.values())


def apply(
    settings: Iterable[Setting], profile: str, root: HostRoot, record: str = RECORD
) -> tuple[Outcome, ...]:
    """Write settings down, then set them; what was found before an earlier run stays what it was.

    Raises DataError when the record cannot be read, OSError when it cannot be written: nothing has
    been changed then.
    """
    boot_id = (root.text(BOOT_ID) or "").strip()
    before = load(root, record)
    kept = {each.path: each for each in before.settings} if before else {}
    if before and before.boot_id != boot_id:
        kept = {}
    wanted = tuple(settings)
    for each in wanted:
        first = kept.get(each.path)
        kept[each.path] = replace(each, found=first.found, back=first.back) if first else each
    _save(Record(boot_id, profile, tuple(kept.values())), root, record)
    return tuple(_set(each, each.set, root, "applied") for each in wanted)


def roll_back(root: HostRoot, record: str = RECORD) -> tuple[Outcome, ...]:
    """Put back what was found, newest first, and forget it; what failed stays in the record.

    Raises DataError when the record cannot be read.
    """
    known = load(root, record)
    if known is None:
        return ()
    if known.boot_id != (root.text(BOOT_ID) or "").strip():
        _forget(root, record)
        return tuple(
            Outcome(each, "gone", "the host has started anew since") for each in known.settings
        )
    outcomes = tuple(_restore(each, root) for each in reversed(known.settings))
    stuck = tuple(each.setting for each in outcomes if each.state == "refused")
    if stuck:
        _save(replace(known, settings=tuple(reversed(stuck))), root, record)
    else:
        _forget(root, record)
    return outcomes


def load(root: HostRoot, record: str = RECORD) -> Record | None:
    """Return the record; None when there is none. Raises DataError when it cannot be understood."""
    text = root.text(record)
    if text is None:
        if root.missing(record) == "absent":
            return None
        raise DataError(f"{record}: {root.missing(record)}; wanted a record of byteor-tune")
    try:
        raw = json.loads(text)
        if raw["version"] != VERSION:
            raise DataError(f"{record}: version {raw['version']}; this byteor reads {VERSION}")
        settings = tuple(Setting(**each) for each in raw["settings"])
        return Record(raw["boot_id"], raw["profile"], settings)
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{record}: not a record of byteor-tune ({error}); put the values back by hand, then "
            "remove it"
        ) from error


def _paths(remedy: Remedy, root: HostRoot) -> Sequence[str]:
    if remedy.kind == "sysctl":
        return (f"/proc/sys/{remedy.name.replace('.', '/')}",)
    if remedy.kind != "sysfs":
        return ()
    return root.names(remedy.name) if "*" in remedy.name else (remedy.name,)


def _value(text: str) -> str:
    """Return what has to be written to get a file back: the chosen word where it shows all."""
    return text.partition("[")[2].partition("]")[0] or text.strip()


def _setting(path: str, value: str, code: str, root: HostRoot) -> Setting | None:
    """Return what to set; None: the file is not here, or holds the value."""
    text = root.text(path)
    if text is None or _same(_value(text), value):
        return None
    ratio = _RATIOS.get(path, "")
    if ratio and _value(text) == "0":
        return Setting(path, _value(root.text(ratio) or "0"), value, code, ratio)
    return Setting(path, _value(text), value, code)


def _restore(setting: Setting, root: HostRoot) -> Outcome:
    text = root.text(setting.path)
    if text is None:
        return Outcome(setting, "gone", "the file is not here any more")
    if not _same(_value(text), setting.set):
        return Outcome(setting, "changed_since", f"now {_value(text)!r}: left as it is")
    return _set(setting, setting.found, root, "restored", setting.back)


def _set(setting: Setting, value: str, root: HostRoot, state: str, path: str = "") -> Outcome:
    path = path or setting.path
    try:
        descriptor = os.open(root.path(path), os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{value}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        return Outcome(setting, "refused", str(error.strerror))
    seen = _value(root.text(path) or "")
    if not _same(seen, value):
        return Outcome(setting, "refused", f"the kernel keeps {seen!r}")
    return Outcome(setting, state)


def _same(seen: str, wanted: str) -> bool:
    """Compare values as the kernel shows them: numbers and masks may come back in another form."""
    if seen == wanted:
        return True
    with suppress(ValueError):
        return int(seen.replace(",", ""), 16) == int(wanted.replace(",", ""), 16)
    return False


def _save(record: Record, root: HostRoot, path: str) -> None:
    target = root.path(path)
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    text = json.dumps({"version": VERSION, **asdict(record)}, indent=1)
    temporary = f"{target}.part"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, target)


def _forget(root: HostRoot, path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(root.path(path))
