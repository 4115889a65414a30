"""Restore one recovery point of a repository to a Parquet file, proving every digest on the way.

    python read.py REPOSITORY COLLECTION [--at N] [--position N] OUT.parquet

Written from docs/format.md alone; it shares no code with the package. The log is proven from its
first entry; an entry leads to a manifest, a manifest to segments; of each document the newest
version counts. OUT has the columns of a segment, and the records in order of `id`, with what their
document row says; until it is whole it has another name, and a failure leaves none. Exit status:
0, or 1 with one line on stderr. Left out: limits but of sizes, unknown keys, indexes (a copy).
"""

import argparse
import hashlib
import itertools
import json
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

Json = dict[str, Any]
ENTRY_BYTES = 1 << 16
LIMIT_BYTES = {"json": 1 << 26, "parquet": 1 << 30, "arrow": 1 << 28}
GAP = 64  # numbers beyond the head where no entry may be
NULL, NAN, NAN64 = bytes.fromhex("0100c07f"), bytes.fromhex("0000c07f"), 0x7FF8 << 48
NAME = re.compile(r"(?!\.\.?$)[A-Za-z0-9_.-]{1,255}")  # in a key
LABELS = ("content", "vectors", "documents")  # of digests
CHANGING = ("features", "excluded", "erased")  # in a manifest: with them the state is another one
INT32, INT64, FLOAT, STRING = pa.int32(), pa.int64(), pa.float32(), pa.string()
TIME, HASH, STRINGS = pa.timestamp("us", "UTC"), pa.binary(32), pa.list_(STRING)
SPARSE = pa.struct({"indices": pa.list_(INT64), "values": pa.list_(FLOAT)})
FIELDS = {"string": STRING, "integer": INT64, "number": pa.float64(), "boolean": pa.bool_()}
FIELDS |= {"timestamp": TIME, "list[string]": STRINGS}
KINDS = {t: n for n, t in FIELDS.items()} | {STRINGS: "strings", INT32: "integer", HASH: "binary"}
ORDER = {"epoch": INT32, "position": INT64, "ordinal": INT32, "edit": INT32}
ORDER |= {"generation": INT64, "sequence": INT64}
DOCUMENT = {"presence": STRING, "chunk_count": INT32, "document_sha256": HASH}
KEY = {"document_id": STRING, **ORDER, "chunk_index": INT32, "id": STRING, **DOCUMENT}
LAST = {"content_digest": HASH, "vector_digest": HASH}
LAST |= {"provenance": STRING, "batch": STRING, "updated_at": TIME}


class Refused(Exception):
    """This reader does not know what the repository uses, or it has no such point."""


def demand(holds: bool, message: str) -> None:
    """Raise ValueError unless `holds`: bytes are not those that were written."""
    if not holds:
        raise ValueError(message)


def canonical(value: Any) -> bytes:
    """Encode as canonical JSON; Python's `repr` of a float is what the format asks for."""
    options: Json = {"ensure_ascii": False, "allow_nan": False, "sort_keys": True}
    return json.dumps(value, separators=(",", ":"), **options).encode()


def sealed(root: Path, key: str) -> tuple[Json, str]:
    """Return an entry or `repo.json`, its bytes and checksum proven, and its hash."""
    demand((root / key).stat().st_size <= ENTRY_BYTES, f"{key}: over the limit")
    data = (root / key).read_bytes()
    value = json.loads(data.decode())
    demand(canonical(value) == data, f"{key}: not canonical JSON")
    rest = canonical({name: member for name, member in value.items() if name != "checksum"})
    demand(value["checksum"] == hashlib.sha256(rest).hexdigest(), f"{key}: checksum does not fit")
    require_known(value, key)
    return value, hashlib.sha256(data).hexdigest()


def require_known(value: Json, what: str) -> None:
    """Refuse another version, and what would make the state another one."""
    used = [f"{name} {value[name]}" for name in CHANGING if value.get(name)]
    used += [f"version {value['v']}"] if value["v"] != 1 else []
    if used:
        raise Refused(f"{what}: {', '.join(used)} not known")


def fetch(root: Path, reference: Json, encoding: str = "json") -> bytes:
    """Return the object that `reference` names; `encoding` is that of its place."""
    key, size_bytes = reference["key"], reference["size_bytes"]
    demand(len(key) <= 512 and all(map(NAME.fullmatch, key.split("/"))), f"not a key: {key!r}")
    encodings = (encoding, f"{encoding}+zstd")[: 1 + (encoding == "arrow")]
    if "crypto" in reference or reference.get("encoding", encoding) not in encodings:
        raise Refused(f"{key}: its encoding or encryption is not known")
    path = root / key
    fits = path.is_file() and path.stat().st_size == size_bytes <= LIMIT_BYTES[encoding]
    demand(fits, f"{key}: missing, not of {size_bytes} bytes, or over the limit")
    data: bytes = path.read_bytes()
    demand(hashlib.sha256(data).hexdigest() == reference["sha256"], f"{key}: another SHA-256")
    return data


def table(root: Path, reference: Json, schema: pa.Schema, encoding: str = "parquet") -> Any:
    """Return the rows of an object with exactly these columns; times as microseconds."""
    data = pa.BufferReader(fetch(root, reference, encoding))
    rows = (ipc.open_file(data).read_all if encoding == "arrow" else pq.ParquetFile(data).read)()
    fits = (rows.schema.names, rows.schema.types) == (schema.names, schema.types)
    demand(fits, f"{reference['key']}: columns are not the specification's")
    rows.validate(full=True)
    exact = [field.with_type(INT64) if field.type == TIME else field for field in rows.schema]
    return rows.cast(pa.schema(exact)).to_pylist()


def read_entry(root: Path, collection: str, *, at: int | None) -> Json:
    """Prove the log from its first entry and return entry `at`, or the newest."""
    entry, previous = None, "0" * 64
    for number in itertools.count(1) if at is None else range(1, at + 1):
        key, *later = (f"{collection}/log/{n:020d}.json" for n in range(number, number + GAP))
        if not (root / key).exists():
            demand(not any((root / other).exists() for other in later), f"{key}: missing")
            break
        entry, digest = sealed(root, key)
        demand((entry["collection"], entry["i"]) == (collection, number), f"{key}: is not itself")
        demand(entry["previous"] == previous, f"{key}: does not follow the entry before it")
        previous = digest
    if entry is None or at not in (None, entry["i"]):
        raise Refused(f"{collection}: no log entry {1 if at is None else at}")
    return entry


def read_manifest(root: Path, entry: Json) -> tuple[Json, list[Json]]:
    """Return the manifest in force at `entry` and its segments, oldest first."""
    manifest: Json = json.loads(fetch(root, entry["body"]["manifest"]))
    require_known(manifest, what := entry["body"]["manifest"]["key"])
    demand(manifest["collection"] == entry["collection"], f"{what}: of another collection")
    listed = [*manifest["segments"]["pages"], *manifest["segments"]["tail"]]
    while any("level" in one for one in listed):  # a page: of segments, or of pages below it
        parts = (json.loads(fetch(root, one)) if "level" in one else [one] for one in listed)
        listed = [*itertools.chain(*parts)]
    return manifest, listed


def words(values: list[int]) -> bytes:
    """Return little-endian 64-bit words."""
    return struct.pack(f"<{len(values)}Q", *values)


def components(values: list[float | None]) -> bytes:
    """Return float32 bits: one NaN for all, another for null."""
    return b"".join(NULL if x is None else NAN if x != x else struct.pack("<f", x) for x in values)


ENCODERS: dict[str, Callable[[Any], tuple[bytes, int, bytes]]] = {  # type byte, word, payload
    "string": lambda v: (b"S", len(v.encode()), v.encode()),
    "integer": lambda v: (b"I", v, b""),
    "number": lambda v: (b"F", NAN64 if v != v else int.from_bytes(struct.pack(">d", v)), b""),
    "boolean": lambda v: (b"B", int(v), b""),
    "timestamp": lambda v: (b"T", v, b""),
    "strings": lambda v: (b"L", len(v), b"".join(p for item in v for p in encode("string", item))),
    "binary": lambda v: (b"H", len(v), v),
    "vector": lambda v: (b"V", len(v), components(v)),
    "sparse": lambda v: (b"P", len(v["indices"]), words(v["indices"]) + components(v["values"])),
    "vectors": lambda v: (b"M", len(v), b"".join(map(components, v))),
}


def encode(kind: str, value: Any) -> tuple[bytes, bytes]:
    """Return head and payload of a value; a timestamp comes as microseconds."""
    encoder = ENCODERS[kind.partition("[")[0]]
    mark, word, payload = (b"\0", 0, b"") if value is None else encoder(value)
    return mark + (word & (1 << 64) - 1).to_bytes(8, "little"), payload


def hasher(label: str, names: list[str], kinds: dict[str, str]) -> Callable[[Json], bytes]:
    """Return the function from a row to its hash under `label`."""
    columns = [(name, kinds[name]) for name in sorted(names)]
    tag = hashlib.sha256(canonical(["dr", 1, label, columns])).digest()[:16]

    def digest(row: Json) -> bytes:
        heads, payloads = zip(*(encode(kind, row[name]) for name, kind in columns), strict=True)
        return hashlib.sha256(tag + b"".join(heads + payloads)).digest()

    return digest


class Version(NamedTuple):
    """A version of a document: its place in the order, its rows and their hashes by label."""

    order: tuple[int, ...]
    document: Json
    records: list[Json]
    hashes: dict[str, list[bytes]]


def vector_column(vector: Json) -> tuple[str, pa.DataType]:
    """Return kind and type of a column of vectors."""
    if vector["kind"] == "sparse":
        return "sparse", SPARSE
    several, dense = vector["kind"] == "multi", pa.list_(FLOAT, vector["dimension"])
    return f"vector{'s' * several}[{vector['dimension']}]", pa.list_(dense) if several else dense


def layout(spec: Json) -> tuple[pa.Schema, pa.Schema, dict[str, Callable[[Json], bytes]]]:
    """Return columns of rows and of vectors under a specification, and what hashes, by label."""
    fields = {field["name"]: FIELDS[field["type"]] for field in spec["fields"]}
    vectors = {vector["name"]: vector_column(vector) for vector in spec["vectors"]}
    texts = {"text": STRING, "uri": STRING, **fields, "extra": STRING}
    kinds = {name: KINDS[type_] for name, type_ in {**KEY, **texts}.items()}
    kinds |= {name: kind for name, (kind, _) in vectors.items()}
    rows = pa.schema({**KEY, **texts, **LAST})
    beside = pa.schema({name: type_ for name, (_, type_) in vectors.items()})
    labels = {"content": ["id", "document_id", "chunk_index", *texts], "vectors": ["id", *vectors]}
    labels["documents"] = ["document_id", "epoch", "position", "ordinal", "edit", *DOCUMENT]
    return rows, beside, {label: hasher(label, names, kinds) for label, names in labels.items()}


def read_versions(root: Path, segment: Json, spec: Json) -> list[Version]:
    """Return all versions in a segment, its digests recomputed from values."""
    schema, beside, hashers = layout(spec)
    what, rows, versions = segment["key"], table(root, segment, schema), []
    objects, records = segment.get("vectors", []), [r for r in rows if r["chunk_index"] != -1]
    vectors = [row for one in objects for row in table(root, one, beside, "arrow")]
    for row, vector in zip(records if beside.names else [], vectors, strict=True):
        row.update(vector)
    starts = [place for place, row in enumerate(rows) if row["chunk_index"] == -1]
    demand(not rows or starts[:1] == [0], f"{what}: begins with a record")
    for start, stop in itertools.pairwise([*starts, len(rows)]):
        document, *records = rows[start:stop]
        whole = document["chunk_count"] == len(records)
        whole &= all(row[n] == document[n] for row in records for n in ("document_id", *ORDER))
        demand(whole, f"{what}: {document['document_id']!r} is not whole")
        hashes = {label: list(map(hashers[label], records)) for label in LABELS[:2]}
        stored = [(row["content_digest"], row["vector_digest"]) for row in records]
        demand(stored == list(zip(*hashes.values(), strict=True)), f"{what}: digests do not fit")
        hashes["documents"] = [hashers["documents"](document)]
        order = [segment["entry"] if document[name] is None else document[name] for name in ORDER]
        versions.append(Version(tuple(order), document, records, hashes))
    demand(digests(versions) == segment["digests"], f"{what}: its digests do not fit")
    return versions


def digests(versions: list[Version]) -> Json:
    """Return the sums of the hashes of `versions`."""
    hashes = {n: [h for one in versions for h in one.hashes[n]] for n in LABELS}
    return {n: f"{sum(map(int.from_bytes, h)) % (1 << 256):064x}" for n, h in hashes.items()}


def fold(root: Path, segments: list[Json], spec: Json, cut: Json | None = None) -> list[Version]:
    """Return the newest version of each document, of those up to `cut` where it is given."""
    newest: dict[str, Version] = {}
    for segment in segments:  # in order: of equal versions the later segment's counts
        cuts = [(one["epoch"], one["position"]) for one in (segment["until"], cut) if one]
        for version in read_versions(root, segment, spec):
            epoch, position, _, edit, *_ = version.order
            counts = all(edit == 0 and (epoch, position) <= one for one in cuts)
            name = version.document["document_id"]
            if counts and (name not in newest or version.order >= newest[name].order):
                newest[name] = version
    return list(newest.values())


def restore(root: Path, collection: str, at: int | None, position: int | None) -> pa.Table:
    """Return the records of a recovery point in order of id, everything proven."""
    sealed(root, "repo.json")
    manifest, segments = read_manifest(root, read_entry(root, collection, at=at))
    cut = None if position is None else {"epoch": manifest["epoch"], "position": position}
    state = fold(root, segments, manifest["spec"], cut)
    rows = [row | {n: one.document[n] for n in DOCUMENT} for one in state for row in one.records]
    present = sum(version.document["presence"] == "present" for version in state)
    counts = {"records": len(rows), "documents": present, "deleted": len(state) - present}
    sums = digests(state)
    print(*(f"{name:9} {value}" for one in (sums, counts) for name, value in one.items()), sep="\n")
    fits = sums == manifest["digests"] and counts.items() <= manifest["counts"].items()
    demand(bool(cut) or fits, "manifest: its digests or counts do not fit")
    rows.sort(key=lambda row: row["id"].encode())
    return pa.Table.from_pylist(rows, pa.unify_schemas(layout(manifest["spec"])[:2]))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("repository", type=Path)
    parser.add_argument("collection")
    parser.add_argument("--at", type=int, metavar="N", help="log number; default: the newest")
    parser.add_argument("--position", type=int, metavar="N", help="cut here in the source's order")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    partial = args.out.with_name(f"{args.out.name}.partial")
    try:
        rows = restore(args.repository, args.collection, args.at, args.position)
        try:
            pq.write_table(rows, partial)
            partial.replace(args.out)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, Refused) as error:
        sys.exit(f"refused: {error}")
    except (LookupError, RuntimeError, TypeError, ValueError, struct.error, pa.ArrowException) as e:
        sys.exit(f"damaged: {' '.join(str(e).split())}")


if __name__ == "__main__":
    main()
