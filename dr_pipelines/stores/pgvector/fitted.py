"""The forecast for a collection of any engine in this one."""

from collections.abc import Iterator

from psycopg import sql

from dr_pipelines.model.collection import (
    CollectionSpec,
    Metric,
    Vector,
    VectorKind,
    VectorType,
)
from dr_pipelines.model.compatibility import CompatibilityReport, Note, Outcome
from dr_pipelines.planning.parts import NEEDS, OWN_NAME, REMARKS
from dr_pipelines.stores.pgvector import keys
from dr_pipelines.stores.pgvector.by_hand import statements_of
from dr_pipelines.stores.pgvector.catalog import find_table
from dr_pipelines.stores.pgvector.columns import vector_type
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.description import Collection
from dr_pipelines.stores.pgvector.making import ENGINE, Section, section_of
from dr_pipelines.stores.pgvector.names import placed, table_of
from dr_pipelines.stores.pgvector.needs import missing as missing_needs
from dr_pipelines.stores.pgvector.owners import owner_notes
from dr_pipelines.stores.pgvector.rights import missing_roles, named_roles, partitions_of
from dr_pipelines.stores.pgvector.triggers import obstacles, trigger_command
from dr_pipelines.stores.pgvector.unrecorded import unrecorded
from dr_pipelines.stores.pgvector.vector_indexes import (
    DEFAULTS,
    SEARCH,
    indexed_as,
    searched,
)
from dr_pipelines.stores.shared.fitting import Native, fit_to

NATIVE = Native(
    engine=ENGINE,
    metrics=frozenset(Metric),
    dtypes=frozenset([VectorType.FLOAT32, VectorType.FLOAT16, VectorType.BIT]),
    kinds=frozenset([VectorKind.DENSE, VectorKind.SPARSE]),
    indexes={kind: frozenset([*DEFAULTS[kind], *SEARCH[kind]]) for kind in DEFAULTS},
    default_index="hnsw",
)
ADDED_LAST = (
    "added when the collection takes the place of the one that had them, for new rows at first, "
    "and for all where what they refer to is there and no function of others is in its indexes"
)
OF_PARTITIONS = {
    "foreign_keys": "not made: what they refer to may be of another time",
    "sequences": "not made: the columns have no default there",
}


def fitted(session: Session, spec: CollectionSpec) -> CompatibilityReport:
    """The specification with the indexes that the engine can build, and what is different."""
    general = fit_to(spec, NATIVE)
    vectors, notes = list[Vector](), [*general.notes]
    for vector in general.spec.vectors:
        notes += _vector_notes(vector)
        kind = vector.index.kind if vector.index else ""
        buildable = vector.index is None or indexed_as(vector, kind) is not None
        vectors.append(vector if buildable else vector.model_copy(update={"index": None}))
    notes += _section_notes(session, spec)
    return CompatibilityReport(
        general.spec.model_copy(update={"vectors": tuple(vectors)}), tuple(notes)
    )


def _vector_notes(vector: Vector) -> Iterator[Note]:
    part, own = f"vectors.{vector.name}", vector_type(vector)
    if own is None and vector.kind is not VectorKind.MULTI:
        yield Note(part, Outcome.APPROXIMATED, "the engine has no type for it: kept, not searched")
    elif vector.kind is VectorKind.DENSE and not searched(vector):
        consequence = (
            f"the engine does not compare {own} by {vector.metric}: searches read every record"
        )
        yield Note(f"{part}.metric", Outcome.APPROXIMATED, consequence)
    if vector.index is None:
        return
    built = indexed_as(vector, vector.index.kind)
    if built is None:
        consequence = f"no {vector.index.kind} index here takes it: searches read every record"
        yield Note(f"{part}.index", Outcome.APPROXIMATED, consequence)
    elif built != (own or "").partition("(")[0]:
        consequence = f"an index takes no more than half precision of {vector.dimension} components"
        yield Note(f"{part}.index", Outcome.APPROXIMATED, consequence)


def _section_notes(session: Session, spec: CollectionSpec) -> Iterator[Note]:
    section = section_of(spec)
    if section.get("foreign_keys"):
        yield Note(f"engine.{ENGINE}.foreign_keys", Outcome.APPROXIMATED, ADDED_LAST)
    table = session.table(table_of(spec.name, section.get(OWN_NAME)))
    yield from _trigger_notes(session, f"engine.{ENGINE}", section, table, section)
    for remark in section.get(REMARKS, []):
        name = placed(remark["name"], table_of(spec.name, section.get(OWN_NAME)), taken=False)
        consequence = (
            "INVALID, since it was never finished: not made. Build it anew where it is needed"
        )
        yield Note(f"engine.{ENGINE}.{REMARKS}.{name}", Outcome.APPROXIMATED, consequence)
    for need in missing_needs(session, section):
        made = f"; make it first: {need['definition']}" if "definition" in need else ""
        consequence = f"it is not in this database, and the table cannot be made without it{made}"
        yield Note(f"engine.{ENGINE}.{NEEDS}.{need['name']}", Outcome.REFUSED, consequence)
    yield from _attached_notes(f"engine.{ENGINE}", section)
    for part in partitions_of(section):
        name = placed(part["name"], table_of(spec.name, section.get(OWN_NAME)), taken=False)
        for key, consequence in OF_PARTITIONS.items():
            if part.get(key):
                root = table_of(spec.name, section.get(OWN_NAME))
                run = "; ".join(statements_of(session, name, part, key, root=root))
                part_of = f"engine.{ENGINE}.partitions.{name}.{key}"
                yield Note(part_of, Outcome.LOST, f"{consequence}. Run: {run}")
        place = f"engine.{ENGINE}.partitions.{name}"
        yield from _trigger_notes(session, place, part, session.table(name), section)
        yield from _attached_notes(place, part)
    missing = missing_roles(session, named_roles(section))
    if missing:
        consequence = (
            f"{', '.join(missing)} do not exist here: they are made, without login, or refused"
        )
        yield Note(f"engine.{ENGINE}.roles", Outcome.APPROXIMATED, consequence)


def _trigger_notes(
    session: Session, place: str, part: Section, table: sql.Identifier, section: Section
) -> Iterator[Note]:
    for trigger in part.get("triggers", []):
        if (why := obstacles(session, trigger, section)) is not None:
            consequence = (
                f"{why}. Not made; then run: {trigger_command(trigger, table).as_string()}"
            )
            yield Note(f"{place}.triggers.{trigger['name']}", Outcome.REFUSED, consequence)


def without_obstacles(session: Session, section: Section) -> Section:
    """A section without the triggers that cannot be made here."""

    def makeable(part: Section) -> Section:
        tables = [makeable(child) for child in part.get("tables", [])]
        possible = [
            trigger
            for trigger in part.get("triggers", [])
            if obstacles(session, trigger, section) is None
        ]
        remaining = {k: value for k, value in part.items() if k != "triggers"}
        remaining |= {"triggers": possible} if possible else {}
        return remaining | ({"tables": tables} if tables else {})

    makes = makeable(section)
    if "partitions" in section:
        makes["partitions"] = makeable(section["partitions"])
    return makes


def _attached_notes(place: str, section: Section) -> Iterator[Note]:
    for hanging in section.get("attached", []):
        consequence = (
            f"not made; run: {hanging['definition']}" if "definition" in hanging else "not made"
        )
        yield Note(f"{place}.attached.{hanging['name']}", Outcome.LOST, consequence)


def key_notes(collection: Collection) -> Iterator[Note]:
    """Notes on a key of types that are neither the engine's nor pgvector's."""
    attributes = [] if collection.ours else keys.key_attributes(collection)
    named = [f"{a.name} ({a.type})" for a in attributes if not keys.is_known(a)]
    if named:
        consequence = (
            f"{', '.join(named)}: compared as text, not by an equality of its own, and without the "
            "index. A write that replaces records reads the table; a value that is equal to one "
            "there and written otherwise is refused as its duplicate"
        )
        yield Note(f"engine.{ENGINE}.key", Outcome.APPROXIMATED, consequence)


def restorable_notes(session: Session, spec: CollectionSpec) -> Iterator[Note]:
    """Differences after a restore by this user through which nobody loses data: indexes that
    were never finished, parts that are not recorded, owners for whom this user may not act."""
    table = find_table(session, spec.name)
    if table is not None:  # else dropped since it was described
        yield from unrecorded(session, table, spec)
    yield from (note for note in _section_notes(session, spec) if REMARKS in note.part.split("."))
    yield from owner_notes(session, spec)
