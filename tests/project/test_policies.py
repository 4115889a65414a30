"""The policies file: what it says when it is wrong, and that secrets stay out of that."""

import json
import re
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dr_pipelines.errors import NotFound
from dr_pipelines.model.collection import FieldType, Metric
from dr_pipelines.model.collection_keys import Degradation, FieldPolicy, Objective
from dr_pipelines.model.collection_policy import CollectionPolicy
from dr_pipelines.model.components import (
    DocumentChunkerPolicy,
    HashingPolicy,
    JsonlSourcePolicy,
    StorePolicy,
)
from dr_pipelines.model.notation import duration, duration_text, holds_secret
from dr_pipelines.model.policy import Policies
from dr_pipelines.project import policy_file
from dr_pipelines.project.policy_file import InvalidPolicy, load_policies
from dr_pipelines.project.policy_places import Document, read_document
from dr_pipelines.project.policy_schema import documents, keys, policy_schema
from dr_pipelines.stores.engines import url_forms

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).parent / "policies"
COMPLETE = (CASES / "complete.yaml").read_text()
SECRET = "s3cr3t-v4lue"
ENVIRON = {"SECRET": SECRET, "EMPTY": "", "PLACE": "duckdb:stores"}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n" for before, after in pairwise("abcde")
)
"""111,110 values in five lines."""


@dataclass(frozen=True)
class Case:
    """A change of complete.yaml and what is said of it, one `line:column: key: …` a line."""

    key: str
    old: str
    new: str
    messages: list[str]


def read_case(text: str) -> Case:
    key, *lines = text.splitlines()
    parts = {mark: [line[1:] for line in lines if line[0] == mark] for mark in "-+!"}
    old, new = ("".join(f"{line}\n" for line in parts[mark]) for mark in "-+")
    return Case(key, old, new, parts["!"])


ERRORS = [read_case(text) for text in (CASES / "errors.txt").read_text().split("\n\n")]


def problems(folder: Path, text: str | bytes, environ: dict[str, str] = ENVIRON) -> list[str]:
    """Problems of a file, without its name; empty when it is valid."""
    path = folder / "policies.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        load_policies(path, environ)
    except InvalidPolicy as error:
        return [line.removeprefix(f"{path}:") for line in str(error).splitlines()]
    return []


def test_the_complete_file_is_accepted(tmp_path: Path) -> None:
    assert problems(tmp_path, COMPLETE) == []


@pytest.mark.parametrize("case", ERRORS, ids=[f"{c.key}-{i}" for i, c in enumerate(ERRORS)])
def test_a_wrong_key_is_named_with_its_place(case: Case, tmp_path: Path) -> None:
    assert case.old in COMPLETE
    assert problems(tmp_path, COMPLETE.replace(case.old, case.new, 1)) == case.messages


def test_every_key_has_a_failing_example() -> None:
    named = {f"{e.path} ({e.kind})" if e.kind else e.path for e in keys(policy_schema())}
    for case in ERRORS:
        pattern = re.escape(case.key.partition(" (")[0]).replace("NAME", "[^:.]+")
        assert any(re.match(rf"\d+:\d+: {pattern}\b", line) for line in case.messages), case
    assert {case.key for case in ERRORS} == named


def test_the_complete_file_uses_every_key() -> None:
    named = r"^(stores|embedders|collections)\.[^.]+|(?<=\.fields)\.[^.]+"
    written = [".".join(map(str, path)) for path in read_document(COMPLETE).spots]
    used = {re.sub(named, lambda m: f"{m[1] or ''}.NAME", path) for path in written}
    assert {entry.path for entry in keys(policy_schema())} <= used


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = COMPLETE
    for old, new in [("recall: 0.95", "recall: 2"), ("version: 1", "version: 2")]:
        text = text.replace(old, new)
    text = text.replace("metric: cosine", "metric: [cosine]").replace("  hashing:", "  h-1:", 1)
    assert [line.split(": ")[1] for line in problems(tmp_path, text)] == [
        "version",
        "collections.handbook.metric",
        "collections.handbook.objectives.degradation.recall",
        "collections.guides.embedder",
        "collections.notes.embedder",
        "collections.memories.search_embedder",
    ]


def test_the_value_of_a_variable_never_shows(tmp_path: Path) -> None:
    for case in ERRORS:
        assert SECRET not in "".join(problems(tmp_path, COMPLETE.replace(case.old, case.new, 1)))
    path = tmp_path / "policies.yaml"
    path.write_text(COMPLETE.replace("path: feed.jsonl", "path: /feeds/${SECRET}.jsonl"))
    loaded = load_policies(path, ENVIRON)
    assert SECRET not in repr(loaded) + str(loaded) + loaded.model_dump_json()
    assert loaded.collections["handbook"].source == JsonlSourcePolicy(
        kind="jsonl", path="/feeds/${SECRET}.jsonl"
    )


def test_what_a_variable_holds_is_checked_and_not_shown(tmp_path: Path) -> None:
    text = COMPLETE.replace('"duckdb:.dr/stores"', "${PLACE}")
    assert problems(tmp_path, text) == []
    assert problems(tmp_path, text, ENVIRON | {"PLACE": f"http://{SECRET}"}) == [
        f"6:10: stores.local.url: found '${{PLACE}}', expected {url_forms()}"
    ]


def test_a_variable_is_not_expanded_twice(tmp_path: Path) -> None:
    text = COMPLETE.replace('"duckdb:.dr/stores"', "${PLACE}")
    assert problems(tmp_path, text, ENVIRON | {"PLACE": "duckdb:${NOT_SET}"}) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@host/x",
        "https://user:hunter2${SECRET}@host/x",
        "https://ghp_hunter2@host/x",
        "postgresql://user:hunter2@host",
        "s3://bucket/x?endpoint=http://user:hunter2@host",
        "s3://bucket/x?endpoint=http%3A%2F%2Fuser%3Ahunter2%40host",
        "s3://bucket/x?secret_access_key=hunter2",
        "duckdb:x?password=hunter2",
        "https://host/x?a=b&sig=hunter2",
        "https://host/x#access_token=hunter2",
    ],
)
@pytest.mark.parametrize("place", ["repository: .dr/repository", "escalation: oncall@example.com"])
def test_a_secret_in_the_file_is_refused_and_not_shown(
    url: str, place: str, tmp_path: Path
) -> None:
    key = place.partition(":")[0]
    messages = problems(tmp_path, COMPLETE.replace(place, f'{key}: "{url}"'))
    assert len(messages) == 1
    assert messages[0].endswith(
        f"{key}: found a URL with a secret, expected ${{NAME}} in its place"
    )


@pytest.mark.parametrize(
    "text",
    [
        "https://${USER}:${PASSWORD}@host/x?token=${TOKEN}",
        "s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=eu",
        "ssh://git@host/x",
        "oncall@example.com",
        "what? token=x",
        "team:search",
    ],
)
def test_what_holds_no_secret_is_not_refused(text: str) -> None:
    assert not holds_secret(text)


def test_an_unknown_key_does_not_show_its_value(tmp_path: Path) -> None:
    messages = problems(tmp_path, COMPLETE.replace("version: 1", "version: 1\npassword: hunter2"))
    assert messages == [
        "2:1: password: found an unknown key, expected one of: access, collections, compression,"
        " embedders, repository, state, stores, version"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the file is empty; "),
        ("# nothing\n", "1:1: the file is empty; "),
        ("---\n", "2:1: found nothing, expected a mapping"),
        ("- a\n", "1:1: found a list, expected a mapping"),
        ("version: [1\n", "2:1: this is not YAML: while parsing a flow sequence, "),
        ("a: b: c", "1:5: this is not YAML: mapping values are not allowed here"),
        ("a: *b", "1:4: this is not YAML: found undefined alias 'b'"),
        ("a: 1\n--- \nb: 2", "2:1: this is not YAML: expected a single document in the stream"),
        ("a:\n\t- b", "2:1: this is not YAML: "),
        ("a: \x07", "1:1: this is not YAML: it holds the character "),
        (b"a: 1\nb: \xff", "2:1: this is not text in UTF-8"),
        ("a: !!python/object/apply:os.system [ls]", "1:4: a: found a tag, expected a plain value"),
        ("<<: {version: 1}", "1:1: found a key that is not plain text, "),
        ("? [a]\n: b", "1:3: found a key that is not plain text, "),
        ('"\\ud800": b', "1:1: found a key that is not plain text, "),
        ('version: "\\ud800"', "1:10: version: found a control character, expected text"),
        ("a: &a [*a]", "1:1: found too much, expected at most 16 levels and 20000 values"),
        ("[" * 5000, "1:1: found too much, "),
        (BOMB, "1:1: found too much, "),
        ("a" * 2_000_000, " larger than 1048576 bytes, "),
    ],
)
def test_what_is_no_policies_file_is_refused_kindly(
    text: str | bytes, message: str, tmp_path: Path
) -> None:
    lines = problems(tmp_path, text)
    assert any(line.startswith(message) for line in lines), lines


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            "[handbok]",
            "expected collections of this file in depends_on of 'memories', not 'handbok'; did you "
            "mean 'handbook'?",
        ),
        ("[memories]", "expected no circle in depends_on, and there is one among: memories"),
    ],
)
def test_dependencies_are_collections_and_go_in_no_circle(
    names: str, message: str, tmp_path: Path
) -> None:
    (problem,) = problems(tmp_path, COMPLETE.replace("on: [handbook]", f"on: {names}"))
    assert message in problem


def test_a_collection_is_recovered_after_those_it_depends_on(tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(COMPLETE.replace("depends_on: [handbook]", "depends_on: [notes, guides]"))
    order = load_policies(path, ENVIRON).in_order()
    assert order == ["handbook", "guides", "notes", "memories"]
    first = COMPLETE.replace("    depends_on: [handbook]\n", "")
    path.write_text(first.replace("    priority: 1\n", "    depends_on: [memories]\n", 1))
    assert load_policies(path, ENVIRON).in_order() == ["guides", "memories", "handbook", "notes"]


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(InvalidPolicy) as caught:
        load_policies(path, {})
    assert str(caught.value) == (
        f"{path}: there is no such file; give another file with --policies FILE, or write "
        "one: dr init WHAT"
    )
    with pytest.raises(InvalidPolicy, match="cannot be read: Is a directory"):
        load_policies(tmp_path, {})


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="abv:1 -[]{}'\"\n#&*!|>%@`?,~${}\\", max_size=60))
def test_no_text_raises_anything_but_an_invalid_policy(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    assert problems(tmp_path_factory.getbasetemp(), text) != []
    damaged = COMPLETE.replace("cosine", text, 1)
    assert isinstance(problems(tmp_path_factory.getbasetemp(), damaged), list)


def test_plain_words_and_dates_are_text_as_in_yaml_1_2() -> None:
    text = "[no, on, 1:30, 010, 2026-01-05, 0x1F, ~, 1e3, -7, true, .inf, '7']"
    values = ["no", "on", "1:30", "010", "2026-01-05", "0x1F", None, 1000.0, -7, True, ".inf", "7"]
    assert read_document(text).value == values


def test_an_anchor_may_be_used_again(tmp_path: Path) -> None:
    text = COMPLETE.replace(", allowance: 10m", "").replace(
        "objectives: {rpo: 1d, rto: 2h}", "objectives: &day {rpo: 1d, rto: 2h}", 1
    )
    text = text.replace("objectives: {rpo: 1d, rto: 2h}", "objectives: *day", 1)
    assert "*day" in text
    assert problems(tmp_path, text) == []


@given(st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=3650)))
def test_a_duration_survives_being_written(length: timedelta) -> None:
    whole = timedelta(seconds=length // timedelta(seconds=1))
    assert whole > timedelta(days=115) or duration(duration_text(whole)) == whole


def collection(**changed: object) -> CollectionPolicy:
    values: dict[str, object] = {
        "owner": "team:search",
        "store": "local",
        "source": JsonlSourcePolicy(kind="jsonl", path="feed.jsonl"),
        "chunker": DocumentChunkerPolicy(kind="document"),
        "embedder": "hashing",
        "partitions_start": date(2026, 1, 5),
        "objectives": Objective(rpo=timedelta(hours=1), rto=timedelta(minutes=30)),
    }
    return CollectionPolicy.model_validate(values | changed)


def policies(**changed: object) -> Policies:
    return Policies(
        version=1,
        repository="repository",
        stores={"local": StorePolicy(url="memory:")},
        embedders={"hashing": HashingPolicy(kind="hashing", dimension=8)},
        collections={"notes": collection(**changed)},
    )


def test_policies_made_in_code_are_checked_too() -> None:
    assert policies().collection("notes") == collection()
    with pytest.raises(ValidationError, match="one of: local; did you mean 'local'"):
        policies(store="lokal")


def test_an_unknown_collection_is_not_found_with_a_hint() -> None:
    with pytest.raises(NotFound) as caught:
        policies().collection("note")
    assert str(caught.value) == (
        "no policy for 'note': expected the name of a collection, one of: notes; did you mean"
        " 'notes'?"
    )


def test_the_projects_own_file_says_what_the_documentation_promises() -> None:
    loaded = load_policies(ROOT / "policies.yaml", {})
    handbook = loaded.collection("handbook")
    string = FieldPolicy(type=FieldType.STRING)
    assert handbook.fields == {
        "product": string,
        "team": FieldPolicy(type=FieldType.STRING, role="tenant"),
        "groups": FieldPolicy(type=FieldType.STRINGS, role="principals"),
        "status": string,
        "version": FieldPolicy(type=FieldType.INTEGER),
        "reviewed": FieldPolicy(type=FieldType.BOOLEAN),
        "updated": FieldPolicy(type=FieldType.TIMESTAMP, filterable=False),
    }
    assert (handbook.metric, handbook.partitions_start) == (Metric.COSINE, date(2026, 1, 5))
    assert handbook.objectives == Objective(
        rpo=timedelta(hours=1),
        rto=timedelta(minutes=30),
        degradation=Degradation(recall=0.95, latency_ms=200),
    )


def test_the_schema_and_the_reference_are_those_of_the_model() -> None:
    for path, text in documents(ROOT / "docs").items():
        assert path.read_text(encoding="utf-8") == text, (
            "run: python -m dr_pipelines.project.policy_schema docs"
        )


def test_every_key_is_explained_with_an_example() -> None:
    page = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    for entry in keys(policy_schema()):
        assert f"| `{entry.path}`" in page
        assert entry.schema["description"]
        parts = ("$ref", "anyOf", "properties", "additionalProperties", "const")
        assert "examples" in entry.schema or any(part in entry.schema for part in parts), entry.path


def test_editors_are_told_of_wrong_shapes_by_the_schema() -> None:
    schema = json.loads((ROOT / "docs" / "policies.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for text in (COMPLETE, (ROOT / "policies.yaml").read_text()):
        validator.validate(read_document(text).value)
    shape = "unknown key|missing|expected (text$|a (list|mapping|whole|number)|true|'|one of )"
    shaped = [case for case in ERRORS if any(re.search(shape, line) for line in case.messages)]
    assert len(shaped) > 40
    for case in shaped:
        value = read_document(COMPLETE.replace(case.old, case.new, 1)).value
        assert not validator.is_valid(value), case


def test_the_examples_of_the_documentation_are_accepted(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    blocks = [b for b in re.findall(r"```yaml\n(.*?)```", page, re.S) if "version: 1" in b]
    assert [
        problems(tmp_path, block, {"S3_ENDPOINT": "https://s3.example"}) for block in blocks
    ] == [[]]


def test_a_file_is_checked_again_where_it_or_a_variable_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[str]()

    def reading(text: str) -> Document:
        read.append(text)
        return read_document(text)

    monkeypatch.setattr(policy_file, "read_document", reading)
    path = tmp_path / "policies.yaml"
    path.write_text(VARIABLE)
    first = load_policies(path, {"PLACE": "here"})
    assert load_policies(path, {"PLACE": "here"}) == first
    assert len(read) == 1

    for _ in range(2):
        with pytest.raises(InvalidPolicy, match="PLACE"):
            load_policies(path, {})
    path.write_text(VARIABLE.replace("team:docs", "team:search"))
    assert load_policies(path, {"PLACE": "here"}).collections["docs"].owner == "team:search"
    assert len(read) == 3


VARIABLE = """
version: 1
repository: ${PLACE}
stores: {local: {url: "duckdb:stores"}}
collections:
  docs:
    owner: team:docs
    store: local
    authority: store
    dimension: 4
    objectives: {rpo: 1h, rto: 30m}
"""
