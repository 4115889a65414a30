"""Lines of a policies file, each with what it means.

Values of others are in it: names of tables, paths, reasons. Each becomes one scalar by PyYAML's own
quoting, on one line, and in a comment nothing acts on whatever shows it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from dr_pipelines.model.display import displayed_line

WIDEST = 1 << 30
INDENT = "  "


@dataclass(frozen=True, slots=True)
class Line:
    """`key: value`, or a key that opens a mapping (`value` is None), or only a comment (`key` is
    None); `depth` counts enclosing mappings."""

    depth: int
    key: str | None
    value: Any = None
    comment: str = ""


def comment(depth: int, text: str) -> Line:
    """A line that is for people only."""
    return Line(depth, None, comment=text)


def written(lines: Iterable[Line]) -> str:
    """The lines as YAML."""
    return "".join(f"{_written(line)}\n" for line in lines)


def scalar(value: Any) -> str:
    """A value on one line, as PyYAML quotes it; a list in brackets. Raises `ValueError` for text
    that YAML cannot hold."""
    text = _dumped(value, style=None)
    if "\n" in text or not text.isprintable():
        text = _dumped(value, style='"')
    if "\n" in text:
        raise ValueError(f"{value!r} is not one line of YAML")
    return text


def _dumped(value: Any, *, style: str | None) -> str:
    try:
        text = yaml.safe_dump(
            value,
            default_style=style,
            default_flow_style=True,
            allow_unicode=style is None,
            width=WIDEST,
        )
    except (yaml.YAMLError, UnicodeError) as error:
        raise ValueError(f"{value!r} cannot be written as YAML") from error
    return text.removesuffix("...\n").removesuffix("\n")


def _written(line: Line) -> str:
    about = f"# {_readable(line.comment)}" if line.comment else ""
    if line.key is None:
        return f"{INDENT * line.depth}{about}".rstrip()
    value = "" if line.value is None else f" {scalar(line.value)}"
    head = f"{INDENT * line.depth}{scalar(line.key)}:{value}"
    return f"{head}  {about}".rstrip()


def _readable(text: str) -> str:
    """Text for a comment: one line of characters that YAML allows anywhere."""
    shown = displayed_line(text)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)
