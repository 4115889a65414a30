"""The subject that `dr init` was pointed at: a store, a Git repository or a feed, told apart by
names alone.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.notation import VARIABLE, holds_secret
from dr_pipelines.project.adapters import PolicyContext
from dr_pipelines.stores import engines

VARIABLE_FOR_URL = "DR_STORE_URL"


@dataclass(frozen=True, slots=True)
class StoreSubject:
    """A store. `url` is what it is reached by, `written` what the policies say: the same, or with
    variables for what must not be written down. `unset` is a variable that nobody has set yet."""

    url: str
    written: str
    variables: Mapping[str, str]
    unset: str | None = None


@dataclass(frozen=True, slots=True)
class GitSubject:
    """A Git repository's working tree."""

    directory: Path


@dataclass(frozen=True, slots=True)
class FeedSubject:
    """A feed of changes, one JSON object a line."""

    file: Path


Subject = StoreSubject | GitSubject | FeedSubject


def subject_of(what: str, context: PolicyContext) -> Subject:
    """Decide what a word names: a URL, a path, or either as `${NAME}`. Paths in it are relative to
    the working directory, those that are written down to the policies file.

    A URL with a password in it is written as a variable: the one that holds it already, where there
    is one. Raises `InvalidRequest` for what is none of these; its message shows no secret.
    """
    full = context.expand(what)
    url = _normalized(full)
    if engines.is_store_url(url):
        return _store(what, url, context, renamed=url != full)
    if "://" in full:
        raise InvalidRequest(f"expected {_expected()}, not a URL of another kind")
    return _place(what, Path(full).expanduser(), context.base)


def _store(what: str, url: str, context: PolicyContext, *, renamed: bool) -> StoreSubject:
    environ = context.environ
    if "${" in what:
        if renamed:
            raise InvalidRequest(
                f"{what}: its scheme is another program's: set it to the same URL with "
                f"{url.partition(':')[0]}://"
            )
        names = set(VARIABLE.findall(what))
        return StoreSubject(url, what, {name: environ[name] for name in names})
    if not holds_secret(url):
        url = _from(context.base, url)
        return StoreSubject(url, url, {})
    holding = sorted(name for name, value in environ.items() if value == url)
    usable = [name for name in holding if VARIABLE.fullmatch(f"${{{name}}}")]
    name = usable[0] if usable else VARIABLE_FOR_URL
    return StoreSubject(url, f"${{{name}}}", {name: url}, None if usable else name)


def _place(what: str, path: Path, base: Path) -> Subject:
    if path.is_file():
        return FeedSubject(path)
    if not path.is_dir():
        raise InvalidRequest(f"there is nothing at {what!r}: expected {_expected()}")
    for scheme in engines.schemes():
        if scheme.files and all(_has(path, pattern) for pattern in scheme.files):
            url = f"{scheme.name}:{placed(path, base)}"
            return StoreSubject(url, url, {})
    if os.path.lexists(path / ".git"):
        return GitSubject(path)
    raise InvalidRequest(
        f"{what!r} is a directory without a Git repository of its own, and no store that is known "
        f"here: expected {_expected()}"
    )


def placed(path: Path, base: Path) -> str:
    """A path as the policies in `base` say it: relative where it is below, else absolute."""
    whole, above = path.absolute(), base.absolute()
    if whole.is_relative_to(above):
        return whole.relative_to(above).as_posix()
    return str(whole.resolve())


def _from(base: Path, url: str) -> str:
    """The URL of an embedded store, with its directory as the policies say it."""
    name, _, place = url.partition(":")
    engine = engines.find_scheme(name)
    if engine is None or engine[1].directory(place, base=base) is None:
        return url
    directory, mark, query = place.partition("?")
    return f"{name}:{placed(Path(directory).expanduser(), base)}{mark}{query}"


def _normalized(url: str) -> str:
    """The URL with our scheme in place of the one that other programs write. One that is a store's
    already needs no engine of another package, which may be broken."""
    if engines.is_store_url(url):
        return url
    changed = (scheme.normalized(url) for scheme in engines.schemes())
    return next((each for each in changed if each != url), url)


def _has(directory: Path, pattern: str) -> bool:
    return next(directory.glob(pattern), None) is not None


def _expected() -> str:
    return (
        f"a store's URL ({engines.url_forms()}), a directory with a Git repository, or a JSONL feed"
    )
