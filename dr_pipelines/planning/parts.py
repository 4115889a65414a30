"""A collection's parts, compared one by one: which are missing or changed, and what follows."""

from collections.abc import Iterator, Mapping
from typing import Any

from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.parts import PartFinding

UNREPORTED = "unreported"
"""Key of an engine's section: names of parts that it does not report; what is said of them was kept
beside the collection when it was created."""

REMARKS = "remarks"
"""Key of an engine's section: objects that were there and of which a restore makes nothing, because
nobody misses them. They are no parts."""

OWN_NAME = "own_name"
"""Key of an engine's section: what the engine calls the collection, where no collection can be
called so. A copy has another name; the collection itself comes back under it."""
NEEDS = "needs"
"""Key of an engine's section: objects of others that must be there before the collection is."""
NOTES = frozenset([UNREPORTED, REMARKS, OWN_NAME, NEEDS])

CONSEQUENCES = {
    "vectors.index": "recall may fall, latency may change",
    "vectors.metric": "vectors are compared differently: every ranking changes",
    "vectors.dtype": "components are kept with another precision",
    "vectors": "searches by this vector fail",
    "fields": "filters on this field fail or scan",
    "keyword_index": "keyword and hybrid search fail",
    "shards": "load is spread differently",
    "replicas": "fewer or more nodes may be lost before answers stop",
    "indexes": "filters may scan instead of using an index",
    "policies": "who may see which record changes",
    "grants": "who may read and write changes",
    "quantization": "recall and memory change",
}
OTHER = "the engine behaves differently from before in this part"


def namespace(engine: str) -> str:
    """The name of an engine's section, from a store's `engine`, such as `duckdb 2.0.0`."""
    return engine.partition(" ")[0]


def compare_parts(
    expected: CollectionSpec, reported: CollectionSpec, *, engine: str
) -> tuple[PartFinding, ...]:
    """Parts of a specification that a store reports differently or not at all, in order of parts.

    Compares the contract, indexes, shards, replicas and the section of `engine` (the namespace).
    Parts that only `reported` has are defaults of the engine, no findings. Names, origin and
    aliases are not compared: a collection that is built beside another has other ones.
    """
    specified, had = dict(_parts(expected, engine)), dict(_parts(reported, engine))
    differing = [
        PartFinding(part, value, had.get(part), _consequence(part, value, had.get(part)))
        for part, value in specified.items()
        if value is not None and had.get(part) != value
    ]
    unreported = {
        part: _requested(part, specified)
        for part in reported.engine.get(engine, {}).get(UNREPORTED, [])
    }
    silent = [
        PartFinding(part, value, None, "not reported by the engine", unreported=True)
        for part, value in unreported.items()
        if value is not None
    ]
    return (*differing, *silent)


def _requested(part: str, specified: Mapping[str, Any]) -> Any:
    """The value specified for a part, or those for each of its subparts by name; None where none
    was specified and so none is expected.
    """
    within = {
        name.removeprefix(f"{part}."): value
        for name, value in specified.items()
        if name.startswith(f"{part}.") and value is not None
    }
    return specified.get(part, within or None)


def contract_parts(spec: CollectionSpec) -> list[str]:
    """Names of the parts that every store carries."""
    columns = [f"vectors.{v.name}" for v in spec.vectors] + [
        f"fields.{f.name}" for f in spec.fields
    ]
    return [*columns, "keyword_index"]


def _parts(spec: CollectionSpec, engine: str) -> Iterator[tuple[str, Any]]:
    for vector in spec.vectors:
        yield from _vector_parts(vector)
    for field in spec.fields:
        yield f"fields.{field.name}", field.model_dump(mode="json")
    yield "keyword_index", spec.keyword_index
    yield "shards", spec.shards
    yield "replicas", spec.replicas
    for key, value in spec.engine.get(engine, {}).items():
        if key not in NOTES:
            yield from _entries(f"engine.{engine}.{key}", value)


def _entries(part: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A part's own parts, where they have names: the entries of a mapping, or of a list of things
    that say theirs."""
    named = value
    if isinstance(value, list):
        named = {
            v["name"]: v for v in value if isinstance(v, dict) and isinstance(v.get("name"), str)
        }
    if isinstance(named, dict) and named and len(named) == len(value):
        yield from ((f"{part}.{name}", entry) for name, entry in named.items())
    else:
        yield part, value


def _vector_parts(vector: Vector) -> Iterator[tuple[str, Any]]:
    name = f"vectors.{vector.name}"
    yield name, {"dimension": vector.dimension, "kind": str(vector.kind)}
    yield f"{name}.metric", str(vector.metric)
    yield f"{name}.dtype", str(vector.dtype)
    if vector.index is not None:
        yield f"{name}.index", vector.index.kind
        for key, value in vector.index.parameters.items():
            yield f"{name}.index.{key}", value


def _consequence(part: str, expected: Any, reported: Any) -> str:
    """The consequence of a difference, with both values where they are short."""
    effect = _effect(part)
    plain = all(isinstance(value, bool | int | float | str) for value in (expected, reported))
    return f"{effect}: {expected} → {reported}" if plain else effect


def _effect(part: str) -> str:
    words = part.split(".")
    match words:
        case ["vectors", name]:
            return f"{CONSEQUENCES['vectors']}: {name}"
        case ["vectors", _, kind, *_]:
            return CONSEQUENCES[f"vectors.{kind}"]
        case ["engine", _, key, *_]:
            return CONSEQUENCES.get(key, OTHER)
        case _:
            return CONSEQUENCES.get(words[0], OTHER)
