"""Restore a recovery point to a Parquet file, with nothing but docs/format.md, pyarrow and the
standard library: a second implementation of the format, which shares no code with the first.

    python examples/reader/read.py REPOSITORY COLLECTION [--at N] [--position P] OUT.parquet

REPOSITORY is a directory. N is a number of the log (the newest by default), P cuts the state at a
position of the source. Every hash and every digest on the way is recomputed; what does not agree
ends it with exit code 1, and nothing is written.
"""

import argparse
import hashlib
import json
import math
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

ENTRY_LIMIT, OBJECT_LIMIT = 64 << 10, 1 << 30
ORDER = ("epoch", "position", "ordinal", "edit", "generation")
CONTENT = ("id", "document_id", "chunk_index", "text", "uri", "extra")
VERSION = ("epoch", "position", "ordinal", "edit", "chunk_count")
NAMES = {"document_sha256": "binary", "document_id": "string", "presence": "string"}
DOCUMENT = dict.fromkeys(VERSION, "integer") | NAMES
NAN64, NAN32, NULL32 = (struct.pack("<Q", 0x7FF8 << 48), b"\0\0\xc0\x7f", b"\1\0\xc0\x7f")
Row = dict[str, Any]
Cut = tuple[int, int]


class DamagedError(Exception):
    """Something is not what the format says it is."""


class Version(NamedTuple):
    """A version of a document: its place in the order, its document row, and its records."""

    order: tuple[int, ...]
    head: Row
    records: list[Row]


def require(condition: object, message: str) -> None:
    if not condition:
        raise DamagedError(message)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> bytes:
    form: Any = {"sort_keys": True, "separators": (",", ":"), "allow_nan": False}
    return json.dumps(value, ensure_ascii=False, **form).encode()


def read_file(path: Path, limit: int) -> bytes:
    require(path.is_file() and path.stat().st_size <= limit, f"{path} is missing, or too large")
    return path.read_bytes()


def parse(data: bytes, what: str) -> Any:
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{what}: not JSON") from error


class Repository:
    """Objects in a directory, each proven to be the one that was referred to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        identity = sealed(read_file(root / "repo.json", ENTRY_LIMIT), "repo.json")
        format_ = (identity.get("v"), identity.get("features")) == (1, [])
        require(format_, "repo.json: another format, or features that are not known here")

    def fetch(self, ref: Row) -> bytes:
        """The bytes of an object."""
        key, encoding = ref["key"], ref.get("encoding", "json")
        require(encoding in ("json", "parquet", "references"), f"{key}: encoded as {encoding}")
        require("crypto" not in ref, f"{key} is encrypted")
        plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,511}", key)
        require(plain and not {"", ".", ".."} & {*key.split("/")}, f"{key!r} is no key")
        data = read_file(self.root / key, OBJECT_LIMIT)
        require(len(data) == ref["size_bytes"], f"{key} has {len(data)} bytes")
        require(sha256(data) == ref["sha256"], f"{key} has another SHA-256 than was recorded")
        return data

    def entries(self, collection: str) -> Iterator[Row]:
        """Entries of a log, oldest first; each follows the one before."""
        log, previous = self.root / collection / "log", "0" * 64
        numbers = sorted(int(path.stem) for path in log.glob("*.json"))
        require(numbers[-1:] == [len(numbers)], f"{log}: no entries, or some are missing")
        for number in numbers:
            what = f"{collection}/log/{number:020d}.json"
            data = read_file(self.root / what, ENTRY_LIMIT)
            entry = sealed(data, what)
            stated = (entry["v"], entry["i"], entry["previous"], entry["collection"])
            require(stated == (1, number, previous, collection), f"{what}: does not follow")
            previous = sha256(data)
            yield entry

    def manifest(self, entry: Row) -> Row:
        """The manifest that an entry names."""
        ref = entry["body"]["manifest"]
        manifest: Row = parse(self.fetch(ref), ref["key"])
        stated = (manifest["v"], manifest["collection"])
        require(stated == (1, entry["collection"]), f"{ref['key']}: another format or collection")
        unknown = {"features", "excluded", "erased"} & manifest.keys()
        require(not unknown, f"{ref['key']}: uses {sorted(unknown)}, which is not known here")
        return manifest

    def segments(self, manifest: Row) -> Iterator[tuple[Row, pa.Table]]:
        """Every segment with its rows, in order."""
        pages = [parse(self.fetch(page), page["key"]) for page in manifest["pages"]]
        for ref in (ref for page in (*pages, manifest["segments"]) for ref in page):
            rows, index = table(self.fetch(ref), ref), table(self.fetch(ref["index"]), ref)
            require(index.equals(rows.select(index.column_names)), f"{ref['key']}: not its index")
            yield ref, rows


def sealed(data: bytes, what: str) -> Row:
    """An object with its own checksum, if these are its very bytes."""
    value = parse(data, what)
    require(isinstance(value, dict) and canonical(value) == data, f"{what}: not canonical JSON")
    rest = {key: item for key, item in value.items() if key != "checksum"}
    require(value.get("checksum") == sha256(canonical(rest)), f"{what}: checksum does not fit")
    return rest


def table(data: bytes, ref: Row) -> pa.Table:
    try:
        rows = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise DamagedError(f"{ref['key']}: not Parquet") from error
    require(rows.num_rows == ref["rows"], f"{ref['key']} has {rows.num_rows} rows")
    return rows.replace_schema_metadata(None)


def versions(rows: pa.Table, ref: Row, number: int, cut: Cut | None) -> Iterator[Version]:
    """Versions of a segment that count; it may be cut itself."""
    until = ref["until"] and (ref["until"]["epoch"], ref["until"]["position"])
    cuts, listed = [c for c in (cut, until) if c], list[Version]()
    for row in rows_of(rows):
        if row["chunk_index"] >= 0:
            require(listed, f"{ref['key']}: begins with a record")
            listed[-1].records.append(row)
        else:
            sequence = ref["entry"] if row["sequence"] is None else row["sequence"]
            order = (*(row[name] for name in ORDER), sequence, number)
            listed.append(Version(order, row, []))
    for version in listed:
        if not any(version.head["edit"] or version.order[:2] > c for c in cuts):
            yield version


def rows_of(rows: pa.Table) -> Iterator[Row]:
    """Rows as dictionaries, times as microseconds."""
    columns = {}
    for field in rows.schema:
        column = rows[field.name].combine_chunks()
        column = column.view(pa.int64()) if pa.types.is_timestamp(field.type) else column
        columns[field.name] = column.to_pylist()
    yield from (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def components(values: list[float | None]) -> bytes:
    """float32 bits of a vector."""
    parts = (NULL32 if v is None else NAN32 if v != v else struct.pack("<f", v) for v in values)
    return b"".join(parts)


def encode(value: Any, kind: str) -> tuple[bytes, bytes]:
    """Head and payload of a value."""
    if value is None:
        return b"\0" * 9, b""
    if kind == "string":
        data = value.encode()
        return b"S" + struct.pack("<q", len(data)), data
    if kind == "binary":
        return b"H" + struct.pack("<q", len(value)), value
    if kind == "number":
        return b"F" + (NAN64 if math.isnan(value) else struct.pack("<d", value)), b""
    if kind in ("integer", "boolean", "timestamp"):
        return kind[0].upper().encode() + struct.pack("<q", value), b""
    if kind == "strings":
        items = [part for item in value for part in encode(item, "string")]
        return b"L" + struct.pack("<q", len(value)), b"".join(items)
    if kind == "sparse":
        count = len(value["indices"])
        indices = struct.pack(f"<{count}q", *value["indices"])
        return b"P" + struct.pack("<q", count), indices + components(value["values"])
    if kind.startswith("vectors"):
        return b"M" + struct.pack("<q", len(value)), b"".join(map(components, value))
    return b"V" + struct.pack("<q", len(value)), components(value)


def hashed(rows: Iterable[Row], kinds: dict[str, str], label: str) -> Iterator[bytes]:
    """The hash of every row over some columns."""
    described = sorted(kinds.items())
    tag = hashlib.sha256(canonical(["dr", 1, label, described])).digest()[:16]
    for row in rows:
        pairs = [encode(row[name], kind) for name, kind in described]
        data = [tag, *(head for head, _ in pairs), *(payload for _, payload in pairs)]
        yield hashlib.sha256(b"".join(data)).digest()


def kinds_of(spec: Row) -> tuple[dict[str, str], dict[str, str]]:
    """The kinds of columns that content and vectors are digested over."""
    content = {name: "integer" if name == "chunk_index" else "string" for name in CONTENT}
    content |= {f["name"]: f["type"].replace("list[string]", "strings") for f in spec["fields"]}
    names = {"dense": "vector[{}]", "sparse": "sparse", "multi": "vectors[{}]"}
    vectors = {v["name"]: names[v["kind"]].format(v["dimension"]) for v in spec["vectors"]}
    return content, {"id": "string"} | vectors


def fold(segments: Iterable[tuple[Row, pa.Table]], cut: Cut | None) -> list[Version]:
    """The newest version of every document, whole, in order of documents."""
    newest: dict[str, Version] = {}
    for number, (ref, rows) in enumerate(segments):
        for version in versions(rows, ref, number, cut):
            name = version.head["document_id"]
            if name not in newest or version.order > newest[name].order:
                newest[name] = version
    for name, version in newest.items():
        whole = len(version.records) == version.head["chunk_count"]
        require(whole, f"document {name!r} has {len(version.records)} records")
    return [newest[name] for name in sorted(newest, key=str.encode)]


def digests(state: list[Version], spec: Row) -> Row:
    """The digests of a state, recomputed from values."""
    content, vectors = kinds_of(spec)
    records = [record for version in state for record in version.records]
    hashes = {
        "content": [*hashed(records, content, "content")],
        "vectors": [*hashed(records, vectors, "vectors")],
        "documents": [*hashed([version.head for version in state], DOCUMENT, "documents")],
    }
    for name, column in (("content", "content_digest"), ("vectors", "vector_digest")):
        recorded = [record[column] for record in records]
        require(recorded == hashes[name], f"{name}: a record has another digest than it says")
    sums = {name: sum(int.from_bytes(h, "big") for h in values) for name, values in hashes.items()}
    return {name: f"{value % (1 << 256):064x}" for name, value in sums.items()}


def restore(root: Path, collection: str, at: int | None, position: int | None) -> pa.Table:
    """The records of a point, proven to be those that were logged."""
    repository = Repository(root)
    entries = [*repository.entries(collection)]
    number = len(entries) if at is None else at
    require(1 <= number <= len(entries), f"the log has entries 1 to {len(entries)}, not {number}")
    manifest = repository.manifest(entries[number - 1])
    segments = [*repository.segments(manifest)]
    state = fold(segments, None if position is None else (manifest["epoch"], position))
    present = sum(version.head["presence"] == "present" for version in state)
    counts = {"records": sum(len(version.records) for version in state), "documents": present}
    counts["deleted"] = len(state) - present
    computed = {"digests": digests(state, manifest["spec"]), "counts": counts}
    for kind, name in ((kind, name) for kind, values in computed.items() for name in values):
        value, recorded = computed[kind][name], manifest[kind][name]
        print(f"{kind} {name:9} {value}")
        require(
            position is not None or value == recorded, f"{kind} of {name}: recorded is {recorded}"
        )
    return table_of(state, manifest["spec"], segments[-1][1].schema)


def table_of(state: list[Version], spec: Row, schema: pa.Schema) -> pa.Table:
    """Records as a table."""
    names = dict.fromkeys(name for kinds in kinds_of(spec) for name in kinds)
    records = [record for version in state for record in version.records]
    return pa.table({n: pa.array([r[n] for r in records], schema.field(n).type) for n in names})


def main() -> int:
    parser = argparse.ArgumentParser(description="Restore a recovery point to a Parquet file.")
    parser.add_argument("repository", type=Path)
    parser.add_argument("collection")
    parser.add_argument("--at", type=int, help="number of the log entry; default: the newest")
    parser.add_argument("--position", type=int, help="cut at this position of the source")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    try:
        rows = restore(args.repository, args.collection, args.at, args.position)
    except (DamagedError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        print(f"damaged: {error}", file=sys.stderr)
        return 1
    pq.write_table(rows, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
