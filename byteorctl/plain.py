"""Messages of the API as plain data.

Only `byteorctl.client` imports this; it works on descriptors and imports no generated code.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.message import Message

from byteorctl.errors import Plain

TIMESTAMP = "google.protobuf.Timestamp"


def to_plain(message: Message) -> Plain:
    """Return all fields by their proto names, unset ones with their defaults.

    Enums become lower case without their type's prefix (`completed`), an unspecified one the empty
    string; timestamps RFC 3339 in UTC; bytes text if they are UTF-8, else hex; absent messages and
    optional fields None.
    """
    return {field.name: _field(message, field) for field in message.DESCRIPTOR.fields}


def _field(message: Message, field: Any) -> Any:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        values = getattr(message, field.name)
        value_field = kind.fields_by_name["value"]
        return {str(key): _value(values[key], value_field) for key in sorted(values)}
    if field.is_repeated:
        return [_value(value, field) for value in getattr(message, field.name)]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _value(getattr(message, field.name), field)


def _value(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        if field.message_type.full_name == TIMESTAMP:
            return str(value.ToJsonString())
        return to_plain(value)
    if field.enum_type is not None:
        return enum_text(field.enum_type, value)
    if isinstance(value, bytes):
        return _text(value)
    return value


def enum_text(enum: Any, number: int) -> str:
    """Return a value's name in lower case without the enum's prefix; an unknown number as it is."""
    value = enum.values_by_number.get(number)
    if value is None:
        return str(number)
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
    text = str(value.name).removeprefix(prefix).lower()
    return "" if text == "unspecified" else text


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.hex()
