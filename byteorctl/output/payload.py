"""Payloads as people read them: text, hexadecimal, or the fields of a struct."""

from __future__ import annotations

import struct
from collections.abc import Callable

from byteorctl.output.clean import clean

Decoder = Callable[[bytes], str]
LETTERS_SHOWN_MAX = 400


def decoder(form: str) -> Decoder:
    """Return what decodes `text`, `hex` or `struct:FORMAT`; raises ValueError with what was wanted.

    FORMAT is of Python's struct module, for example `<QId`.
    """
    kind, _, layout = form.partition(":")
    if form == "text":
        return _text
    if form == "hex":
        return _hex
    if kind == "struct" and layout:
        try:
            return _fields(struct.Struct(layout))
        except struct.error as error:
            raise ValueError(
                f"{layout!r} is no struct format ({error}); wanted one like <QId"
            ) from error
    raise ValueError(f"{form!r}: wanted text, hex or struct:FORMAT")


def _text(payload: bytes) -> str:
    return _short(clean(payload.decode("utf-8", "backslashreplace")))


def _hex(payload: bytes) -> str:
    return _short(payload.hex(" "))


def _short(text: str) -> str:
    if len(text) <= LETTERS_SHOWN_MAX:
        return text
    return f"{text[:LETTERS_SHOWN_MAX]}... ({len(text):,} characters)"


def _fields(layout: struct.Struct) -> Decoder:
    def decode(payload: bytes) -> str:
        if len(payload) < layout.size:
            return f"{payload.hex(' ')} (short: {len(payload)} of {layout.size} bytes)"
        return " ".join(_value(value) for value in layout.unpack_from(payload))

    return decode


def _value(value: object) -> str:
    if isinstance(value, bytes):
        return clean(value.rstrip(b"\0").decode("utf-8", "backslashreplace")) or "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
