"""Whatever of a source cannot be read is said by every command, until it is read or accepted as "
"lost."""

import json
import os
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from dr_pipelines.model.details import AcceptedEvidence, SourceUnread
from dr_pipelines.repository.history import History
from tests.cli.workplace import CHANGES, Workplace, feed_lines
from tests.ingestion.feeds import Repository

BAD = '{"seq": 7, "ts": "2026-01-07T10:00:00Z", "op": "upsert", "id": "a", "txt": "typo"}\n'


def unread_of(place: Workplace) -> dict[str, object]:
    """The status of the feed, as JSON."""
    status: dict[str, object] = place.dr("status", "--json").json["collections"][0]
    return status


def test_a_line_that_cannot_be_read_is_said_by_ingest_status_and_backup(
    protected: Workplace,
) -> None:
    protected.write_feed(feed_lines() + BAD)
    ingest = protected.dr("ingest", "notes")
    assert ingest.code == 3
    assert "nothing new in the source" in ingest.out
    assert "line 7: missing key text; document 'a' stays as it was" in ingest.out
    status = unread_of(protected)
    assert status["met"] is False  # it waits since January
    assert status["problems"] == [
        "1 line or file of the source cannot be read since 2026-01-07T10:00:00+00:00"
    ]
    assert status["unread"]["lines"][0]["document"] == "a"  # type: ignore[index]
    shown = protected.dr("status")
    assert shown.code == 3
    assert "line 7: missing key text" in " ".join(shown.out.split())
    backup = protected.dr("backup", "notes", "--json")
    assert (backup.code, backup.json["equal"]) == (3, True)
    assert backup.json["source"]["unread"]["count"] == 1
    assert "not in it: line 7: missing key text" in protected.dr("backup", "notes").out
    unchanged = protected.dr("backup", "notes", "--if-changed")
    assert (unchanged.code, "not in it: line 7" in unchanged.out) == (3, True)


def unread_at(place: Workplace) -> SourceUnread:
    """The unread content of the source, by the newest snapshot's entry."""
    from dr_pipelines.project.project import open_project
    from dr_pipelines.proof.points import newest_snapshot, snapshot_detail

    repository = open_project(place.directory / "policies.yaml", {}).reading()
    newest = newest_snapshot(History(repository, "notes"))
    source = snapshot_detail(newest.entry).source
    assert source is not None
    return source


def test_a_recovery_point_says_what_was_unread(protected: Workplace) -> None:
    protected.write_feed(feed_lines() + BAD)
    protected.dr("backup", "notes")
    source = unread_at(protected)
    assert (source.unread, source.unread_since) == (1, datetime(2026, 1, 7, 10, tzinfo=UTC))


def test_a_line_that_is_let_go_is_silent_and_another_in_its_place_is_not(
    protected: Workplace,
) -> None:
    protected.write_feed(feed_lines() + BAD)
    [line] = protected.dr("ingest", "notes", "--json").json["unread"]["lines"]
    name = f"{line['place']}:{line['sha256'][:16]}"
    assert f"[{name}]" in protected.dr("ingest", "notes").out
    done = protected.dr(
        "ingest", "notes", "--accept-quarantine", name, "--reason", "a test record", "--json"
    )
    assert (done.code, done.json["unread"]["count"], done.json["unread"]["accepted"]) == (0, 0, 1)
    status = unread_of(protected)
    assert (status["met"], status["problems"]) == (True, [])
    assert status["unread"]["accepted"] == 1  # type: ignore[index]
    assert protected.dr("backup", "notes").code == 0
    protected.write_feed(feed_lines() + BAD.replace("typo", "another"))
    again = protected.dr("ingest", "notes", "--json")
    assert (again.code, again.json["unread"]["count"]) == (3, 1)


def test_the_log_keeps_who_let_a_line_go_and_why(protected: Workplace) -> None:
    from dr_pipelines.project.project import open_project

    protected.write_feed(feed_lines() + BAD + "not json\n")
    lines = protected.dr("ingest", "notes", "--json").json["unread"]["lines"]
    names = [f"{line['place']}:{line['sha256']}" for line in lines]
    for name in names:
        protected.dr("ingest", "notes", "--accept-quarantine", name, "--reason", f"why {name[:6]}")
    repository = open_project(protected.directory / "policies.yaml", {}).reading()
    entry = repository.log("notes").head().entry
    assert entry is not None
    detail = entry.body.detail
    assert isinstance(detail, AcceptedEvidence)
    assert (entry.kind, detail.lines) == ("evidence", 1)
    assert (detail.reason, "@" in detail.by) == ("why line 8", True)
    assert [ref.key for ref in entry.body.objects] == [detail.listing]
    kept_lines = json.loads(repository.blobs.read(detail.listing))["lines"]
    assert [line["reason"] for line in kept_lines] == ["why line 7", "why line 8"]
    assert protected.dr("verify", "notes", "--level", "3").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--accept-quarantine", "line 7:0123456789abcdef"], "give both"),
        (["--reason", "x"], "give both"),
        (["--accept-quarantine", "line 7:0123456789abcdef", "--reason", "x"], "what is there now"),
        (["--accept-quarantine", "line 9:0123456789abcdef", "--reason", "x"], "no such line"),
        (["--accept-quarantine", "line 7:01", "--reason", "x"], "expected PLACE:HASH"),
        (["--accept-quarantine", "line 7", "--reason", "x"], "expected PLACE:HASH"),
        (["--accept-quarantine", "line 9:0123456789abcdef", "--reason", " "], "a reason of"),
    ],
)
def test_a_decision_that_names_no_line_is_refused(
    protected: Workplace, words: list[str], message: str
) -> None:
    protected.write_feed(feed_lines() + BAD)
    result = protected.dr("ingest", "notes", *words)
    assert (result.code, message in result.err) == (2, True), result.err


def test_bytes_without_a_line_end_expose_the_collection_from_the_files_time_on(
    protected: Workplace,
) -> None:
    protected.write_feed(feed_lines() + BAD[:20])
    now = datetime.now(UTC).timestamp()
    os.utime(protected.directory / "feed.jsonl", (now - 60, now - 60))
    young = unread_of(protected)
    assert (young["met"], young["unread"]["tail_bytes"]) == (True, 20)  # type: ignore[index]
    assert protected.dr("ingest", "notes").code == 0  # somebody may be writing it
    os.utime(protected.directory / "feed.jsonl", (now - 7200, now - 7200))
    old = unread_of(protected)
    assert old["met"] is False
    since = datetime.fromtimestamp(now - 7200, UTC).isoformat(timespec="seconds")
    assert f"20 bytes without a line end since {since}" in " ".join(
        protected.dr("status").out.split()
    )
    assert f"20 bytes without a line end since {since}" in protected.dr("ingest", "notes").out


def test_a_line_delivered_twice_is_no_alarm(protected: Workplace) -> None:
    lines = feed_lines().splitlines(keepends=True)
    protected.write_feed(feed_lines() + lines[2] + lines[5])
    result = protected.dr("ingest", "notes", "--json")
    assert (result.code, result.json["unread"]["duplicates"]) == (0, 2)
    assert unread_of(protected)["met"] is True
    protected.write_feed(feed_lines() + lines[2].replace("Now they do", "Never"))
    assert protected.dr("ingest", "notes").code == 3


def test_a_value_of_the_wrong_type_stops_no_day_and_its_document_stays(
    protected: Workplace,
) -> None:
    wrong = {"ts": "2026-01-08T08:00:00Z", "op": "upsert", "id": "a", "text": "new",
             "metadata": {"rank": "first"}}  # fmt: skip
    fine = {"ts": "2026-01-09T08:00:00Z", "op": "upsert", "id": "f", "text": "Fern."}
    protected.write_feed(feed_lines([*CHANGES, wrong, fine]))
    result = protected.dr("ingest", "notes", "--json")
    assert (result.code, result.json["days"]) == (3, ["2026-01-09"])
    [line] = result.json["unread"]["lines"]
    assert (line["place"], line["document"]) == ("line 7", "a")
    assert line["reason"] == "seq 7: rank is 'first', expected integer"
    rows = {
        row["id"]: row for row in protected.dr("documents", "notes", "--json").json["documents"]
    }
    assert rows["a"]["version"]["position"] == 3  # the one before is served
    assert "document 'a' stays as it was" in " ".join(protected.dr("status").out.split())


@pytest.mark.parametrize("data", [feed_lines().encode("utf-16"), BAD.encode() * 3])
def test_a_feed_of_which_no_line_can_be_read_is_a_failure_everywhere(
    protected: Workplace, data: bytes
) -> None:
    (protected.directory / "feed.jsonl").write_bytes(data)
    result = protected.dr("ingest", "notes")
    assert (result.code, "not one line can be read" in result.err) == (1, True)
    status = unread_of(protected)
    assert status["met"] is None
    assert "not one line can be read" in status["problems"][0]  # type: ignore[index]
    backup = protected.dr("backup", "notes", "--json")
    assert (backup.code, backup.json["equal"]) == (3, True)
    assert "not one line can be read" in backup.json["source"]["problem"]


def test_status_does_not_read_a_source_again_that_has_not_changed(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    protected.write_feed(feed_lines() + BAD)
    first = unread_of(protected)
    monkeypatch.setattr("dr_pipelines.sources.jsonl.read_index", None)
    again = unread_of(protected)
    assert again["unread"] == first["unread"]


def test_a_fields_type_is_changed_by_the_command_that_is_printed(protected: Workplace) -> None:
    wrong = {"ts": "2026-01-08T08:00:00Z", "op": "upsert", "id": "a", "text": "new",
             "metadata": {"rank": "first"}}  # fmt: skip
    changes = [*CHANGES, wrong]
    protected.write_feed(feed_lines(changes))
    assert protected.dr("ingest", "notes").code == 3
    policies = protected.directory / "policies.yaml"
    policies.write_text(
        policies.read_text().replace("rank: {type: integer}", "rank: {type: string}")
    )
    texts = feed_lines(changes)
    for number in range(1, 5):
        texts = texts.replace(f'"rank": {number}', f'"rank": "{number}"')
    protected.write_feed(texts)

    refused = protected.dr("ingest", "notes")
    assert refused.code == 1
    command = refused.err.rpartition(": ")[2].split()
    assert command == ["dr", "ingest", "notes", "--accept-schema", "NAME"]
    done = protected.dr(*command[1:], "--json")

    assert (done.code, done.json["unread"]["count"]) == (0, 0)
    hits = protected.dr("search", "notes", "new", "--filter", "rank = 'first'", "--json").json[
        "hits"
    ]
    assert [hit["document_id"] for hit in hits] == ["a"]
    assert protected.dr("ingest", "notes").out == "notes: nothing new in the source\n"
    assert protected.dr("backup", "notes").code == 0
    assert protected.dr("verify", "notes", "--level", "3").code == 0
    protected.lose()
    assert protected.dr("restore", "notes", "--switch").code == 0
    assert protected.dr("backup", "notes", "--json").json["equal"] is True
    again = protected.dr("ingest", "notes", "--accept-schema", "another")
    assert (again.code, "has the policy's fields" in again.err) == (1, True)


def test_an_older_point_with_the_former_schema_still_comes_back(protected: Workplace) -> None:
    policies = protected.directory / "policies.yaml"
    policies.write_text(policies.read_text().replace(", rank: {type: integer}", ""))
    assert protected.dr("ingest", "notes", "--accept-schema", "without ranks").code == 0
    former = protected.dr("restore", "notes", "--at", "log:7", "--into", "notes-before", "--json")
    assert former.code == 0
    newest = protected.dr("documents", "notes", "--json").json["documents"]
    assert [row["id"] for row in newest] == ["a", "c", "d"]


def test_a_decision_outlives_a_restore_to_a_point_before_it(protected: Workplace) -> None:
    protected.write_feed(feed_lines() + BAD)
    [line] = protected.dr("ingest", "notes", "--json").json["unread"]["lines"]
    name = f"{line['place']}:{line['sha256']}"
    assert protected.dr("ingest", "notes", "--accept-quarantine", name, "--reason", "x").code == 0
    assert protected.dr("restore", "notes", "--at", "log:1", "--switch").code == 0
    done = protected.dr("ingest", "notes", "--json")
    assert (done.code, done.json["unread"]["accepted"]) == (0, 1)


def test_documents_that_give_no_chunk_are_counted_and_said(fresh: Workplace) -> None:
    assert "1 of the documents read gave no chunk" in fresh.dr("ingest", "notes").out
    assert unread_of(fresh)["versions_without_chunks"] == 1
    assert "no chunk versions read without one: 1" in " ".join(fresh.dr("status").out.split())


def test_other_fields_in_the_policy_are_another_sight_of_the_same_feed(
    protected: Workplace,
) -> None:
    assert unread_of(protected)["unread"]["count"] == 0  # type: ignore[index]
    policies = protected.directory / "policies.yaml"
    policies.write_text(
        policies.read_text().replace("team: {type: string}", "team: {type: boolean}")
    )
    assert unread_of(protected)["unread"]["count"] == 3  # type: ignore[index]


def git_source(place: Workplace) -> Repository:
    """The collection has a repository as its source from now on."""
    policies = place.directory / "policies.yaml"
    source = ("{kind: jsonl, path: feed.jsonl}", "{kind: git, path: wiki}")
    policies.write_text(policies.read_text().replace(*source))
    return Repository(place.directory / "wiki")


def test_what_became_readable_after_its_day_was_ingested_is_said_until_it_is_read(
    fresh: Workplace,
) -> None:
    wiki, data = git_source(fresh), b"kept elsewhere"
    oid = sha256(data).hexdigest()
    wiki.write(
        "a.md", f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n"
    )
    wiki.write("b.md", "here")
    wiki.commit("2026-01-05T08:00:00Z")
    assert fresh.dr("ingest", "notes").code == 3
    place = wiki.path / f".git/lfs/objects/{oid[:2]}/{oid[2:4]}"
    place.mkdir(parents=True)
    (place / oid).write_bytes(data)

    message = "2026-01-05: 1 changes can be read now and could not when the day was ingested"
    assert message in " ".join(fresh.dr("status").out.split())
    status = unread_of(fresh)
    assert (status["met"], status["unread"]["count"]) == (False, 1)  # type: ignore[index]
    backup = fresh.dr("backup", "notes", "--json")
    assert (backup.code, backup.json["source"]["unread"]["lines"][0]["place"]) == (3, "2026-01-05")
    assert f"not in it: {message}" in fresh.dr("backup", "notes").out
    assert unread_at(fresh).unread == 1
    fresh.dr("ingest", "notes", "--accept-epoch", "with large files")
    assert unread_of(fresh)["unread"]["count"] == 0  # type: ignore[index]


def test_links_and_submodules_of_a_repository_are_said_to_be_left_out(fresh: Workplace) -> None:
    wiki = git_source(fresh)
    wiki.write("a.md", "# A\n")
    (wiki.path / "link.md").symlink_to("a.md")
    commit = wiki.commit("2026-01-05T08:00:00Z")
    wiki.git("update-index", "--add", "--cacheinfo", f"160000,{commit},vendor")
    wiki.git("commit", "-q", "-m", "x", date="2026-01-05T09:00:00Z")
    message = "2 left out, no documents: link.md (symbolic link), vendor (submodule)"
    as_json = [
        {"place": "link.md", "kind": "symbolic link"},
        {"place": "vendor", "kind": "submodule"},
    ]

    ingest = fresh.dr("ingest", "notes")
    assert (ingest.code, message in ingest.out) == (0, True)
    backup = fresh.dr("backup", "notes")
    assert (backup.code, f"not in it: {message}" in backup.out) == (0, True)
    status = unread_of(fresh)
    assert (status["met"], status["problems"]) == (True, [])
    assert message in " ".join(fresh.dr("status").out.split())
    again = fresh.dr("backup", "notes", "--json").json["source"]
    for unread in (
        status["unread"],
        again["unread"],
        fresh.dr("ingest", "notes", "--json").json["unread"],
    ):
        assert (unread["left_out"], unread["left_out_such_as"]) == (2, as_json)  # type: ignore[index]
    detail = unread_at(fresh)
    assert (detail.left_out, detail.left_out_such_as) == (
        2,
        "link.md (symbolic link), vendor (submodule)",
    )


def test_a_line_of_a_document_that_was_said_again_is_counted_everywhere(
    protected: Workplace,
) -> None:
    later = {"seq": 8, "ts": "2026-01-07T11:00:00Z", "op": "upsert", "id": "a", "text": "right"}
    protected.write_feed(feed_lines() + BAD + json.dumps(later) + "\n")
    message = "1 not read, of documents that were sent again later"
    ingest = protected.dr("ingest", "notes")
    assert (ingest.code, message in ingest.out) == (0, True)
    backup = protected.dr("backup", "notes")
    assert (backup.code, f"not in it: {message}" in backup.out) == (0, True)
    assert message in " ".join(protected.dr("status").out.split())
    assert unread_of(protected)["unread"]["superseded"] == 1  # type: ignore[index]
    assert unread_at(protected).unread_superseded == 1


def test_lines_beyond_those_that_are_known_one_by_one_are_said_with_the_way_out(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dr_pipelines.sources.jsonl_lines.KEPT_LINES", 3)
    protected.write_feed(feed_lines() + "".join(f"bad {n}\n" for n in range(5)))
    result = protected.dr("ingest", "notes", "--json")
    unread = result.json["unread"]
    assert (result.code, unread["count"], unread["unnamed"], len(unread["lines"])) == (3, 5, 2, 3)
    names = [f"{line['place']}:{line['sha256']}" for line in unread["lines"]]
    words = [word for name in names for word in ("--accept-quarantine", name)]
    left = protected.dr("ingest", "notes", *words, "--reason", "junk", "--json")
    assert (left.code, left.json["unread"]["count"], left.json["unread"]["unnamed"]) == (3, 2, 2)
    message = (
        "2 of them are only counted, not listed, so their loss cannot be accepted; they count "
        "until the source is written without them and read again (dr ingest COLLECTION "
        "--accept-epoch "
        "NAME)"
    )
    assert message in protected.dr("ingest", "notes").out
    status = unread_of(protected)
    assert (status["met"], message in status["problems"][0]) == (False, True)  # type: ignore[index]
    assert message in protected.dr("backup", "notes").out
    assert unread_at(protected).unread_unnamed == 2

    protected.write_feed(feed_lines())
    done = protected.dr("ingest", "notes", "--accept-epoch", "without junk", "--json")
    assert (done.code, done.json["unread"]["count"], done.json["unread"]["unnamed"]) == (0, 0, 0)


def test_bytes_without_a_line_end_are_said_by_a_backup(protected: Workplace) -> None:
    protected.write_feed(feed_lines() + BAD[:20])
    backup = protected.dr("backup", "notes", "--json")
    assert (backup.code, backup.json["source"]["unread"]["tail_bytes"]) == (0, 20)
    assert "not in it: 20 bytes without a line end since" in protected.dr("backup", "notes").out
    detail = unread_at(protected)
    assert (detail.bytes_without_line_end, detail.bytes_since is None) == (20, False)
