"""A Git repository as a source, tried on real repositories."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import zlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dr_pipelines.errors import InvalidRequest, NotFound, Unavailable
from dr_pipelines.model.unread import LeftOut, Unread
from dr_pipelines.protocols import Source, SourcePartition
from dr_pipelines.sources import git_history
from dr_pipelines.sources.git import GitSource
from dr_pipelines.testing.source_contract import FOR_EVER, SourceContract, rows
from tests.ingestion.feeds import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def changed(source: Source, after: int = 0, through: int = FOR_EVER) -> list[tuple[Any, ...]]:
    """Position, id and text (None: deleted) of every change."""
    changes = rows(source, after, through)
    return [(row["position"], row["document_id"], row["text"]) for row in changes]


class TestGitSource(SourceContract):
    @pytest.fixture
    def source(self, repository: Repository) -> Source:
        repository.write("a.md", b"\xff")
        repository.commit("2026-01-01T00:00:00Z")
        repository.write("a.md", "# A\n")
        repository.write("b/c.md", "c")
        repository.commit("2026-01-01T10:00:00Z")
        repository.commit("2026-01-02T00:00:00Z")
        repository.git("rm", "-q", "b/c.md")
        repository.commit("2026-01-04T00:00:00Z")
        repository.write("d.md", "late")
        repository.commit("2026-01-03T00:00:00Z")
        repository.write("a.md", "newer")
        repository.write("binary.md", b"\0")
        repository.commit("2026-01-05T00:00:00+02:00")
        repository.write("c.txt", "not asked for")
        repository.commit("2026-01-09T00:00:00Z")
        return GitSource(repository.path)


def test_a_document_has_its_path_title_and_metadata(repository: Repository) -> None:
    text = "```sh\n# a comment\n```\n\n## The *title* ##  \n\n# Another\n"
    repository.write("docs/Guide.MD", text)
    repository.write("plain.md", "no heading\n#hashtag\n")
    repository.commit("2026-01-01T23:30:00-02:00")
    source = GitSource(repository.path, include=("**/*.md", "**/*.MD"))
    guide, plain = rows(source)
    assert guide["updated_at"].isoformat() == "2026-01-02T01:30:00+00:00"
    assert (guide["position"], guide["ordinal"], guide["day"]) == (1, 0, date(2026, 1, 2))
    assert (guide["document_id"], guide["uri"], guide["text"]) == ("docs/Guide.MD",) * 2 + (text,)
    assert (guide["title"], plain["title"]) == ("The *title*", "plain.md")
    assert guide["metadata"] == (
        '{"directory":"docs","extension":".md","name":"Guide.MD","path":"docs/Guide.MD"}'
    )


def test_partitions_end_at_commits_with_changes(repository: Repository) -> None:
    repository.write("a.md", "1")
    first = repository.commit("2026-01-01T00:00:00Z")
    repository.commit("2026-01-02T00:00:00Z")
    repository.write("a.md", "2")
    repository.write("b.md", "2")
    third = repository.commit("2026-01-03T00:00:00Z")
    repository.commit("2026-01-04T00:00:00Z")
    assert GitSource(repository.path).partitions() == [
        SourcePartition(date(2026, 1, 1), 0, 1, first, 1),
        SourcePartition(date(2026, 1, 3), 1, 3, third, 2),
    ]


def test_a_rename_deletes_one_and_inserts_the_other(repository: Repository) -> None:
    repository.write("old.md", "same text\n" * 20)
    repository.commit()
    repository.git("mv", "old.md", "new.md")
    repository.commit()
    text = "same text\n" * 20
    expected = [(2, "new.md", text), (2, "old.md", None)]
    assert changed(GitSource(repository.path), 1) == expected


def test_a_deleted_file_can_come_back(repository: Repository) -> None:
    repository.write("a.md", "1")
    repository.commit()
    repository.git("rm", "-q", "a.md")
    repository.commit()
    repository.write("a.md", "1")
    repository.commit()
    expected = [(1, "a.md", "1"), (2, "a.md", None), (3, "a.md", "1")]
    assert changed(GitSource(repository.path)) == expected


def test_a_deleted_directory_deletes_its_documents_and_an_empty_file_is_none(
    repository: Repository,
) -> None:
    for name in ("d/a.md", "d/e/b.md", "d.md"):
        repository.write(name, "")
    repository.commit()
    shutil.rmtree(repository.path / "d")
    repository.commit()
    assert changed(GitSource(repository.path)) == [
        (1, "d.md", ""),
        (1, "d/a.md", ""),
        (1, "d/e/b.md", ""),
        (2, "d/a.md", None),
        (2, "d/e/b.md", None),
    ]


def test_a_merge_counts_as_what_it_changed_on_its_line(repository: Repository) -> None:
    repository.write("a.md", "1")
    repository.commit("2026-01-01T00:00:00Z")
    repository.git("checkout", "-q", "-b", "side")
    repository.write("side.md", "s")
    repository.commit("2026-01-02T00:00:00Z")
    repository.write("side.md", "t")
    repository.commit("2026-01-03T00:00:00Z")
    repository.git("checkout", "-q", "main")
    repository.write("a.md", "2")
    repository.commit("2026-01-04T00:00:00Z")
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "side", date="2026-01-05T00:00:00Z")
    source = GitSource(repository.path)
    assert changed(source) == [(1, "a.md", "1"), (2, "a.md", "2"), (3, "side.md", "t")]
    assert source.anchor(3) == repository.git("rev-parse", "main").strip()


def test_dates_that_go_back_stay_on_the_newest_day(repository: Repository) -> None:
    for number, day in enumerate(("05", "03", "05", "04", "06"), start=1):
        repository.write("a.md", str(number))
        repository.commit(f"2026-01-{day}T00:00:00Z")
    partitions = [(p.day.day, p.after, p.through) for p in GitSource(repository.path).partitions()]
    assert partitions == [(5, 0, 4), (6, 4, 5)]


def test_a_glance_shows_a_new_commit_and_is_of_what_is_read(repository: Repository) -> None:
    change_tokens = []
    for text in ("1", "2"):
        repository.write("a.md", text)
        repository.commit()
        change_tokens.append(GitSource(repository.path).change_token())
    change_tokens.append(GitSource(repository.path, exclude=("b.md",)).change_token())
    assert len(set(change_tokens)) == 3
    assert GitSource(repository.path).change_token() == change_tokens[1]


def test_a_forced_push_changes_the_anchors(repository: Repository) -> None:
    for number in range(3):
        repository.write("a.md", str(number))
        repository.commit()
    source = GitSource(repository.path)
    before = [source.anchor(p) for p in (1, 2, 3)]
    repository.git("reset", "-q", "--hard", "HEAD~2")
    repository.write("a.md", "rewritten")
    repository.commit()
    assert [source.anchor(p) for p in (1, 2, 3)] == before  # what was read stays what it was
    source.partitions()
    assert source.anchor(1) == before[0]
    assert source.anchor(2) not in (None, before[1])
    assert source.anchor(3) is None


ODD_NAMES = (
    "ü ñ.md",
    "日本/🗝.md",
    "e\u0301.md",
    "a b'\"c.md",
    ":(glob)x.md",
    "-n.md",
    "*.md",
    "\\.md",
)


def test_odd_names_are_ids_as_they_are(repository: Repository) -> None:
    for name in ODD_NAMES:
        repository.write(name, name)
    repository.commit()
    expected = [(1, name, name) for name in sorted(ODD_NAMES, key=str.encode)]
    assert changed(GitSource(repository.path)) == expected


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.md", b"a\0b", "the file is binary: it has a null byte"),
        ("a.md", b"ab\xff", "the file is not UTF-8 at byte 2"),
        ("a.md", b"x" * 101, "the file has more than 100 bytes"),
        ("new\nline.md", b"x", "id has a control character"),
        (b"\xff.md", b"x", "the path is not UTF-8"),
    ],
)
def test_what_is_no_text_is_quarantined_with_its_path_and_commit(
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    name: str | bytes,
    content: bytes,
    reason: str,
) -> None:
    monkeypatch.setattr(git_history, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr("dr_pipelines.sources.git.MAX_FILE_BYTES", 100)
    repository.write("good.md", "1")
    repository.commit()
    repository.write(name, content)
    commit = repository.commit()
    repository.write("good.md", "2")
    repository.commit()
    source = GitSource(repository.path)
    assert changed(source) == [(1, "good.md", "1"), (3, "good.md", "2")]
    raw = name if isinstance(name, bytes) else name.encode()
    place = f"{commit}:{raw.decode('utf-8', 'backslashreplace')!r}"
    [lines] = source.quarantined(0, 3)
    assert (lines.place, lines.reason, lines.after) == (place, reason, 1)
    assert (lines.since, source.unread().count) == (datetime(2026, 1, 1, tzinfo=UTC), 1)
    assert source.quarantined(1, 3) == []
    (repository.path / raw.decode("utf-8", "surrogateescape")).unlink()
    repository.commit()
    assert source.partitions()
    assert (source.unread().count, source.unread().superseded) == (0, 1)


def test_links_and_submodules_are_no_documents(repository: Repository, tmp_path: Path) -> None:
    other = Repository(tmp_path / "other")
    other.write("x.md", "x")
    commit = other.commit()
    repository.write("a.md", "1")
    (repository.path / "link.md").symlink_to("a.md")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},sub.md")
    repository.git("add", "a.md", "link.md")
    repository.git("commit", "-q", "-m", "x")
    (repository.path / "link.md").unlink()
    repository.write("link.md", "now a file")
    (repository.path / "a.md").unlink()
    (repository.path / "a.md").symlink_to("link.md")
    repository.git("add", "a.md", "link.md")
    repository.git("commit", "-q", "-m", "y")
    expected = [(1, "a.md", "1"), (2, "a.md", None), (2, "link.md", "now a file")]
    source = GitSource(repository.path)
    assert changed(source) == expected
    left = (LeftOut("a.md", "symbolic link"), LeftOut("sub.md", "submodule"))
    assert source.unread() == Unread(left_out=2, others=left)


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ((), ["docs/link.md", "vendor"]),
        (("vendor",), ["docs/link.md"]),
        (("docs/**", "vendor"), []),
    ],
)
def test_a_link_is_left_out_where_it_is_asked_for_and_a_submodule_unless_it_is_excluded(
    repository: Repository, exclude: tuple[str, ...], left: list[str]
) -> None:
    repository.write("a.md", "1")
    (repository.path / "docs").mkdir()
    (repository.path / "docs" / "link.md").symlink_to("../a.md")
    (repository.path / "latest").symlink_to("docs")
    commit = repository.commit()
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},vendor")
    repository.git("commit", "-q", "-m", "x")
    unread = GitSource(repository.path, exclude=exclude).unread()
    assert [other.place for other in unread.others] == left
    assert (unread.left_out, unread.count) == (len(left), 0)


def test_a_change_of_mode_alone_is_no_change(repository: Repository) -> None:
    repository.write("a.md", "1")
    repository.commit()
    (repository.path / "a.md").chmod(0o755)
    repository.commit()
    assert changed(GitSource(repository.path)) == [(1, "a.md", "1")]


def test_include_and_exclude_choose_the_files(repository: Repository) -> None:
    for name in ("a.md", "docs/b.md", "docs/old/c.md", "d.txt", "e.rst"):
        repository.write(name, "x")
    repository.commit()
    source = GitSource(repository.path, include=("**/*.md", "*.txt"), exclude=("docs/old/**",))
    assert [id_ for _, id_, _ in changed(source)] == ["a.md", "d.txt", "docs/b.md"]
    assert source.provenance.settings == {
        "ref": "HEAD",
        "include": ["**/*.md", "*.txt"],
        "exclude": ["docs/old/**"],
    }


def test_a_bare_repository_and_another_branch_are_sources(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write("a.md", "1")
    repository.commit()
    repository.git("checkout", "-q", "-b", "next")
    repository.write("a.md", "2")
    repository.commit()
    repository.git("checkout", "-q", "main")
    repository.git("clone", "-q", "--bare", str(repository.path), str(tmp_path / "bare"))
    assert len(changed(GitSource(repository.path))) == 1
    assert len(changed(GitSource(tmp_path / "bare", ref="next"))) == 2


def test_a_shallow_clone_is_refused(repository: Repository, tmp_path: Path) -> None:
    for number in range(2):
        repository.write("a.md", str(number))
        repository.commit()
    url = f"file://{repository.path}"
    repository.git("clone", "-q", "--depth", "1", url, str(tmp_path / "clone"))
    with pytest.raises(InvalidRequest, match=r"shallow clone.*--unshallow"):
        GitSource(tmp_path / "clone").partitions()


def test_a_directory_inside_a_repository_is_not_that_repository(repository: Repository) -> None:
    repository.write("docs/a.md", "1")
    repository.commit()
    with pytest.raises(NotFound, match="not a git repository"):
        GitSource(repository.path / "docs").partitions()
    with pytest.raises(NotFound, match="no Git repository at"):
        GitSource(repository.path / "nowhere").partitions()


def test_an_unknown_ref_is_not_found(repository: Repository) -> None:
    for ref in ("HEAD", "nowhere"):
        with pytest.raises(NotFound, match=f"no commit at ref '{ref}'"):
            GitSource(repository.path, ref=ref).partitions()
    for ref in ("--output=/tmp/x", "", "a\nb"):
        with pytest.raises(InvalidRequest, match="expected a branch"):
            GitSource(repository.path, ref=ref).partitions()


def test_no_patterns_are_refused() -> None:
    for include in ((), ("",)):
        with pytest.raises(InvalidRequest, match="expected patterns"):
            GitSource("x", include=include)


def test_a_missing_git_is_named(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository.path))
    with pytest.raises(InvalidRequest, match="git executable was not found"):
        GitSource(repository.path).partitions()


def test_the_environment_cannot_redirect_git(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("a.md", "1")
    repository.commit()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    assert changed(GitSource(repository.path)) == [(1, "a.md", "1")]


def test_a_missing_object_is_reported(repository: Repository) -> None:
    repository.write("a.md", "1")
    repository.commit()
    blob = repository.git("rev-parse", "HEAD:a.md").strip()
    (repository.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(Unavailable, match=rf"object {blob} .* cannot be read"):
        GitSource(repository.path).partitions()


NAMES = st.sampled_from(["a.md", "b.md", "d/a.md", "d/b.md", "d/e/ü ' c.md", "a.txt"])
CONTENTS = st.sampled_from(["", "1\n", "2\r\n", "é\u2028"])
COMMITS = st.lists(st.dictionaries(NAMES, CONTENTS | st.none(), max_size=4), min_size=1, max_size=5)


def tree(repository: Repository, commit: str) -> dict[str, str]:
    """Markdown files of a commit, according to git."""
    names = repository.git("ls-tree", "-r", "-z", "--name-only", commit).split("\0")
    markdown = [name for name in names if name.endswith(".md")]
    return {name: repository.git("cat-file", "blob", f"{commit}:{name}") for name in markdown}


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(commits=COMMITS)
def test_changes_applied_in_order_are_the_tree_at_every_commit(
    tmp_path_factory: pytest.TempPathFactory, commits: list[dict[str, str | None]]
) -> None:
    repository = Repository(tmp_path_factory.mktemp("git") / "repository")
    ids = []
    for files in commits:
        for name, content in files.items():
            if content is None:
                (repository.path / name).unlink(missing_ok=True)
            else:
                repository.write(name, content)
        ids.append(repository.commit())
    source, state = GitSource(repository.path), dict[str, str]()
    for position, commit in enumerate(ids, start=1):
        for _, id_, text in changed(source, position - 1, position):
            state.pop(id_, None)
            state |= {} if text is None else {id_: text}
        assert state == tree(repository, commit)
        assert source.anchor(position) == commit


def test_a_git_that_says_nothing_is_given_up(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("a.md", "1")
    repository.commit()
    real = shutil.which("git")
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(
        f'#!/bin/sh\ncase "$*" in *cat-file*) exec sleep 60;; *) exec {real} "$@";; esac\n'
    )
    slow.chmod(0o755)
    subprocess.run([slow, "--version"], check=True, capture_output=True)
    monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")
    monkeypatch.setattr("dr_pipelines.sources.git_process.TIMEOUT_SECONDS", 0.5)
    with pytest.raises(Unavailable, match=r"git cat-file in .* was silent for 0.5 seconds"):
        GitSource(repository.path).partitions()


def test_a_file_that_is_no_longer_text_is_said_while_its_last_version_stays(
    repository: Repository,
) -> None:
    for content in ("readable", b"\xff", "readable again", b"\xfe"):
        repository.write("a.md", content)
        repository.commit()
    source = GitSource(repository.path)
    assert changed(source)[-1] == (3, "a.md", "readable again")
    assert (source.unread().count, source.unread().superseded) == (1, 1)
    [lines] = source.unread().lines
    assert lines.sentence.endswith(
        "the file is not UTF-8 at byte 0; document 'a.md' stays as it was"
    )


def test_a_value_of_the_wrong_type_costs_its_document_alone(repository: Repository) -> None:
    repository.write("a.md", "# 5")
    repository.write("b/c.md", "# C")
    repository.commit()
    source = GitSource(
        repository.path,
        misfit=lambda metadata, _: "directory is not empty" if metadata["directory"] else None,
    )
    assert changed(source) == [(1, "a.md", "# 5")]
    assert source.unread().lines[0].reason == "directory is not empty"


LARGE = b"What Git LFS keeps elsewhere."
OID = hashlib.sha256(LARGE).hexdigest()
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize {len(LARGE)}\n"


def test_an_lfs_pointer_is_named_until_its_file_is_fetched(repository: Repository) -> None:
    repository.write("a.md", POINTER)
    repository.write("about.md", f"This is how a pointer looks:\n\n{POINTER}")
    repository.commit()
    source = GitSource(repository.path)
    assert [id_ for _, id_, _ in changed(source)] == ["about.md"]
    [lines] = source.unread().lines
    assert lines.reason == (
        f"the file is a Git LFS pointer, and its 29 bytes are not here: run `git -C "
        f"{repository.path} lfs fetch --all`, or exclude it"
    )
    before, place = (
        source.change_token(),
        repository.path / f".git/lfs/objects/{OID[:2]}/{OID[2:4]}",
    )
    place.mkdir(parents=True)
    (place / OID).write_bytes(LARGE)
    assert source.change_token() != before
    source.partitions()
    assert (changed(source)[0], source.unread().count) == ((1, "a.md", LARGE.decode()), 0)
    (place / OID).write_bytes(b"something else")
    source.partitions()
    assert source.unread().count == 1


@pytest.mark.timeout(60)  # whoever opens a pipe waits for somebody at its other end
@pytest.mark.parametrize("made", ["pipe", "device", "directory"])
def test_what_is_no_file_in_the_place_of_an_lfs_object_is_not_opened(
    repository: Repository, made: str
) -> None:
    repository.write("a.md", POINTER)
    repository.commit()
    path = repository.path / f".git/lfs/objects/{OID[:2]}/{OID[2:4]}/{OID}"
    path.parent.mkdir(parents=True)
    make = {"pipe": os.mkfifo, "directory": os.mkdir, "device": lambda p: p.symlink_to("/dev/zero")}
    make[made](path)
    source = GitSource(repository.path)
    assert changed(source) == []
    assert "its 29 bytes are not here" in source.unread().lines[0].reason


def test_a_file_that_is_too_large_is_not_asked_for(repository: Repository) -> None:
    """Of this one only the header can be read."""
    repository.write("a.md", "1")
    repository.commit()
    blob = hashlib.sha1(b"large").hexdigest()
    place = repository.path / ".git/objects" / blob[:2] / blob[2:]
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(zlib.compress(b"blob 10000000000\0" + b"0" * 100))
    repository.git("update-index", "--add", "--cacheinfo", f"100644,{blob},large.md")
    tree = repository.git("write-tree", "--missing-ok").strip()
    commit = repository.git("commit-tree", "-p", "HEAD", "-m", "large", tree).strip()
    repository.git("update-ref", "HEAD", commit)
    source = GitSource(repository.path)
    assert changed(source) == [(1, "a.md", "1")]
    assert source.unread().lines[0].reason == "the file has more than 67108864 bytes"


PROGRAMS = [
    "core.fsmonitor",
    "core.pager",
    "core.sshCommand",
    "core.gitProxy",
    "core.askPass",
    "core.alternateRefsCommand",
    "diff.external",
    "diff.x.textconv",
    "diff.x.command",
    "filter.x.clean",
    "filter.x.smudge",
    "filter.x.process",
    "merge.x.driver",
    "gpg.program",
    "credential.helper",
    "uploadpack.packObjectsHook",
    "pager.diff-tree",
    "pager.rev-list",
    "pager.cat-file",
    "pager.rev-parse",
    "pager.config",
    "alias.rev-list",
    "alias.cat-file",
]


def test_nothing_that_a_repository_names_is_run(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings, attributes, hooks, and a remote that is a command; also by a git that does not know
    how not to fetch what a partial clone left out."""
    repository.write("a.md", "1")
    repository.commit()
    real, old = shutil.which("git"), tmp_path / "bin" / "git"
    ran, program = tmp_path / "ran", tmp_path / "program"
    old.parent.mkdir()
    old.write_text(f'#!/bin/sh\nunset GIT_NO_LAZY_FETCH\nexec {real} "$@"\n')
    program.write_text(f'#!/bin/sh\necho "$0 $@" >> {ran}\n')
    for path in (old, program):
        path.chmod(0o755)
    for hook in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc"):
        shutil.copy(program, repository.path / ".git/hooks" / hook)
    (repository.path / ".git/info/attributes").write_text("* filter=x diff=x merge=x\n")
    settings = dict.fromkeys(PROGRAMS, str(program)) | {
        "log.showSignature": "true",
        "protocol.allow": "always",
        "protocol.ext.allow": "always",
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "$(touch x)",
        "remote.$(touch x).url": f"ext::{program} %S",
        "remote.$(touch x).promisor": "true",
        "remote.$(touch x).partialCloneFilter": "blob:none",
    }
    blob = repository.git("rev-parse", "HEAD:a.md").strip()
    for name, value in settings.items():
        repository.git("config", name, value)
    monkeypatch.setenv("PATH", f"{old.parent}:/usr/bin:/bin")
    source = GitSource(repository.path)
    ran.unlink(missing_ok=True)
    assert changed(source) == [(1, "a.md", "1")]
    (repository.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(Unavailable) as refused:
        source.partitions()
    assert not ran.exists()
    assert str(refused.value).endswith(" fetch --refetch --no-filter`")


def test_a_partial_clone_is_named_and_the_command_that_is_printed_completes_it(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write("a.md", "1")
    repository.commit()
    repository.write("a.md", "2")
    repository.commit()
    repository.git("config", "uploadpack.allowFilter", "true")
    clone, url = tmp_path / "a clone", f"file://{repository.path}"
    repository.git("clone", "-q", "--no-checkout", "--filter=blob:none", url, str(clone))
    with pytest.raises(Unavailable, match=r"is a partial clone, and object \w+") as refused:
        GitSource(clone).partitions()
    command = re.search(r"`(.+)`", str(refused.value))
    assert command
    subprocess.run(shlex.split(command[1]), check=True, capture_output=True)
    assert changed(GitSource(clone)) == [(1, "a.md", "1"), (2, "a.md", "2")]


def test_somebody_elses_repository_is_named_with_the_command_that_trusts_it(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("a.md", "1")
    repository.commit()
    real, ours = shutil.which("git"), tmp_path / "bin" / "git"
    ours.parent.mkdir()
    ours.write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {real} "$@"\n')
    ours.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ours.parent}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InvalidRequest, match="belongs to another user") as refused:
        GitSource(repository.path).partitions()
    command = str(refused.value).partition("ingests: ")[2]
    subprocess.run(shlex.split(command), check=True)
    assert changed(GitSource(repository.path)) == [(1, "a.md", "1")]
