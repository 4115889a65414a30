"""One codec for the labels of all engines: whoever can write there can forge one."""

import json

import pytest

from dr_pipelines.errors import Damaged, InvalidRequest
from dr_pipelines.stores.shared import label as module
from dr_pipelines.stores.shared.label import Label, decoded, encoded
from dr_pipelines.testing.store_samples import SPEC


def test_a_label_comes_back_as_it_was() -> None:
    label = Label(spec=SPEC, indexed=True, facts={"mark": "é", "made": {"role": 7}})
    assert decoded(encoded(label), of="docs") == label
    assert decoded(encoded(label).encode(), of="docs") == label


FORGED = {
    "empty": "",
    "no JSON": "{",
    "not an object": "[]",
    "without a specification": '{"indexed": true}',
    "with a key that nobody knows": json.dumps({"spec": {}, "more": 1}),
    "nested deeply": "[" * 100_000,
    "nested deeply in a section": '{"spec": {"engine": {"x": ' + "[" * 500 + "]" * 500 + "}}}",
    "no text": "\ud800",
}


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED)
def test_what_is_no_label_is_damage_that_names_the_collection(text: str) -> None:
    with pytest.raises(Damaged, match="label of docs is unreadable"):
        decoded(text, of="docs")


def test_a_label_that_is_too_long_is_neither_written_nor_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = encoded(Label(spec=SPEC))
    monkeypatch.setattr(module, "MAX_BYTES", len(text.encode()) - 1)
    with pytest.raises(Damaged, match="bytes"):
        decoded(text, of="docs")
    with pytest.raises(InvalidRequest, match=SPEC.name):
        encoded(Label(spec=SPEC))
