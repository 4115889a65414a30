"""Numbers of foreign payloads, through the parser that the engine reads them with (see
`stores.floats`)."""

from typing import Any

from dr_pipelines.stores.qdrant.variant import Json
from dr_pipelines.stores.shared.floats import parsed, sendable


class Unsendable(Exception):
    """No number is read as the one that is meant."""


def sent(payload: Json, *, parses: int) -> Json:
    """The payload to send so that this one is read after so many parses.

    Raises:
        Unsendable: there is nothing that one could send.
    """
    return {key: _sent(value, parses) for key, value in payload.items()} if parses else payload


def is_steady(value: Any) -> bool:
    """True if JSON is read back unchanged, however often it is written anew."""
    match value:
        case float():
            return parsed(value) == value
        case dict():
            return all(map(is_steady, value.values()))
        case list():
            return all(map(is_steady, value))
        case _:
            return True


def _sent(value: Any, parses: int) -> Any:
    match value:
        case float():
            number = sendable(value, parses=parses)
            if number is None:
                raise Unsendable(repr(value))
            return number
        case dict():
            return {key: _sent(item, parses) for key, item in value.items()}
        case list():
            return [_sent(item, parses) for item in value]
        case _:
            return value
