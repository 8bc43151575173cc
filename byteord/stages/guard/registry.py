"""The schema registry: files that say what messages look like, read strictly.

    [[schemas]]
    id = "login"              # how stages name it
    message_type = "login"    # what messages say; the id by default
    version = 3               # the version that this is
    minimum = 2               # the oldest that it still reads; `version` by default
    additional = false        # let fields through that it does not name
    fields = [
      { name = "user", type = "string", required = true, bytes = 16 },
    ]

`bytes` is the width of a field in a fixed row, where fields lie in this order. Pure.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from byteord.errors import InvalidDocumentError

SCHEMAS_MAX, FIELDS_MAX, FILE_BYTES_MAX = 256, 64, 1 << 20
INTEGER_BYTES, NUMBER_BYTES = (1, 2, 4, 8), (4, 8)

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Version = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Kind = Literal["boolean", "integer", "number", "string", "bytes", "object", "array", "any"]


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One field of a message."""

    name: Name
    type: Kind = "any"
    required: bool = False
    bytes: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What messages of one type look like, for the versions from `minimum` to `version`."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    version: Version
    fields: Annotated[list[Field], msgspec.Meta(min_length=1, max_length=FIELDS_MAX)]
    message_type: Annotated[str, msgspec.Meta(max_length=64)] = ""
    minimum: Version | None = None
    additional: bool = False

    @property
    def says(self) -> str:
        """The type that messages carry."""
        return self.message_type or self.id

    @property
    def oldest(self) -> int:
        """The oldest version that it reads."""
        return self.version if self.minimum is None else self.minimum

    @property
    def row_bytes(self) -> int:
        """Bytes of a fixed row; 0 when some field has no width."""
        sizes = [field.bytes for field in self.fields]
        return sum(sizes) if all(sizes) else 0


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schemas: Annotated[list[Schema], msgspec.Meta(min_length=1, max_length=SCHEMAS_MAX)]


def parse_registry(files: Iterable[tuple[str, bytes]]) -> tuple[Schema, ...]:
    """Return the schemas of (name, content) files together.

    Raises InvalidDocumentError (SCHEMA_INVALID) that names file, place and what is wanted.
    """
    found: list[Schema] = []
    for name, content in files:
        for schema in _parse(name, content).schemas:
            _check(name, schema, found)
            found.append(schema)
    return tuple(found)


def _parse(name: str, content: bytes) -> _File:
    if len(content) > FILE_BYTES_MAX:
        raise _invalid(name, f"{len(content)} bytes, wanted at most {FILE_BYTES_MAX}")
    try:
        return msgspec.convert(tomllib.loads(content.decode("utf-8")), _File)
    except (ValueError, RecursionError) as error:
        raise _invalid(name, str(error) or "absurd nesting") from error


def _check(name: str, schema: Schema, before: list[Schema]) -> None:
    names = [field.name for field in schema.fields]
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise _invalid(name, f"schema {schema.id}: the field {twice[0]} stands twice")
    for text in (*names, schema.says):
        if len(text.encode()) > 64 or "\0" in text:  # noqa: PLR2004 - GUARD_NAME_MAX
            raise _invalid(name, f"schema {schema.id}: a name of more than 64 bytes, or with NUL")
    if schema.oldest > schema.version:
        raise _invalid(
            name, f"schema {schema.id}: minimum {schema.oldest} is above version {schema.version}"
        )
    for other in before:
        if other.id == schema.id:
            raise _invalid(name, f"schema {schema.id}: the id stands twice")
        overlaps = other.oldest <= schema.version and schema.oldest <= other.version
        if other.says == schema.says and overlaps:
            raise _invalid(
                name,
                f"schemas {other.id} and {schema.id} are both for {schema.says}, with "
                "versions that overlap",
            )
    for field in schema.fields:
        _check_width(name, schema, field)


def _check_width(name: str, schema: Schema, field: Field) -> None:
    widths = {"integer": INTEGER_BYTES, "number": NUMBER_BYTES, "boolean": (1,)}.get(field.type)
    if field.bytes and widths is not None and field.bytes not in widths:
        wanted = " or ".join(str(each) for each in widths)
        raise _invalid(
            name,
            f"schema {schema.id}: {field.type} {field.name} of {field.bytes} bytes, wanted "
            f"{wanted}",
        )


def _invalid(name: str, what: str) -> InvalidDocumentError:
    return InvalidDocumentError(
        f"schema file {name}: {what}; correct the file",
        reason="SCHEMA_INVALID",
        details={"file": name},
    )
