"""Before anything is backed up: questions are answered, and asking makes nothing."""

import pytest

from tests.cli.workplace import Workplace

NOTHING = "notes: nothing is backed up yet. Run: dr ingest notes"


def left(place: Workplace) -> list[str]:
    return sorted(path.name for path in place.directory.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        "points notes",
        "documents notes",
        "verify notes --at latest",
        "diff notes seq:1 latest",
        "restore notes --switch",
        "replay notes --from 2026-01-05 --to 2026-01-06",
        "compact notes",
    ],
)
def test_a_question_names_the_command_that_makes_the_first_backup(
    fresh: Workplace, line: str
) -> None:
    before = left(fresh)
    result = fresh.dr(*line.split())
    assert (result.code, " ".join(result.err.split())) == (1, NOTHING)
    assert left(fresh) == before


def test_a_verification_of_nothing_fails(fresh: Workplace) -> None:
    before = left(fresh)
    result = fresh.dr("verify", "notes")
    assert result.code == 1
    assert "nothing is backed up yet: there was nothing to verify" in result.out
    assert left(fresh) == before


def test_status_says_of_every_collection_that_nothing_is_backed_up(fresh: Workplace) -> None:
    before = left(fresh)
    result = fresh.dr("status", "--json")
    assert result.code == 3
    assert {c["collection"]: (c["log"], c["problems"]) for c in result.json["collections"]} == {
        "notes": (0, ["nothing is backed up yet. Run: dr ingest notes"]),
        "memories": (0, ["nothing is backed up yet. Run: dr backup memories"]),
    }
    assert [c["days_behind"] for c in result.json["collections"]] == [3, 0]
    assert left(fresh) == before


def test_a_repository_that_was_there_is_missed_by_a_question(protected: Workplace) -> None:
    assert protected.dr("points", "notes").code == 0
    (protected.directory / "repository").rename(protected.directory / "elsewhere-now")
    result = protected.dr("points", "notes")
    assert result.code == 1
    assert "holds no repository, but this machine has used one there" in " ".join(
        result.err.split()
    )


def test_a_feed_that_is_gone_is_no_quiet_day(protected: Workplace) -> None:
    before = protected.dr("points", "notes", "--json").out.count('"id"')
    (protected.directory / "feed.jsonl").unlink()
    for words in (["--from", "2026-01-08", "--to", "2026-01-09"], []):
        result = protected.dr("ingest", "notes", *words)
        assert (result.code, result.out) == (1, "")
        assert "no change feed at" in " ".join(result.err.split())
    assert protected.dr("points", "notes", "--json").out.count('"id"') == before
