"""The text files of a Git repository, as a feed of changes."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.lineage import SourceProvenance
from dr_pipelines.model.source_reading import NO_MARKS, SourceReading
from dr_pipelines.model.unread import (
    LeftOut,
    Quarantined,
    Unread,
)
from dr_pipelines.protocols import SourcePartition
from dr_pipelines.sources.changes import (
    BEFORE_ALL_TIMES,
    Change,
    Unreadable,
    first_times,
    in_batches,
    readable_id,
    time_of,
)
from dr_pipelines.sources.git_history import (
    LINK,
    MAX_FILE_BYTES,
    SUBMODULE,
    Blobs,
    FileChange,
    History,
    changed_files,
    opened_blobs,
    others_than_files,
    read_history,
    resolve_ref,
)
from dr_pipelines.sources.git_index import Index, Walked, marks_value, parse_marks
from dr_pipelines.sources.git_lfs import last_brought, pointed_at
from dr_pipelines.sources.marks_file import DAMAGED, MarksFile
from dr_pipelines.sources.values import FindMisfit

if TYPE_CHECKING:
    import pyarrow as pa

MARKDOWN = frozenset([".md", ".markdown"])
HEADING = re.compile(r"^(?:```|~~~)|^#{1,6}[ \t]+(\S.*?)[ \t]*#*[ \t]*$", re.MULTILINE)
BY_ID = "the same by the id of their newest"
NOT_FILES = {LINK: "symbolic link", SUBMODULE: "submodule"}
LAST_SECOND = 253_402_300_799
"""The end of the year 9999."""


class GitSource:
    """Changes to the files of a repository along the first parents of a ref.

    A position is the place of a commit in that line, counted from 1; an anchor is a commit id; a
    document is a path, and a rename deletes one and inserts another. Merges count as what they
    changed against their first parent, at the committer's date. `include` and `exclude` are Git's
    glob pathspecs (`**/*.md` is every Markdown file). Symbolic links and submodules are no
    documents; those of the newest commit are counted as left out. Files that are not UTF-8 text,
    Git LFS pointers whose files are not here, and paths that could not be ids, are quarantined
    until a later commit has them readable, or not at all.

    The ref is resolved by the first call, and again by each call of `partitions`. Commits that were
    walked before, by `marks`, are not walked again: the id of the newest decides all of them.
    """

    def __init__(
        self,
        repository: str | Path,
        *,
        ref: str = "HEAD",
        include: Sequence[str] = ("**/*.md",),
        exclude: Sequence[str] = (),
        misfit: FindMisfit | None = None,
        marks: MarksFile | None = None,
    ) -> None:
        if not include or not all([*include, *exclude]):
            raise InvalidRequest("include and exclude: expected patterns such as '**/*.md'")
        self._repository = Path(repository)
        self._ref = ref
        self._include = tuple(include)
        self._exclude = tuple(exclude)
        self._misfit = misfit
        self._marks = marks
        self._cached: Index | None = None

    @property
    def provenance(self) -> SourceProvenance:
        settings = {
            "ref": self._ref,
            "include": list(self._include),
            "exclude": list(self._exclude),
        }
        return SourceProvenance(connector="git", settings=settings)

    @property
    def baseline(self) -> int:
        return 0

    def change_token(self) -> str:
        """The commit of the ref, what is read of it, and when Git LFS last brought files."""
        commit = resolve_ref(self._repository, self._ref)
        brought = last_brought(self._repository)
        return f"{self._repository}:{commit}:{self._settings()}:{brought}"

    def partitions(self) -> list[SourcePartition]:
        """All days with changes, as the ref is now; the head is its last commit with changes."""
        self._cached = self._read_index()
        return list(self._cached.partitions)

    def anchor(self, position: int) -> str | None:
        """The commit at a position."""
        commits = self._index.history.commits
        return commits[position - 1] if 1 <= position <= len(commits) else None

    def changes(self, after: int, through: int) -> "Iterator[pa.RecordBatch]":
        return in_batches(self._changes(after, through))

    def first_times(self, after: int, through: int) -> tuple[datetime, datetime] | None:
        return first_times(self._changes(after, through))

    def _changes(self, after: int, through: int) -> Iterator[Change]:
        index = self._index
        seen = bisect_right(index.positions, after)
        newest = index.newest[seen - 1] if seen else BEFORE_ALL_TIMES
        steps = self._walk(index.history, after, through, newest)
        return (change for _, change in steps if isinstance(change, Change))

    def quarantined(self, after: int, through: int) -> list[Quarantined]:
        return self._index.quarantined(after, through)

    def unread(self) -> Unread:
        return self._index.unread

    def reading(self) -> SourceReading:
        return self._index.reading

    def _settings(self) -> str:
        """Everything that decides how a commit is read."""
        return f"{self.provenance.fingerprint}:{self._misfit!r}"

    @property
    def _index(self) -> Index:
        if self._cached is None:
            self._cached = self._read_index()
        return self._cached

    def _read_index(self) -> Index:
        """The history as the ref is now, from the commit on that was walked to before."""
        resolve_ref(self._repository, self._ref)  # first: it says what is wrong with the place
        of = f"{self._repository}\0{self._settings()}\0{last_brought(self._repository)}"
        earlier, walked, why_not = self._earlier(of)
        history = read_history(self._repository, self._ref, earlier=earlier)
        before = len(earlier.commits) if earlier else 0
        if earlier and history.commits[:before] != earlier.commits:
            before, walked, why_not = 0, Walked(), "the newest commit read before is not there now"
        new = len(history.commits) - before
        reading = SourceReading(
            "commits", before, new, BY_ID if before else "", "" if before else why_not
        )
        newest = walked.newest[-1] if walked.newest else BEFORE_ALL_TIMES
        walked.add(self._walk(history, before, len(history.commits), newest))
        if self._marks and (new or not before):
            not_kept = self._marks.keep(of, marks_value(history, walked))
            reading = replace(reading, not_kept=not_kept)
        return walked.index(history, self._left_out(history), reading)

    def _earlier(self, of: str) -> tuple[History | None, Walked, str]:
        """The history that was walked before, or why there is none."""
        if self._marks is None:
            return None, Walked(), NO_MARKS
        loaded = self._marks.load(of)
        why_not = f"{loaded.why_not}, or Git LFS brought files" if loaded.other else loaded.why_not
        if loaded.value is None:
            return None, Walked(), why_not
        try:
            return *parse_marks(loaded.value), ""
        except (KeyError, TypeError, ValueError):
            return None, Walked(), DAMAGED

    def _left_out(self, history: History) -> list[LeftOut]:
        """Entries of the newest commit that are no documents by their nature."""
        others = others_than_files(
            self._repository,
            history.commits[-1],
            include=self._include,
            exclude=self._exclude,
        )
        return [
            LeftOut(path.decode("utf-8", "backslashreplace"), NOT_FILES.get(mode, "no file"))
            for path, mode in others
        ]

    def _walk(
        self, history: History, after: int, through: int, newest: int
    ) -> Iterator[tuple[bytes, Change | Quarantined | None]]:
        """Every path that changed, and how; what is quarantined says its own commit's position as
        `after`. Nothing is to be said of a path that could not be an id, and is gone."""
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
                    change = _change(file, blobs, time, max(newest, time), self._misfit)
                except Unreadable as error:
                    gone = file.blob is None and _path_of(file) is None
                    time = history.times[file.index]
                    yield file.path, None if gone else _quarantined(error, file, commit, time)
                    continue
                newest = change.newest
                yield file.path, change


def _quarantined(error: Unreadable, file: FileChange, commit: str, time: int) -> Quarantined:
    """A file that could not be read, with its own commit's position as `after`. A commit and a path
    are its bytes' identity: they are not read again to be hashed."""
    place = f"{commit}:{file.path.decode('utf-8', 'backslashreplace')!r}"
    return Quarantined(
        place=place,
        reason=str(error),
        after=file.index + 1,
        sha256=sha256(file.blob or b"").hexdigest(),
        since=time_of(time * 1_000_000) if 0 <= time <= LAST_SECOND else None,
        document=_path_of(file),
    )


def _path_of(file: FileChange) -> str | None:
    try:
        return readable_id(file.path.decode())
    except (UnicodeDecodeError, Unreadable):
        return None


def _time(history: History, index: int) -> int:
    seconds = history.times[index]
    if not 0 <= seconds <= LAST_SECOND:
        raise Unreadable(f"the commit's date is {seconds} seconds after 1970; expected 0 to 9999")
    return seconds * 1_000_000


def _change(
    file: FileChange, blobs: Blobs, time: int, newest: int, misfit: FindMisfit | None
) -> Change:
    try:
        path = readable_id(file.path.decode())
    except UnicodeDecodeError as error:
        raise Unreadable("the path is not UTF-8") from error
    if file.blob is None:
        return Change(path, file.index + 1, file.ordinal, time, newest)
    text = _text(blobs.read(file.blob), blobs.directory)
    name = PurePosixPath(path)
    metadata = {
        "path": path,
        "name": name.name,
        "directory": "" if name.parent == PurePosixPath() else str(name.parent),
        "extension": name.suffix.lower(),
    }
    title = (_heading(text) if name.suffix.lower() in MARKDOWN else None) or name.name
    wrong = misfit(metadata, title) if misfit else None
    if wrong is not None:
        raise Unreadable(wrong)
    return Change(
        document_id=path,
        position=file.index + 1,
        ordinal=file.ordinal,
        updated_at=time,
        newest=newest,
        title=title,
        text=text,
        uri=path,
        metadata=canonical_json(metadata).decode(),
        size_bytes=len(text),
    )


def _text(data: bytes | None, directory: Path) -> str:
    if data is not None:
        data = pointed_at(data, directory, limit_bytes=MAX_FILE_BYTES)
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
