"""A daemon's configuration as it applies, key by key: what its file says, defaults, options.

Owns the way back from a `Config` to the keys of its file. Pure.
"""

from __future__ import annotations

from typing import Any

from byteord.deployment.config import Config
from byteord.deployment.config_keys import KEYS

_AUTHORITY = {
    "environment": "environment",
    "effects.side_effects": "side_effects",
    "effects.dry_run": "dry_run",
    "paths.secrets": "secrets_dir",
    "replay.policy": "replay_policy",
    "replay.actions_max": "replay_actions_max",
    "replay.input_bytes_max": "replay_input_bytes_max",
    "allow.exec": "exec_allowed",
}
_BUNDLES = {
    "automatic": "automatic",
    "count_max": "count",
    "total_bytes_max": "total_bytes",
    "bundle_bytes_max": "bundle_bytes",
}
_OWN = {
    "metrics.address": "metrics_address",
    "ceilings.request_ids_max": "request_ids_max",
    "shims.keep_ready": "keep_shim_ready",
}


def flat_config(config: Config) -> dict[str, Any]:
    """Return the effective value of every key of `byteord.toml`, by path, in order."""
    return {path: _value(config, path) for path in sorted(KEYS)}


def words_of(path: str) -> tuple[str, ...]:
    """Return the words that a key may have as its value; none: it may have any, or is no text."""
    return tuple(getattr(KEYS[path].check, "choices", ())) if path in KEYS else ()


def _value(config: Config, path: str) -> Any:
    table, _, name = path.rpartition(".")
    if path in _OWN:
        return getattr(config, _OWN[path])
    if path in _AUTHORITY:
        return getattr(config.authority, _AUTHORITY[path])
    if table in ("allow", "ceilings"):
        return getattr(config.authority, name)
    if table == "bundles":
        return getattr(config.bundles, _BUNDLES[name])
    if table == "tls":
        return getattr(config.listen.tls, name)
    return getattr(getattr(config, table) if table else config, name)
