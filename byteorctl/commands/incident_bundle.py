"""`byteorctl incident-bundle`: `bundle create` by the name that people look for at night."""

from __future__ import annotations

from byteorctl.commands.bundle import create as command

__all__ = ["command"]
