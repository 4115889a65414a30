"""The text files of a Git repository, as a feed of changes."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.ingest.sources.changes import (
    BEFORE_ALL_TIMES,
    Change,
    Unreadable,
    day_of,
    in_batches,
    readable_id,
)
from dr_pipelines.ingest.sources.git_history import (
    MAX_FILE_BYTES,
    Blobs,
    FileChange,
    History,
    changed_files,
    opened_blobs,
    read_history,
    resolve_ref,
)
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.lineage import SourceProvenance
from dr_pipelines.protocols import Quarantined, SourcePartition

if TYPE_CHECKING:
    import pyarrow as pa

MARKDOWN = frozenset([".md", ".markdown"])
HEADING = re.compile(r"^(?:```|~~~)|^#{1,6}[ \t]+(\S.*?)[ \t]*#*[ \t]*$", re.MULTILINE)
LAST_SECOND = 253_402_300_799
"""The end of the year 9999."""


@dataclass(frozen=True, slots=True)
class _Index:
    """One reading of the history. `positions` are those with changes that can be read, `newest`
    the running maximum of their times."""

    history: History
    positions: tuple[int, ...]
    newest: tuple[int, ...]
    partitions: tuple[SourcePartition, ...]
    quarantined: tuple[Quarantined, ...]


class GitSource:
    """What happened to the files of a repository along the first parents of a ref.

    A position is the place of a commit in that line, counted from 1; an anchor is a commit id; a
    document is a path, and a rename deletes one and inserts another. Merges count as what they
    changed against their first parent, at the committer's date. `include` and `exclude` are Git's
    glob pathspecs (`**/*.md` is every Markdown file). Symbolic links and submodules are no
    documents; files that are not UTF-8 text, and paths that could not be ids, are quarantined.

    The ref is resolved by the first call, and again by each call of `partitions`.
    """

    def __init__(
        self,
        repository: str | Path,
        *,
        ref: str = "HEAD",
        include: Sequence[str] = ("**/*.md",),
        exclude: Sequence[str] = (),
    ) -> None:
        if not include or not all([*include, *exclude]):
            raise InvalidRequest("include and exclude: expected patterns such as '**/*.md'")
        self._repository = Path(repository)
        self._ref = ref
        self._include = tuple(include)
        self._exclude = tuple(exclude)
        self._known: _Index | None = None

    @property
    def provenance(self) -> SourceProvenance:
        settings = {
            "ref": self._ref,
            "include": list(self._include),
            "exclude": list(self._exclude),
        }
        return SourceProvenance(connector="git", settings=settings)

    def glance(self) -> str:
        """The commit that the ref names, and what is read of it."""
        commit = resolve_ref(self._repository, self._ref)
        return f"{self._repository}:{commit}:{self.provenance.fingerprint}"

    def partitions(self) -> list[SourcePartition]:
        """All days with changes, as the ref is now; the head is its last commit with changes."""
        self._known = self._read_index()
        return list(self._known.partitions)

    def anchor(self, position: int) -> str | None:
        """The commit at a position."""
        commits = self._index.history.commits
        return commits[position - 1] if 1 <= position <= len(commits) else None

    def changes(self, after: int, through: int) -> "Iterator[pa.RecordBatch]":
        index = self._index
        known = bisect_right(index.positions, after)
        newest = index.newest[known - 1] if known else BEFORE_ALL_TIMES
        found = self._walk(index.history, after, through, newest)
        return in_batches(change for change in found if isinstance(change, Change))

    def quarantined(self, after: int, through: int) -> list[Quarantined]:
        return [
            q
            for q in self._index.quarantined
            if after < q.after <= through or q.after == after == 0
        ]

    @property
    def _index(self) -> _Index:
        if self._known is None:
            self._known = self._read_index()
        return self._known

    def _read_index(self) -> _Index:
        history = read_history(self._repository, self._ref)
        positions, newest, counts = list[int](), list[int](), list[int]()
        unread = list[tuple[int, Quarantined]]()
        for found in self._walk(history, 0, len(history.commits), BEFORE_ALL_TIMES):
            if isinstance(found, Quarantined):
                unread.append((found.after, found))
            elif positions and positions[-1] == found.position:
                counts[-1] += 1
            else:
                positions.append(found.position)
                newest.append(found.newest)
                counts.append(1)
        return _Index(
            history,
            tuple(positions),
            tuple(newest),
            tuple(_partitions(history, positions, newest, counts)),
            tuple(_placed(q, at, positions) for at, q in unread),
        )

    def _walk(
        self, history: History, after: int, through: int, newest: int
    ) -> Iterator[Change | Quarantined]:
        """Every change; what is quarantined says its own commit's position as `after`."""
        files = changed_files(
            self._repository,
            history,
            after=after,
            through=through,
            include=self._include,
            exclude=self._exclude,
        )
        with opened_blobs(self._repository) as blobs:
            for file in files:
                commit = history.commits[file.index]
                try:
                    time = _time(history, file.index)
                    change = _change(file, blobs, time, max(newest, time))
                except Unreadable as error:
                    place = f"{commit}:{file.path.decode('utf-8', 'backslashreplace')!r}"
                    yield Quarantined(place, str(error), file.index + 1)
                    continue
                newest = change.newest
                yield change


def _placed(found: Quarantined, position: int, positions: list[int]) -> Quarantined:
    """The same, after the last position at or before its commit that has changes."""
    known = bisect_right(positions, position)
    return Quarantined(found.place, found.reason, positions[known - 1] if known else 0)


def _partitions(
    history: History, positions: list[int], newest: list[int], counts: list[int]
) -> Iterator[SourcePartition]:
    days = [day_of(time) for time in newest]
    start = 0
    while start < len(days):
        end = bisect_right(days, days[start])
        yield SourcePartition(
            day=days[start],
            after=positions[start - 1] if start else 0,
            through=positions[end - 1],
            anchor=history.commits[positions[end - 1] - 1],
            changes=sum(counts[start:end]),
        )
        start = end


def _time(history: History, index: int) -> int:
    seconds = history.times[index]
    if not 0 <= seconds <= LAST_SECOND:
        raise Unreadable(f"the commit's date is {seconds} seconds after 1970; expected 0 to 9999")
    return seconds * 1_000_000


def _change(file: FileChange, blobs: Blobs, time: int, newest: int) -> Change:
    try:
        path = readable_id(file.path.decode())
    except UnicodeDecodeError as error:
        raise Unreadable("the path is not UTF-8") from error
    if file.blob is None:
        return Change(path, file.index + 1, file.ordinal, time, newest)
    text = _text(blobs.read(file.blob))
    name = PurePosixPath(path)
    metadata = {
        "path": path,
        "name": name.name,
        "directory": "" if name.parent == PurePosixPath() else str(name.parent),
        "extension": name.suffix.lower(),
    }
    return Change(
        document_id=path,
        position=file.index + 1,
        ordinal=file.ordinal,
        updated_at=time,
        newest=newest,
        title=(_heading(text) if name.suffix.lower() in MARKDOWN else None) or name.name,
        text=text,
        uri=path,
        metadata=canonical_json(metadata).decode(),
        size_bytes=len(text),
    )


def _text(data: bytes | None) -> str:
    if data is None:
        raise Unreadable(f"the file has more than {MAX_FILE_BYTES} bytes")
    if b"\0" in data:
        raise Unreadable("the file is binary: it has a null byte")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"the file is not UTF-8 at byte {error.start}") from error


def _heading(text: str) -> str | None:
    """The first heading outside code fences."""
    fenced = False
    for match in HEADING.finditer(text):
        if match[1] is None:
            fenced = not fenced
        elif not fenced:
            return match[1]
    return None
