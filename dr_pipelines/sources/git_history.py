"""The history of one ref as git tells it: commits, changed paths, and the files' bytes."""

import re
import shlex
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen

from dr_pipelines.errors import InvalidRequest, NotFound, Unavailable
from dr_pipelines.host.permissions import temporary_parent
from dr_pipelines.sources.git_process import Output, run_git, started

REGULAR = frozenset([b"100644", b"100755"])
LINK = b"120000"
SUBMODULE = b"160000"
REMOTE = re.compile(r"\w[\w./-]*", re.ASCII)
MAX_FILE_BYTES = 64 * 1024 * 1024
RAW = ("-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--no-color")


@dataclass(frozen=True, slots=True)
class FileChange:
    """A path that differs from the first parent's; `blob` is None where it is gone."""

    index: int
    ordinal: int
    path: bytes
    blob: bytes | None


@dataclass(frozen=True, slots=True)
class History:
    """First-parent commits, oldest first; commit i+1 is at position i+1. Times in seconds."""

    commits: tuple[str, ...]
    times: "array[int]"


def resolve_ref(directory: Path, ref: str) -> str:
    """The commit that a ref names now; raises `NotFound` for what is not a repository or has no
    such ref."""
    if not directory.is_dir():
        raise NotFound(f"no Git repository at {directory}")
    if ref.startswith("-") or not ref.isprintable() or not ref:
        raise InvalidRequest(f"ref {ref!r}: expected a branch, tag or commit")
    run_git(directory, "rev-parse", "--is-shallow-repository")  # first: is it a repository?
    try:
        return run_git(directory, "rev-parse", "--verify", f"{ref}^{{commit}}").strip()
    except NotFound as error:
        raise NotFound(f"{directory} has no commit at ref {ref!r}") from error


def read_history(directory: Path, ref: str, *, earlier: History | None = None) -> History:
    """Resolve a ref and list its commits; of a line that leads to `earlier` ones only the rest is
    asked for.

    Raises as `resolve_ref` does, and `InvalidRequest` for a shallow clone, whose history is not all
    there.
    """
    commit = resolve_ref(directory, ref)
    if run_git(directory, "rev-parse", "--is-shallow-repository").strip() == "true":
        raise InvalidRequest(
            f"{directory} is a shallow clone, so its history is cut off: run "
            "`git fetch --unshallow` there"
        )
    later = _after(directory, earlier, commit) if earlier and earlier.commits else None
    if earlier and later is not None:
        return History((*earlier.commits, *later.commits), earlier.times + later.times)
    return _listed(directory, commit)


def _after(directory: Path, earlier: History, commit: str) -> History | None:
    """The commits of a line after those that are known; None where it does not lead to them."""
    newest = earlier.commits[-1]
    if commit == newest:
        return History((), array("q"))
    try:
        later = _listed(directory, f"{newest}..{commit}")
        first = f"{later.commits[0]}^1" if later.commits else commit
        leads = run_git(directory, "rev-parse", "--verify", first).strip() == newest
    except NotFound:  # it is no commit of this repository any more, or the first one of another
        return None
    return later if leads else None


def _listed(directory: Path, commits: str) -> History:
    arguments = ("rev-list", "--reverse", "--first-parent", "--timestamp", commits)
    pairs = [line.split() for line in run_git(directory, *arguments).splitlines()]
    return History(tuple(pair[1] for pair in pairs), array("q", [int(pair[0]) for pair in pairs]))


def changed_files(
    directory: Path,
    history: History,
    *,
    after: int,
    through: int,
    include: Sequence[str],
    exclude: Sequence[str],
) -> Iterator[FileChange]:
    """Changes of regular files by the commits at positions in (after, through], each commit's in
    bytewise order of path. A symbolic link or submodule is no file."""
    pathspecs = _pathspecs(include, exclude)
    options = ("--stdin", "--root", *RAW)
    with tempfile.TemporaryFile(dir=temporary_parent()) as requests:
        commits = history.commits
        for index in range(after, min(through, len(commits))):
            parent = f" {commits[index - 1]}" if index else ""
            requests.write(f"{commits[index]}{parent}\n".encode())
        requests.seek(0)
        with started(directory, "diff-tree", *options, "--", *pathspecs, stdin=requests) as process:
            fields = Output(process, directory, "diff-tree").fields(b"\0")
            yield from _parsed(fields, history, after)
            if process.wait():
                raise Unavailable(f"git diff-tree in {directory} failed: run `git fsck` there")


def others_than_files(
    directory: Path, commit: str, *, include: Sequence[str], exclude: Sequence[str]
) -> list[tuple[bytes, bytes]]:
    """Path and mode of what a commit has that is no file, in bytewise order: submodules, whose
    files are asked for or not nobody knows, and of symbolic links those that are asked for."""
    strange = _entries_without_blobs(directory, commit, _pathspecs((), exclude))
    if not any(mode == LINK for _, mode in strange):
        return strange
    selected = set(_entries_without_blobs(directory, commit, _pathspecs(include, exclude)))
    return [entry for entry in strange if entry[1] != LINK or entry in selected]


def _entries_without_blobs(
    directory: Path, commit: str, pathspecs: Sequence[str]
) -> list[tuple[bytes, bytes]]:
    nothing = run_git(directory, "hash-object", "-t", "tree", "--stdin").strip()
    with started(directory, "diff-tree", *RAW, nothing, commit, "--", *pathspecs) as process:
        fields = Output(process, directory, "diff-tree").fields(b"\0")
        pairs = ((next(fields), about.split(b" ", 2)[1]) for about in fields)
        entries = [(path, mode) for path, mode in pairs if mode not in REGULAR]
        if process.wait():
            raise Unavailable(f"git diff-tree in {directory} failed: run `git fsck` there")
    return entries


def _pathspecs(include: Sequence[str], exclude: Sequence[str]) -> list[str]:
    return [f":(glob){p}" for p in include] + [f":(exclude,glob){p}" for p in exclude]


def _parsed(fields: Iterator[bytes], history: History, after: int) -> Iterator[FileChange]:
    """`<commit> NUL (:<modes> <blobs> <status> NUL <path> NUL)*`, commits without changes left
    out."""
    index, ordinal = after - 1, 0
    for field in fields:
        if not field.startswith(b":"):
            index, ordinal = history.commits.index(field.decode().strip(), index + 1), 0
            continue
        before, now, old, new, _ = field[1:].split(b" ")
        path = next(fields)
        ordinal += 1
        if now in REGULAR:
            if before not in REGULAR or old != new:  # else only the mode changed
                yield FileChange(index, ordinal - 1, path, new)
        elif before in REGULAR:
            yield FileChange(index, ordinal - 1, path, None)


class Blobs:
    """Files' bytes by object id, one request at a time. Two processes: one says how large an object
    is, the other is only asked for what is small enough, since git may hold all of it in memory."""

    def __init__(self, sizes: "Popen[bytes]", contents: "Popen[bytes]", directory: Path) -> None:
        self._sizes, self._contents = _Questions(sizes, directory), _Questions(contents, directory)
        self.directory = directory

    def read(self, blob: bytes) -> bytes | None:
        """The bytes; None for more than `MAX_FILE_BYTES`."""
        if self._sizes.size_of(blob) > MAX_FILE_BYTES:
            return None
        return self._contents.output.exactly(self._contents.size_of(blob) + 1)[:-1]


class _Questions:
    """A `git cat-file` that is asked for one object after the other."""

    def __init__(self, process: "Popen[bytes]", directory: Path) -> None:
        self._process, self._directory = process, directory
        self.output = Output(process, directory, "cat-file")

    def size_of(self, blob: bytes) -> int:
        """The size of a blob, after which its bytes may follow in the output."""
        request = self._process.stdin
        if request is None:
            raise InvalidRequest("git cat-file was started without a way to ask it")
        try:
            request.write(blob + b"\n")
            request.flush()
            header = next(self.output.fields(b"\n"), b"")
        except BrokenPipeError:
            header = b""
        if b" blob " not in header:  # missing, or no answer at all
            raise _missing(self._directory, blob.decode())
        return int(header.rsplit(b" ", 1)[1])


def _missing(directory: Path, blob: str) -> Unavailable:
    """Why an object is not there, and what brings it. Nothing is fetched here: where a clone
    fetches from is not ours to contact."""
    names = "config", "--get-regexp", r"^remote\..*\.partialclonefilter$"
    try:
        key = run_git(directory, *names).split(".partialclonefilter ")[0]
    except NotFound:
        return Unavailable(f"object {blob} of {directory} cannot be read: run `git fsck` there")
    remote = key.removeprefix("remote.")
    named = f" {remote}" if REMOTE.fullmatch(remote) else ""  # others do not go into a command
    return Unavailable(
        f"{directory} is a partial clone, and object {blob} of its history was left out: bring all "
        f"of them with `git -C {shlex.quote(str(directory))} fetch --refetch --no-filter{named}`"
    )


@contextmanager
def opened_blobs(directory: Path) -> Iterator[Blobs]:
    """A way to read blobs, for as long as the context lasts."""
    with (
        started(directory, "cat-file", "--batch-check", stdin=PIPE) as sizes,
        started(directory, "cat-file", "--batch", stdin=PIPE) as contents,
    ):
        yield Blobs(sizes, contents, directory)
