"""URLs of stores, read by one rule. Nothing here repeats one in a message: it may hold a secret."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from dr_pipelines.errors import InvalidRequest

SWITCH = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True, slots=True)
class Forms:
    """The forms that URLs of an engine have, for messages; `secret` is the environment variable
    that credentials are in, and `options` are those that may follow a question mark."""

    expected: str
    secret: str = ""
    options: Sequence[str] = ()

    def refusal(self, reason: str) -> InvalidRequest:
        """For a URL that is of none of them."""
        return InvalidRequest(f"store URL: {reason}; {self.expected}")


@dataclass(frozen=True, slots=True)
class Server:
    """The parts of a server's URL; its path is without slashes at its ends."""

    host: str
    port: int | None
    path: str
    options: dict[str, str]


def server(url: str, forms: Forms, *, with_path: bool = False) -> Server:
    """The server that `SCHEME://HOST:PORT/PATH?OPTION=VALUE` names.

    Raises:
        InvalidRequest: it has no host, credentials, a path where none belongs, or other options.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise forms.refusal("it is malformed, at its host or port") from None
    if parts.username is not None or parts.password is not None:
        raise forms.refusal(f"credentials do not belong into it; set {forms.secret} instead")
    path = unquote(parts.path.strip("/"))
    if not host or parts.fragment or (path and not with_path):
        raise forms.refusal("it has no host, or more than that")
    return Server(host, port, path, options(parts.query, forms))


def directory(place: str, forms: Forms, *, base: Path) -> Path:
    """The directory that follows a scheme; a relative one is under `base`.

    Raises:
        InvalidRequest: it is none.
    """
    if not place or "\0" in place:
        raise forms.refusal("it names no directory")
    return base / Path(place).expanduser()


def options(query: str, forms: Forms) -> dict[str, str]:
    """The options of a URL.

    Raises:
        InvalidRequest: one that is unknown, given twice, or without a value.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise forms.refusal("its options are malformed") from None
    values = dict(pairs)
    unknown = sorted(values.keys() - set(forms.options))
    if unknown:
        raise forms.refusal(f"unknown options {', '.join(unknown)}")
    if len(values) < len(pairs):
        raise forms.refusal("an option is given twice")
    return values


def switched(values: dict[str, str], option: str, forms: Forms) -> bool:
    """True if an option is switched on; off where it is not given.

    Raises:
        InvalidRequest: it is neither.
    """
    on = SWITCH.get(values.get(option, "0"))
    if on is None:
        raise forms.refusal(f"{option} is neither 0 nor 1")
    return on
