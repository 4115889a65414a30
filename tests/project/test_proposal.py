"""A proposed policies file says what was found, whatever that is called."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    NAME,
    CollectionSpec,
    Field,
    FieldType,
    Vector,
)
from dr_pipelines.project.adapters import PolicyContext
from dr_pipelines.project.policy_file import load_policies
from dr_pipelines.project.proposal.names import legal_name
from dr_pipelines.project.proposal.proposal import LeftOut, Proposal, Proposed
from dr_pipelines.project.proposal.stores import Asked, collection_lines, store_lines
from dr_pipelines.project.proposal.subject import StoreSubject, subject_of
from dr_pipelines.project.proposal.text import Line, comment, written
from dr_pipelines.project.proposal.writing import write_policies

HOSTILE = [
    *("x: y", "a # b", "- a", "{a: b}", "&a *a", "!!python/object:os.system", "yes", "1e3", "~"),
    *("'", '"', "a\nowner: mallory", "\x1b]0;t\x07", "\u202eevil", "\u2028", "\ufeff", "%YAML"),
    *("${HOME}", "\ud800", "\x00", "a: |\n  b", "Моя таблица", "…", "---"),
]
TEAM = Field(name="team", type=FieldType.STRING)
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60))


@given(key=st.from_regex(NAME, fullmatch=True), value=texts, remark=texts)
def test_a_value_is_read_back_as_it_was_and_comments_say_nothing(
    key: str, value: str, remark: str
) -> None:
    lines = [Line(0, "top"), Line(1, key, value, remark), comment(1, remark), Line(1, "z-last", 1)]
    if not _writable(value):
        with pytest.raises(ValueError, match="YAML"):
            written(lines)
        return
    assert yaml.safe_load(written(lines)) == {"top": {key: value} | {"z-last": 1}}


def _writable(value: str) -> bool:
    return not re.search("[\ud800-\udfff]", value) or _survives(value)


def _survives(value: str) -> bool:
    try:
        return bool(yaml.safe_load(yaml.safe_dump(value, default_style='"')) == value)
    except (yaml.YAMLError, UnicodeError):
        return False


@given(natives=st.lists(texts.filter(bool), max_size=4, unique=True), reason=texts)
def test_what_a_store_calls_things_cannot_change_the_file(
    tmp_path_factory: pytest.TempPathFactory, natives: list[str], reason: str
) -> None:
    taken = set[str]()
    proposed = list[Proposed]()
    for native in natives:
        name = legal_name(native, taken=taken)
        taken.add(name)
        value = {"records": 1, "dimension": 8, "metric": "l2", "key": [native], "tenant": None}
        entry = Asked(name, native, (native,))
        spec = CollectionSpec(
            name="c",
            vectors=(Vector(dimension=8),),
            fields=(TEAM,),
        )
        proposed.append(
            Proposed(name, tuple(collection_lines(entry, spec, value, "team:x")), value)
        )
    subject = StoreSubject("lance:base", "lance:base", {})
    left_out = (LeftOut(reason, reason),)
    proposal = Proposal(tuple(proposed), left_out, store_lines(subject, f"lance {reason}"))
    path = tmp_path_factory.mktemp("policies") / "policies.yaml"
    try:
        write_policies(proposal, path, environ={})
    except (InvalidRequest, ValueError):
        assert list(path.parent.iterdir()) == []  # refused whole
        return
    policies = load_policies(path, {})
    assert {n: p.stored_as for n, p in policies.collections.items()} == {
        each.name: None if native == each.name else native
        for each, native in zip(proposed, natives, strict=True)
    }
    assert {policy.owner for policy in policies.collections.values()} == {"team:x"}


@given(name=texts, taken=st.sets(st.from_regex(NAME, fullmatch=True), max_size=3))
def test_every_name_becomes_a_legal_one_that_is_free(name: str, taken: set[str]) -> None:
    legal = legal_name(name, taken=taken)
    assert NAME.fullmatch(legal)
    assert legal not in taken


@pytest.mark.parametrize(
    ("url_given", "url"),
    [
        ("postgres://app@db/app", "postgresql://app@db/app"),
        ("postgresql+psycopg://app@db/app", "postgresql://app@db/app"),
        ("postgresql://app@db/app", "postgresql://app@db/app"),
        ("lance:s3://bucket/prefix", "lance:s3://bucket/prefix"),
    ],
)
def test_urls_of_other_programs_are_understood(url_given: str, url: str) -> None:
    subject = subject_of(url_given, PolicyContext(Path()))
    assert isinstance(subject, StoreSubject)
    assert (subject.url, subject.written, subject.unset) == (url, url, None)


def test_what_is_nothing_is_told_without_its_secret() -> None:
    with pytest.raises(InvalidRequest) as refused:
        subject_of("mysql://root:hunter2@db/app", PolicyContext(Path()))
    assert "hunter2" not in str(refused.value)
