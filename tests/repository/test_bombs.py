"""Objects small in a repository and huge in memory are refused before they are decoded."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dr_pipelines.errors import Damaged
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.json_size import MAX_VALUES
from dr_pipelines.model.recovery_point import MAX_OBJECT_BYTES, Body, ObjectRef
from dr_pipelines.proof.verify import verify
from dr_pipelines.repository import codec
from dr_pipelines.repository.codec import decode_table, encode_table
from dr_pipelines.repository.history import History
from dr_pipelines.repository.json_codec import decode_json, seal_json
from dr_pipelines.repository.log import Draft, parse_entry
from dr_pipelines.repository.repository import Repository
from tests.repository.builders import REFUSED, manifest, repository

TEXT = pa.schema([("t", pa.string())])
NUMBERS = pa.schema([("n", pa.int64())])
ALLOWED_MIB = 200


def written(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return bytes(sink.getvalue())


def repeated(text: str, rows: int) -> pa.Table:
    indices = pa.array([0], pa.int32()).take(pa.array([0] * rows))
    return pa.table({"t": pa.DictionaryArray.from_arrays(indices, [text])})


def dictionary_bomb() -> bytes:
    """A text of half a megabyte, a hundred thousand times."""
    return written(repeated("x" * 500_000, 100_000), compression="zstd", store_schema=False)


def zero_bomb() -> bytes:
    """Numbers that are all the same; by their footer four gigabytes."""
    table = pa.table({"n": pa.repeat(pa.scalar(7, pa.int64()), 2_000_000)})
    piece = written(table, compression="zstd", use_dictionary=True)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, NUMBERS, compression="zstd") as writer:
        for _ in range(140):
            writer.write_table(table)
    assert len(piece) < 10_000
    return bytes(sink.getvalue())


def prefix_bomb() -> bytes:
    """Long texts that are said once, and then by how much of the one before they repeat."""
    table = pa.table({"t": ["x" * 100_000] * 2_000})
    return written(
        table, use_dictionary=False, column_encoding={"t": "DELTA_BYTE_ARRAY"}, compression="zstd"
    )


def list_bomb() -> bytes:
    return b"[" + b"{}," * 20_000_000 + b"{}]"


def string_bomb() -> bytes:
    """One long text: a search that may go back over it remembers each of its bytes."""
    return b'["' + b"a" * (32 << 20) + b'"'


def strings_bomb() -> bytes:
    return b"[" + b'"",' * 20_000_000 + b'""]'


def quotes_bomb() -> bytes:
    """Texts that could begin anywhere and never end: a search from each of them takes hours."""
    return b'["' + b'\\"' * (8 << 20)


def odd_quotes_bomb() -> bytes:
    return b'["' + b'"\\' * (8 << 20)


BOMBS = {
    "dictionary": (dictionary_bomb, TEXT, "bytes once decoded, more than the limit"),
    "zeros": (zero_bomb, NUMBERS, "bytes once decoded, more than the limit"),
    "prefixes": (prefix_bomb, TEXT, "encoded as DELTA_BYTE_ARRAY, which no object here is"),
    "lists": (list_bomb, None, "more values than the limit"),
    "a string": (string_bomb, None, "brackets without a partner"),
    "strings": (strings_bomb, None, "more values than the limit"),
    "quotes": (quotes_bomb, None, "brackets without a partner"),
    "odd quotes": (odd_quotes_bomb, None, "brackets without a partner"),
}

DECODER = """
    import json, os, resource, sys
    from pathlib import Path
    import pyarrow as pa
    from dr_pipelines.errors import Damaged
    from dr_pipelines.repository.codec import decode_table
    from dr_pipelines.repository.json_codec import decode_json

    schema = {"t": pa.schema([("t", pa.string())]), "n": pa.schema([("n", pa.int64())])}
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))

    def decode(path, kind):
        data, message = Path(path).read_bytes(), ""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            if kind == "json":
                decode_json(data, what="here", limit_bytes=64 << 20)
            else:
                decode_table(data, schema[kind], what="here")
        except Damaged as error:
            message = str(error)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps([message, (after - before) // 1024]), flush=True)

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            decode(*json.loads(line))
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit("a bomb went off")
"""


@pytest.fixture(scope="module")
def decoder() -> "Iterator[subprocess.Popen[str]]":
    """A process that decodes each file it is told of in one of its own, and says how that grew."""
    command = [sys.executable, "-c", textwrap.dedent(DECODER)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_it_goes_off(
    bomb: str, tmp_path: Path, decoder: "subprocess.Popen[str]"
) -> None:
    make, schema, says = BOMBS[bomb]
    path = tmp_path / "bomb"
    path.write_bytes(make())
    kind = "json" if schema is None else schema.names[0]
    assert decoder.stdin
    assert decoder.stdout
    print(json.dumps([str(path), kind]), file=decoder.stdin, flush=True)
    message, grown = json.loads(decoder.stdout.readline())
    assert says in message
    assert grown < ALLOWED_MIB


def test_what_repeats_is_no_bomb() -> None:
    """The bound by dictionaries is far too high here: the texts are measured then."""
    texts = ["y" * 200_000, *["z"] * 50_000]
    table = pa.table({"title": pa.array(texts)})
    data = bytes(encode_table(table))
    assert codec.MAX_DECODED_BYTES < 50_001 * 200_000
    assert decode_table(data, table.schema, what="here").equals(table)


def test_lists_of_what_repeats_are_measured_too(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"groups": pa.array([["a" * 1000, "b"]] * 2_000)})
    data = bytes(encode_table(table))
    monkeypatch.setattr(codec, "MAX_DECODED_BYTES", 2_300_000)
    assert decode_table(data, table.schema, what="here").equals(table)
    monkeypatch.setattr(codec, "MAX_DECODED_BYTES", 1_900_000)
    with pytest.raises(Damaged, match="bytes once decoded"):
        decode_table(data, table.schema, what="here")


def test_other_rows_than_were_said_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"t": ["a", "b"]})
    data = bytes(encode_table(table))
    assert decode_table(data, TEXT, what="here", rows=2).equals(table)
    monkeypatch.setattr(codec, "parse", None)
    with pytest.raises(Damaged, match=r"^here: 2 rows, not 3$"):
        decode_table(data, TEXT, what="here", rows=3)


def test_many_columns_are_not_decoded() -> None:
    data = written(pa.table({f"c{n}": pa.array([1], pa.int8()) for n in range(5000)}))
    with pytest.raises(Damaged, match=r"^here: 5000 columns, more than 4096"):
        decode_table(data, TEXT, what="here")


def test_commas_in_texts_are_no_values() -> None:
    texts = ["," * (MAX_VALUES + 1), '"[,' * 10]
    assert decode_json(json.dumps(texts).encode(), what="here", limit_bytes=64 << 20) == texts


def test_an_object_that_has_grown_is_not_read_whole() -> None:
    home = repository()
    ref = home.put("books/a", b"123")
    home.blobs.delete("books/a")
    home.blobs.create("books/a", b"1" * 5000)
    with pytest.raises(Damaged, match="books/a has 5000 bytes, not 3"):
        home.fetch(ref)


@pytest.mark.parametrize("key", ["a/../../etc/passwd", "a/../b", "a//b", "a/./b", f"a/{'x' * 256}"])
def test_a_reference_out_of_the_repository_is_none(key: str) -> None:
    with pytest.raises(ValueError, match="expected names of at most 255 bytes"):
        ObjectRef(key=key, sha256="0" * 64, size_bytes=1)


def test_a_reference_to_more_than_an_object_holds_is_none() -> None:
    with pytest.raises(ValueError, match="less than or equal"):
        ObjectRef(key="a", sha256="0" * 64, size_bytes=MAX_OBJECT_BYTES + 1)


def forged(home: Repository, *, objects: list[ObjectRef], **changes: Any) -> None:
    """An entry whose manifest, or objects, say what no honest writer says."""
    value = manifest().model_dump(mode="json") | changes
    key = f"books/manifests/{home.log('books').head().number}.json"
    body = Body(manifest=home.put(key, canonical_json(value)), objects=objects, detail=REFUSED)
    home.log("books").append("evidence", lambda head: Draft(1, body))


def listing(home: Repository, value: object) -> list[ObjectRef]:
    """A list of references as whoever may write can make one."""
    ref = home.put("books/evidence/references/0.json", canonical_json(value))
    return [ref.model_copy(update={"encoding": "references"})]


HOSTILE = {"key": "a/../../../etc/passwd", "sha256": "0" * 64, "size_bytes": 1}


def test_verification_names_a_hostile_page_and_goes_on() -> None:
    home = repository()
    forged(home, objects=[])
    forged(home, objects=[], segments={"pages": [HOSTILE], "tail": []})
    verification = verify(History(home, "books"), level=2)
    assert verification.points == 2
    assert [finding.key for finding in verification.findings] == ["books/manifests/1.json"]


@pytest.mark.parametrize("value", [[HOSTILE], {"key": 1}, [1]], ids=["path", "object", "number"])
def test_verification_names_a_hostile_list_of_references_and_goes_on(value: object) -> None:
    home = repository()
    forged(home, objects=[])
    forged(home, objects=listing(home, value))
    verification = verify(History(home, "books"), level=2)
    assert verification.points == 2
    assert [finding.key for finding in verification.findings] == ["books/manifests/1.json"]
    assert "not a list of references" in verification.findings[0].problem


def test_an_entry_that_names_a_hostile_object_is_damaged() -> None:
    home = repository()
    forged(home, objects=[])
    value = json.loads(home.blobs.read("books/log/00000000000000000001.json"))
    del value["checksum"]
    value["body"]["objects"] = [HOSTILE]
    with pytest.raises(Damaged, match=r"not a log entry"):
        parse_entry(seal_json(value), number=1, what="here")
