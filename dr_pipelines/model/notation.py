"""How policies write durations, variables and names, and what to say of one written wrongly.

`${NAME}` stays as written in a policy, so that no value, message or log ever holds what the
environment held. It is expanded when something is opened.

Every `ValueError` raised here starts with "expected"; whoever reads the file says what was found.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import (
    AfterValidator,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic import Field as Key

from dr_pipelines.model.collection import NAME, RESERVED_COLUMNS, ColumnName

DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd])")
LONGEST = timedelta(days=3650)
VECTOR_NAME = "embedding"
MODEL = "sentence-transformers"
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:|://")
USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#@:\s]*)(:?)([^/?#@\s]*)@")
QUERY_KEY = re.compile(r"[?&;#]([^=?&;#\s]+)=[^&;#\s]")
SECRET_KEY = re.compile(
    r"(?i)secret|passw|token|credential|signature|api.?key|access.?key|^(key|pwd|sig|auth)$"
)

UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}


def duration(value: Any) -> timedelta:
    """Read `90s`, `15m`, `1h` or `2d`; a `timedelta` is taken as it is."""
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    length = int(match[1]) * UNITS[match[2]] if match else value
    if not isinstance(length, timedelta) or not timedelta(0) < length <= LONGEST:
        raise ValueError(f"expected a duration such as 90s, 15m, 1h or 2d, at most {LONGEST.days}d")
    return length


def duration_text(length: timedelta) -> str:
    """Write a duration of whole seconds in its largest unit: `90s`, `15m`, `2d`."""
    unit = next(u for u in UNITS if length % UNITS[u] == timedelta(0) or u == "s")
    return f"{length // UNITS[unit]}{unit}"


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Put variables in place of `${NAME}`. Raises `ValueError` for one that is not set."""

    def value(match: re.Match[str]) -> str:
        if not environ.get(match[1]):
            raise ValueError(
                f"expected the environment variable {match[1]}, and it is not set or empty"
            )
        return environ[match[1]]

    return VARIABLE.sub(value, text)


def check_variables(text: str) -> str:
    """The text itself; raises `ValueError` when a `${` starts no variable."""
    if "${" in VARIABLE.sub("", text):
        raise ValueError("expected variables written as ${NAME}")
    return text


def refuse_variables(text: str) -> str:
    """The text itself; raises `ValueError` when it holds a variable."""
    if "${" in text:
        raise ValueError(
            "expected text without variables; ${NAME} may stand in repository, state, url, path, "
            "ref, model, tokenizer and api_key"
        )
    return text


def holds_secret(text: str) -> bool:
    """True if a URL in the text carries a literal credential instead of a variable."""
    bare = VARIABLE.sub("", unquote(text))
    if not URL.search(bare):
        return False
    for scheme, user, colon, password in USER_INFO.findall(bare):
        if password or (user and not colon and scheme.lower() in ("http", "https")):
            return True
    return any(SECRET_KEY.search(key) for key in QUERY_KEY.findall(bare))


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """`; did you mean 'local'?`, or nothing when no known name is near."""
    near = difflib.get_close_matches(name, list(candidates), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def one_of(what: str, name: str, candidates: Iterable[str]) -> str:
    """The message for an unknown `name` of kind `what`: it lists the names that exist."""
    names = sorted(candidates)
    if not names:
        return f"expected the name of {what}, and none is declared"
    return f"expected the name of {what}, one of: {', '.join(names)}{did_you_mean(name, names)}"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Context that values are checked against while a file is read: pydantic's context."""

    stores: tuple[str, ...]
    embedders: Mapping[str, str]
    """Name → kind."""
    environ: Mapping[str, str] | None = None
    """None: variables are not looked up."""
    require_store_url: Callable[[str], None] | None = None
    """Raises `ValueError` for a URL without variables that is none of a store here."""


def surroundings(info: ValidationInfo) -> Surroundings | None:
    """The context of a validation; None for a value made in code, which `Policies` checks as a
    whole."""
    return info.context if isinstance(info.context, Surroundings) else None


def _expanded(text: str, info: ValidationInfo) -> str:
    around = surroundings(info)
    return text if around is None or around.environ is None else expand(text, around.environ)


def _place(text: str, info: ValidationInfo) -> str:
    _expanded(check_variables(text), info)
    return text


def form(pattern: str, expected: str) -> AfterValidator:
    """Expect text of a form, once its variables are known; `said` describes it."""

    def check(text: str, info: ValidationInfo) -> str:
        full = _expanded(text, info)
        if "${" in full or re.fullmatch(pattern, full):
            return text
        raise ValueError(f"expected {expected}")

    return AfterValidator(check)


def form_as_written(pattern: str, expected: str) -> AfterValidator:
    """Expect text of a form before its variables are known."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text):
            return text
        raise ValueError(f"expected {expected}")

    return AfterValidator(check)


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(
            "expected a letter, then at most 62 letters, digits, hyphens and underscores"
        )
    return text


def _column(text: str) -> str:
    if text in RESERVED_COLUMNS or text == VECTOR_NAME:
        raise ValueError("expected a name that records do not use themselves")
    return text


def _store(name: str, info: ValidationInfo) -> str:
    around = surroundings(info)
    if around and name not in around.stores:
        raise ValueError(one_of("a store", name, around.stores))
    return name


def _store_url(text: str, info: ValidationInfo) -> str:
    full, around = _expanded(text, info), surroundings(info)
    if "${" in full:
        return text
    if not URL.match(full):
        raise ValueError("expected the URL of a store")
    if around is not None and around.require_store_url is not None:
        around.require_store_url(full)
    return text


def _embedder(name: str, info: ValidationInfo) -> str:
    around = surroundings(info)
    if around and name not in around.embedders:
        raise ValueError(one_of("an embedder", name, around.embedders))
    return name


def _tokenizer(name: str, info: ValidationInfo) -> str:
    around = surroundings(info)
    models = [n for n, kind in around.embedders.items() if kind == MODEL] if around else [name]
    if name not in models:
        raise ValueError(one_of(f"an embedder of kind {MODEL}", name, models))
    return name


Text = Annotated[str, Key(min_length=1, max_length=500), AfterValidator(refuse_variables)]
Place = Annotated[
    str,
    Key(min_length=1, max_length=2000, json_schema_extra={"x-variables": True}),
    AfterValidator(_place),
]
StoreUrl = Annotated[Place, AfterValidator(_store_url)]
LOCAL = form("(?![A-Za-z][A-Za-z0-9+.-]+:).+", "a path on this machine, not a URL")
Digest = Annotated[
    str,
    form("[0-9a-f]{64}", "a SHA-256: 64 digits 0 to 9 and a to f"),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
]
Duration = Annotated[
    timedelta,
    PlainValidator(duration),
    PlainSerializer(duration_text),
    WithJsonSchema({"type": "string", "pattern": f"^{DURATION.pattern}$"}),
]
Name = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME.pattern}$"})
]
FieldName = Annotated[ColumnName, AfterValidator(_column)]
StoreName = Annotated[str, AfterValidator(_store)]
EmbedderName = Annotated[str, AfterValidator(_embedder)]
TokenizerName = Annotated[str, AfterValidator(_tokenizer)]
Positive = Annotated[int, Key(ge=1)]
