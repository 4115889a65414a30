"""Every argument and option has a failing case, with what is said about it."""

import re
from typing import Any

import pytest

from tests.cli.commands import commands
from tests.cli.workplace import Workplace

KNOWN = "known are: memories, notes"
DAY = "expected a day such as 2026-01-31, not 'someday'"
NODES = f"no collection 'nodes' in the policies; {KNOWN}; did you mean 'notes'?"
LOKAL = "no store 'lokal' in the policies; known are: local, other; did you mean 'local'?"
TOGETHER = "--accept-quarantine PLACE:HASH and --reason TEXT go together: give both"
AT = "expected latest, log:N, seq:N or a time such as 2026-05-31 or 2026-05-31T10:00:00Z"
NO_FILE = (
    "nowhere.yaml: there is no such file; give another file with --policies FILE, or write one: "
    "dr init WHAT"
)
TAKES_COLLECTION = (
    "ingest notes",
    "backup notes",
    "points notes",
    "documents notes",
    "verify notes",
    "restore notes",
    "replay notes --from 2026-01-05 --to 2026-01-06",
    "compact notes",
    "search notes crow",
    "diff notes seq:2 latest",
    "golden check notes",
    "golden record notes",
)
KINDS = (
    "collection, documents, store, repository-site, corruption-since, bad-batch, wrong-embeddings "
    "or wrong-schema"
)
PLAN: list[tuple[str, str]] = [
    ("plan nodes", NODES),
    (
        "plan --incident flood",
        f"dr plan: Invalid value for '--incident': expected {KINDS}, not 'flood'",
    ),
    ("plan --incident store", "--incident store needs --store STORE"),
    ("plan --store local", "--store STORE says nothing to --incident collection"),
    ("plan --incident store --store lokal", LOKAL),
    ("plan --into lokal", LOKAL),
    ("plan --incident corruption-since", "--incident corruption-since needs --since TIME"),
    (
        "plan --since soon",
        "dr plan: Invalid value for '--since': expected a time such as 2026-01-31T12:00:00Z, not "
        "'soon'",
    ),
    ("plan notes --incident bad-batch", "--incident bad-batch needs --entry N"),
    (
        "plan notes --incident bad-batch --entry 0",
        "dr plan: Invalid value for '--entry': expected a whole number from 1, not '0'",
    ),
    ("plan notes --incident documents", "--incident documents needs --document ID"),
    (
        "plan --at log:2",
        "--document, --entry and --at are about one collection: name it",
    ),
    ("plan notes --at soon", f"'soon' names no recovery point: {AT}"),
    ("plan --accept-loss=1", "dr: Option '--accept-loss' does not take a value."),
    (
        "plan --accept-code yes",
        "dr plan: Invalid value for '--accept-code': expected 64 hexadecimal digits, not 'yes'",
    ),
    (
        "plan --facts feed.jsonl",
        "--facts feed.jsonl holds no facts of this version: name another file, or remove it",
    ),
    (
        "plan --out no/where.json",
        "--out no/where.json cannot be written: No such file or directory",
    ),
    (
        "plan --check --into other",
        "--check looks at what would stand in the way: use it without the others",
    ),
    ("plan --policies nowhere.yaml", NO_FILE),
    ("plan notes --facts .", "--facts . cannot be read: Is a directory"),
    *(
        (
            f"{words} 0001-01-01T00:00+23:59",
            f"dr {words.split()[0]}: Invalid value for '{words.split()[-1]}': expected a time such "
            "as 2026-01-31T12:00:00Z, not '0001-01-01T00:00+23:59'",
        )
        for words in (
            "plan notes --incident corruption-since --since",
            "recover --plan feed.jsonl --began",
            "restore notes --began",
        )
    ),
    *(
        (
            f"{words} --go-on digests:content {option} {'x' * 2_001} {other} y",
            f"{option} has 2,001 characters, and 2,000 are kept at most",
        )
        for words in ("recover --plan feed.jsonl", "restore notes")
        for option, other in (("--by", "--reason"), ("--reason", "--by"))
    ),
    ("recover", "dr recover: Missing option '--plan'."),
    (
        "recover --plan nowhere.json",
        "--plan nowhere.json cannot be read: No such file or directory",
    ),
    ("restore notes --catch-up=1", "dr: Option '--catch-up' does not take a value."),
    ("restore notes --evidence", "dr: Option '--evidence' requires an argument."),
    ("recover nodes --plan plan.json", NODES),
    ("recover --plan plan.json --evidence", "dr: Option '--evidence' requires an argument."),
    ("recover --plan plan.json --policies nowhere.yaml", NO_FILE),
    *(
        (
            f"recover --plan plan.json {words}",
            "--go-on FINDING, --by NAME and --reason TEXT go together",
        )
        for words in ("--go-on digests:content", "--by me", "--reason why")
    ),
    ("recover --plan feed.jsonl --json=1", "dr: Option '--json' does not take a value."),
    (
        "recover --plan feed.jsonl",
        "--plan feed.jsonl holds no plan of this version: make one with dr plan",
    ),
    (
        "recover --plan plan.json --began soon",
        "dr recover: Invalid value for '--began': expected a time such as 2026-01-31T12:00:00Z, "
        "not 'soon'",
    ),
    ("plan --json=1", "dr: Option '--json' does not take a value."),
]
EXISTS = "policies.yaml exists, and is left as it is: name another file with --policies FILE"
USAGE: list[tuple[str, str]] = [
    *PLAN,
    (
        "golden record notes --to no/where.yaml",
        "--to no/where.yaml cannot be written: there is no directory no",
    ),
    ("init", "dr init: Missing argument 'WHAT'."),
    ("init feed.jsonl", EXISTS),
    (
        "init feed.jsonl --policies new.yaml --embedder http://models.example.com/v1",
        "--embedder takes a model that runs here; one behind HTTP (kind: http) needs its dimension "
        "and limits, which docs/policies.md lists: write it into the file",
    ),
    (
        "init feed.jsonl --policies new.yaml --collection 1st",
        "--collection '1st': expected a letter, then at most 62 letters, digits, hyphens and "
        "underscores",
    ),
    ("init feed.jsonl --json=1", "dr: Option '--json' does not take a value."),
    (
        "backup --accept-absence",
        "--accept-absence applies to one collection: name it",
    ),
    ("backup notes memories --native", "--native applies to one collection: name it"),
    ("ingest notes --from someday", f"dr ingest: Invalid value for '--from': {DAY}"),
    ("ingest notes --to someday", f"dr ingest: Invalid value for '--to': {DAY}"),
    (
        "ingest notes --from 2026-01-07 --to 2026-01-05",
        "--from 2026-01-07 is after --to 2026-01-05",
    ),
    (
        "ingest notes --accept-epoch new --from 2026-01-05",
        "--accept-epoch reads the whole source: leave out --from and --to",
    ),
    ("ingest notes --accept-schema=", "--accept-schema is empty: give the new history a name"),
    (
        "ingest notes --accept-quarantine x",
        "--accept-quarantine PLACE:HASH and --reason TEXT go together: give both",
    ),
    (
        "ingest notes --reason x",
        "--accept-quarantine PLACE:HASH and --reason TEXT go together: give both",
    ),
    (
        "ingest notes --plan --accept-epoch x",
        "--plan covers everything new and changes nothing: use it without other options",
    ),
    ("ingest notes --accept-epoch=", "--accept-epoch is empty: give the new history a name"),
    (
        "ingest memories",
        "'memories' is backed up from its store alone (authority: store): there is no source to "
        "ingest. Run: dr backup memories",
    ),
    ("backup notes --accept-absence=1", "dr: Option '--accept-absence' does not take a value."),
    (
        "backup notes --native",
        "--native: duckdb 2.0.0 has no files of its own to keep; only lance: has",
    ),
    (
        "backup notes --accept-loss records",
        "--accept-loss PART and --reason TEXT go together: say what, and why",
    ),
    (
        "backup notes --reason because",
        "--accept-loss PART and --reason TEXT go together: say what, and why",
    ),
    ("backup notes --every-value=1", "dr: Option '--every-value' does not take a value."),
    (
        "points notes --newest 0",
        "dr points: Invalid value for '--newest': expected a whole number from 1 to 1000000, not "
        "'0'",
    ),
    (
        "golden check notes --at latest --in x",
        "--at asks a recovery point and --in the store: give only one",
    ),
    (
        "golden check notes",
        "'notes' has no golden queries: name their file in the policies (collections.notes.golden; "
        "docs/golden.md says how one is written)",
    ),
    (
        "golden record notes --clusters 0",
        "dr golden record: Invalid value for '--clusters': expected a whole number from 1 to 200, "
        "not '0'",
    ),
    ("golden record notes --at soon", f"'soon' names no recovery point: {AT}"),
    (
        "golden record notes --to policies.yaml",
        "policies.yaml exists, and is left as it is: name another file with --to",
    ),
    ("backup notes --if-changed=1", "dr: Option '--if-changed' does not take a value."),
    ("restore notes --accept-loss=1", "dr: Option '--accept-loss' does not take a value."),
    ("stores --store lokal", LOKAL),
    ("drop notes@1 --store lokal", LOKAL),
    ("drop", "dr drop: Missing argument 'NAME'."),
    *(
        (f"{words} --json=1", "dr: Option '--json' does not take a value.")
        for words in ("stores", "drop notes@1")
    ),
    ("ingest notes --reason x", TOGETHER),
    ("ingest notes --accept-quarantine x", TOGETHER),
    ("documents notes --at soon", f"'soon' names no recovery point: {AT}"),
    (
        "documents notes --at latest --store",
        "--at reads the backup and --store the live store: give only one",
    ),
    ("verify notes --at soon", f"'soon' names no recovery point: {AT}"),
    (
        "verify notes --level 4",
        "dr verify: Invalid value for '--level': expected a whole number from 0 to 3, not '4'",
    ),
    ("restore notes --at soon", f"'soon' names no recovery point: {AT}"),
    (
        "restore notes --route walk",
        "dr restore: Invalid value for '--route': expected load, replay, native or auto, not "
        "'walk'",
    ),
    (
        "restore notes --into a/b",
        "--into 'a/b': expected letters, digits, _ and -, and at most one @ and a suffix",
    ),
    ("restore notes --store x", "no store 'x' in the policies; known are: local, other"),
    ("restore notes --switch=1", "dr: Option '--switch' does not take a value."),
    (
        "restore notes --go-on digests:missing --by me",
        "--go-on FINDING, --by NAME and --reason TEXT go together",
    ),
    (
        "restore notes --reason why",
        "--go-on FINDING, --by NAME and --reason TEXT go together",
    ),
    (
        "restore notes --began soon",
        "dr restore: Invalid value for '--began': expected a time such as 2026-01-31T12:00:00Z, "
        "not 'soon'",
    ),
    (
        "restore notes --time-out soon",
        "--time-out soon: expected a duration such as 90s, 15m or 1h, or PHASE=DURATION",
    ),
    (
        "restore notes --time-out lunch=1h",
        "--time-out lunch=1h: expected a phase, one of access, embed, fold, compare, schema, "
        "records, files, index, prove, catch-up, rights, probe, warm, switch, confirm",
    ),
    ("restore notes --began 9999-01-01", "--began 9999-01-01T00:00:00+00:00 is in the future"),
    ("restore notes --plan=1", "dr: Option '--plan' does not take a value."),
    ("restore notes --with-roles=1", "dr: Option '--with-roles' does not take a value."),
    (
        "restore notes --accept-code yes",
        "dr restore: Invalid value for '--accept-code': expected 64 hexadecimal digits, not 'yes'",
    ),
    *(
        (
            f"{verb} notes --expect-head AB",
            f"dr {verb}: Invalid value for '--expect-head': expected 64 hexadecimal digits, not "
            "'AB'",
        )
        for verb in ("backup", "points", "restore", "verify")
    ),
    (
        "restore notes --embedder wider",
        "--embedder is for --route replay: load takes the vectors that were kept",
    ),
    (
        "restore notes --route replay --embedder x",
        "no embedder 'x' in the policies; known are: hashing, wider",
    ),
    ("replay notes --to 2026-01-05", "dr replay: Missing option '--from'."),
    ("replay notes --from 2026-01-05", "dr replay: Missing option '--to'."),
    (
        "replay notes --from someday --to 2026-01-05",
        f"dr replay: Invalid value for '--from': {DAY}",
    ),
    (
        "replay notes --from 2026-01-05 --to someday",
        f"dr replay: Invalid value for '--to': {DAY}",
    ),
    (
        "replay notes --from 2026-01-07 --to 2026-01-05",
        "--from 2026-01-07 is after --to 2026-01-05",
    ),
    (
        "replay memories --from 2026-01-05 --to 2026-01-05",
        "'memories' is backed up from its store alone (authority: store): it has no source",
    ),
    ("search notes", "TEXT is empty: say what to look for, or give --like ID"),
    ("search notes ", "TEXT is empty: say what to look for, or give --like ID"),
    (
        "search notes crow --mode smell",
        "dr search: Invalid value for '--mode': expected vector, keyword or hybrid, not 'smell'",
    ),
    (
        "search notes crow --limit 0",
        "dr search: Invalid value for '--limit': expected a whole number from 1, not '0'",
    ),
    (
        "search notes crow --limit many",
        "dr search: Invalid value for '--limit': expected a whole number from 1, not 'many'",
    ),
    (
        "search memories crow",
        "'memories' has no embedder in the policies: name one with --embedder (or as its "
        "search_embedder), use --mode keyword, or --like ID",
    ),
    (
        "search notes crow --like a#000000",
        "--like asks by the vector of a record: leave out TEXT, --embedder and other modes",
    ),
    (
        "search notes crow --embedder none",
        "no embedder 'none' in the policies; known are: hashing, wider",
    ),
    ("diff notes latest", "dr diff: Missing argument 'AT'."),
    ("diff notes soon latest", f"'soon' names no recovery point: {AT}"),
    ("diff notes latest soon", f"'soon' names no recovery point: {AT}"),
    (
        "diff notes seq:2 latest --limit 0",
        "dr diff: Invalid value for '--limit': expected a whole number from 1, not '0'",
    ),
    ("demo --keep .", "--keep .: expected a new or empty directory"),
    (
        "demo --days few",
        "dr demo: Invalid value for '--days': expected a whole number from 0, not 'few'",
    ),
    (
        "demo --embedder elmo",
        "dr demo: Invalid value for '--embedder': expected minilm or hashing, not 'elmo'",
    ),
    ("status notes", "dr status: Got unexpected extra argument(s) (notes)"),
    ("recuperate notes", "dr: No such command 'recuperate'."),
    *(
        (f"{words} --policies nowhere.yaml", NO_FILE)
        for words in (*TAKES_COLLECTION, "status", "stores", "drop notes@1")
    ),
    *((words.replace("notes", "nodes"), NODES) for words in TAKES_COLLECTION),
    *(
        (f"{words} --json=1", "dr: Option '--json' does not take a value.")
        for words in (*TAKES_COLLECTION, "status", "demo")
    ),
]
FAILING: list[tuple[str, str]] = [
    ("documents notes --at log:99", "notes: the log holds entries 1 to 8, not 99"),
    (
        "restore notes --at seq:99",
        "notes: source position 99 is not covered: the source was read without a gap up to "
        "position 6",
    ),
    (
        "verify notes --at 2020-01-01",
        "notes: the source says nothing at or before 2020-01-01T00:00:00+00:00",
    ),
    (
        "replay notes --from 2025-01-05 --to 2025-01-06",
        "notes: no day from 2025-01-05 to 2025-01-06 was ingested; the days that were run from "
        "2026-01-05 to 2026-01-07",
    ),
    (
        "drop nothing --store local",
        "store 'local' has no collection 'nothing'. See: dr stores",
    ),
    ("points memories", "memories: nothing is backed up yet. Run: dr backup memories"),
    ("restore memories", "memories: nothing is backed up yet. Run: dr backup memories"),
    (
        "ingest notes --accept-epoch first",
        "notes: epoch 'first' is in force already; a new one needs a new name",
    ),
]


def _words(line: str) -> list[str]:
    return line.split(" ")


@pytest.mark.parametrize(("line", "message"), USAGE)
def test_a_mistake_is_named_and_nothing_is_done(
    protected: Workplace, line: str, message: str
) -> None:
    before = sorted(path for path in protected.directory.rglob("*"))

    result = protected.dr(*_words(line))

    assert (result.code, result.err.splitlines()[0]) == (2, message)
    assert "Traceback" not in result.err
    after = sorted(p for p in protected.directory.rglob("*") if "heads" not in p.parts)
    assert after == [p for p in before if "heads" not in p.parts]


@pytest.mark.parametrize(("line", "message"), FAILING)
def test_what_is_not_there_is_named(protected: Workplace, line: str, message: str) -> None:
    result = protected.dr(*_words(line))
    assert (result.code, result.out, result.err) == (1, "", f"{message}\n")


def test_a_collection_that_the_store_lacks_is_told_with_those_it_has(protected: Workplace) -> None:
    result = protected.dr("backup", "memories")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("no collection 'memories'; there are: notes@")


def test_a_filter_is_read_with_its_position(protected: Workplace) -> None:
    result = protected.dr("search", "notes", "crow", "--filter", "rank = 'x'")
    assert result.code == 2
    assert result.err == (
        "filter, position 8: field 'rank' is integer: expected a whole number within 64 bits, "
        "got 'x'\n"
    )


def test_a_missing_feed_is_named(protected: Workplace) -> None:
    result = protected.dr("demo", "--feed", "nowhere.jsonl")
    expected = f"no change feed at {protected.directory / 'nowhere.jsonl'}: expected a JSONL file\n"
    assert (result.code, result.err) == (1, expected)


def test_a_mistake_is_json_too_where_json_is_asked_for(protected: Workplace) -> None:
    named = protected.dr("restore", "notes", "--at", "soon", "--json")
    assert named.json == {"error": f"'soon' names no recovery point: {AT}", "kind": "Mistake"}
    parsed = protected.dr("restore", "notes", "--json", "--route", "walk")
    assert parsed.json["kind"] == "Usage"
    assert parsed.json["error"].startswith("dr restore: Invalid value for '--route'")


def arguments_of(command: Any, words: list[str]) -> dict[str, str]:
    """The value of each parameter on a command line, in click's order of positions."""
    options = {opt: p for p in command.params for opt in p.opts if opt.startswith("-")}
    places = iter([p.name for p in command.params if p.param_type_name == "argument"])
    left, values = iter(words), dict[str, str]()
    for word in left:
        option, equals, value = word.partition("=")
        if option not in options:
            values[next(places, "")] = word
        elif equals or options[option].is_flag:
            values[options[option].name] = value
        else:
            values[options[option].name] = next(left, "")
    return values


def _blamed(command: Any, words: list[str], message: str) -> set[str]:
    """Parameters that a message is about: it names the option, or quotes what was given for it."""
    arguments = arguments_of(command, words)
    return {
        p.name
        for p in command.params
        if (p.param_type_name == "option" and re.search(rf"{p.opts[0]}\b", message))
        or (p.param_type_name == "argument" and re.search(rf"'?{p.metavar}'?( is|\.$)", message))
        or (p.name in arguments and repr(arguments[p.name]) in message)
    }


def test_every_argument_and_option_has_a_failing_case_that_names_it() -> None:
    tried = {("search", "filter"), ("demo", "feed")}  # tested on their own above
    every = set()
    for name, command in commands().items():
        every |= {(name, p.name) for p in command.params}
        for line, message in (*USAGE, *FAILING):
            if line.startswith(f"{name} ") or line == name:
                words = _words(line)[len(name.split()) :]
                tried |= {(name, blamed) for blamed in _blamed(command, words, message)}
    assert every - tried == set()
