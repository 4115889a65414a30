"""A Git repository's texts, as a collection: what is tracked, and which of it are texts."""

from collections import Counter
from pathlib import Path, PurePosixPath

from dr_pipelines.errors import InvalidRequest, NotFound
from dr_pipelines.project.proposal.models import HASHING, embedder_lines
from dr_pipelines.project.proposal.names import legal_name
from dr_pipelines.project.proposal.proposal import (
    OWNER,
    Choices,
    Proposal,
    Proposed,
    objectives,
)
from dr_pipelines.project.proposal.subject import GitSubject, placed
from dr_pipelines.project.proposal.text import Line, comment
from dr_pipelines.sources.git_history import resolve_ref
from dr_pipelines.sources.git_process import run_git
from dr_pipelines.stores.engines import suggested_url

TEXTS = frozenset(
    [".md", ".markdown", ".mdx", ".rst", ".txt", ".adoc", ".asciidoc", ".org", ".textile", ".wiki"]
)
"""Endings of files that people write to be read."""
SHOWN = 12


def propose_git(subject: GitSubject, choices: Choices) -> Proposal:
    """The tracked texts of a repository, from its history up to today on.

    Raises:
        InvalidRequest: nothing there is a text, or there is no model to embed it.
        NotFound: it has no commit yet.
    """
    ref = _branch(subject.directory)
    resolve_ref(subject.directory, ref)
    endings = _endings(subject.directory, ref)
    include = [f"**/*{ending}" for ending in sorted(endings) if ending.lower() in TEXTS]
    if not include:
        raise InvalidRequest(
            f"{subject.directory}: no file that {ref} tracks is a text "
            f"({', '.join(sorted(TEXTS))}); there are {_counted(endings)}"
        )
    collection = choices.name or legal_name(subject.directory.resolve().name, fallback="wiki")
    model, embedders = embedder_lines(choices)
    texts = Counter({ending: n for ending, n in endings.items() if ending.lower() in TEXTS})
    rest = endings - texts
    path = placed(subject.directory, choices.base)
    value = {
        "name": collection,
        "source": {"kind": "git", "path": path, "ref": ref, "include": include},
        "embedder": model,
        "partitions_start": choices.today.isoformat(),
        "documents": sum(texts.values()),
        "not_read": dict(rest),
    }
    source = (
        Line(2, "source", comment="where documents come from"),
        Line(3, "kind", "git", "the history of a repository; every committed file is a document"),
        Line(3, "path", path, "its working tree"),
        Line(3, "ref", ref, "the branch that is followed"),
        Line(3, "include", include, f"files to read; tracked now: {_counted(texts)}"),
        *((comment(3, f"tracked, and not read: {_counted(rest)}"),) if rest else ()),
    )
    lines = source_lines(collection, source, choices, model=model)
    return Proposal(
        collections=(Proposed(collection, lines, value),),
        left_out=(),
        stores=local_store(),
        embedders=embedders,
        notes=_uncommitted(subject.directory),
    )


def local_store() -> tuple[Line, ...]:
    """A store for collections that are made of a source."""
    url = suggested_url(".dr/stores")
    return (
        Line(1, "main"),
        Line(2, "url", url, "an embedded store in a directory; see docs/adapters/"),
    )


def source_lines(
    collection: str, source: tuple[Line, ...], choices: Choices, *, model: str
) -> tuple[Line, ...]:
    """A collection that is made of a source."""
    return (
        Line(1, collection),
        Line(2, "owner", choices.owner, OWNER),
        Line(2, "store", "main", "one of `stores`"),
        *source,
        *_chunker(model),
        Line(2, "embedder", model, "one of `embedders`"),
        Line(
            2,
            "partitions_start",
            choices.today,
            "first day of the daily partitions; what was before is read as one state, in its own",
        ),
        *objectives(rpo="1d", rto="1h"),
    )


def _chunker(model: str) -> tuple[Line, ...]:
    """By the model's own tokens, where it has some."""
    head = Line(2, "chunker", comment="how documents are cut")
    if model == HASHING:
        return (head, Line(3, "kind", "characters"), Line(3, "size", 800, "characters of a piece"))
    return (
        head,
        Line(3, "kind", "tokens", "pieces of at most so many of the model's tokens"),
        Line(3, "max_tokens", 200, "the model must read as many"),
    )


def _branch(directory: Path) -> str:
    """The branch that is checked out; `HEAD` where none is."""
    try:
        return run_git(directory, "symbolic-ref", "--short", "-q", "HEAD").strip() or "HEAD"
    except NotFound:
        return "HEAD"


def _endings(directory: Path, ref: str) -> Counter[str]:
    """How many files a commit has of each ending."""
    names = run_git(directory, "ls-tree", "-r", "--name-only", "-z", ref).split("\0")
    return Counter(PurePosixPath(name).suffix for name in names if name)


def _counted(endings: Counter[str]) -> str:
    most = endings.most_common()
    shown = [f"{number} {ending or 'without an ending'}" for ending, number in most[:SHOWN]]
    more = sum(number for _, number in most[SHOWN:])
    return ", ".join([*shown, *([f"{more} others"] if more else [])]) or "none"


def _uncommitted(directory: Path) -> tuple[str, ...]:
    """A warning about changes that are not committed: only commits are read."""
    changed = run_git(directory, "status", "--porcelain", "-z").split("\0")[:-1]
    if not changed:
        return ()
    return (f"{len(changed)} files are changed and not committed: only what is committed is read",)
