"""Faults between this package and PostgreSQL, and the state that they leave."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.errors import (
    AlreadyExists,
    Damaged,
    DrError,
    InvalidRequest,
    NotFound,
    Refused,
    Unavailable,
)
from dr_pipelines.model.collection import (
    CollectionSpec,
    Metric,
    Vector,
    VectorIndex,
    VectorType,
)
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.model.query import Mode, Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.pgvector import lookup, open_store
from dr_pipelines.stores.pgvector.connections import Connections, Session
from dr_pipelines.stores.pgvector.lookup import ViewAliases
from dr_pipelines.stores.shared import driver_store
from dr_pipelines.stores.shared.following import followed
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    document,
    expected,
    opened,
    record,
    table,
)
from tests.servers.pgvector import Server, running_postgres
from tests.stores.pgvector_tenants import just_before

HNSW = VectorIndex(kind="hnsw", parameters={"m": 8, "ef_construction": 32})
WAIT_SECONDS = 20
SECOND = "; DROP TABLE victim"


@pytest.fixture
def database(postgres: Server) -> str:
    return postgres.create_database()


@pytest.fixture
def store(postgres: Server, database: str) -> VectorStore:
    return open_store(postgres.url(database), base=Path())


@pytest.fixture
def native(postgres: Server, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as connection:
        yield connection


def _spec(name: str, dimension: int = 32, index: VectorIndex | None = HNSW) -> CollectionSpec:
    return CollectionSpec(
        name=name, vectors=(Vector(dimension=dimension, metric=Metric.L2, index=index),)
    )


def _clustered(count: int, dimension: int = 32) -> pa.Table:
    random = np.random.default_rng(5)
    centres = random.normal(0, 1.5, (40, dimension))
    matrix = centres[random.integers(0, 40, count)] + random.normal(0, 1, (count, dimension))
    ids = [f"{n:06d}" for n in range(count)]
    columns = {
        "id": pa.array(ids),
        "document_id": pa.array(ids),
        "chunk_index": pa.array(np.zeros(count, np.int32)),
        "embedding": pa.FixedSizeListArray.from_arrays(
            pa.array(matrix.astype(np.float32).ravel()), dimension
        ),
    }
    schema = store_schema(_spec("any", dimension))
    return pa.table([columns.get(f.name, pa.nulls(count, f.type)) for f in schema], schema=schema)


def _ends_what_waits(native: psycopg.Connection) -> None:
    """End the one session that waits for a lock, as an administrator would."""
    query = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    deadline = time.monotonic() + WAIT_SECONDS
    while native.execute(query).fetchone() is None:
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.02)


def _cut(
    postgres: Server,
    database: str,
    native: psycopg.Connection,
    block: str,
    call: Callable[[], None],
) -> None:
    """Let a call wait for a lock that `block` takes, and cut its connection there."""
    with psycopg.connect(postgres.conninfo(database)) as blocker, ThreadPoolExecutor(1) as pool:
        blocker.execute(block)
        running = pool.submit(call)
        _ends_what_waits(native)
        with pytest.raises(Unavailable):
            running.result(WAIT_SECONDS)
        blocker.rollback()


def test_a_write_that_is_cut_leaves_everything_as_it_was(
    postgres: Server, database: str, store: VectorStore, native: psycopg.Connection
) -> None:
    before = document("a", chunks=3)
    store.create(SPEC)
    store.write(SPEC.name, table(*before))
    store.promote(SPEC.name, alias="handbook")
    new = table(record("b", 0), record("b", 1), record("z", 0))
    taken = (
        f"INSERT INTO \"{SPEC.name}\" (id, document_id, chunk_index) VALUES ('z#000000', 'z', 0)"
    )

    _cut(postgres, database, native, taken, lambda: store.write(SPEC.name, new, replaces=["a"]))

    assert contents(store, "handbook") == expected(*before)
    store.write(SPEC.name, new, replaces=["a"])
    assert contents(store, "handbook") == expected(*new.to_pylist())


def test_a_restore_that_is_cut_is_finished_by_the_next(
    postgres: Server, database: str, store: VectorStore, native: psycopg.Connection
) -> None:
    rows, spec = _clustered(500), _spec("new")
    store.create(_spec("old"))
    store.write("old", rows.slice(0, 7))
    store.build_index("old")
    store.promote("old", alias="served")

    store.create(spec)
    store.write("new", rows)
    lock = "INSERT INTO \"new\" (id, document_id, chunk_index) VALUES ('z', 'z', 0)"
    _cut(postgres, database, native, lock, lambda: store.build_index("new"))

    assert store.status("new").indexed is False
    assert store.describe("new").vectors[0].index == HNSW  # what it is to have
    assert store.status("served").records == 7
    again = open_store(postgres.url(database), base=Path())
    again.create(spec)
    again.build_index("new")
    again.promote("new", alias="served")
    assert (again.status("served").records, again.status("served").indexed) == (500, True)


def test_a_server_that_crashed_is_unavailable_and_then_has_what_was_committed(
    tmp_path: Path,
) -> None:
    with running_postgres(18, synchronous_commit="on") as server:
        store = open_store(server.url().replace("postgres@", "postgres:s3cret@"), base=tmp_path)
        store.create(SPEC)
        store.write(SPEC.name, table(*document("a", chunks=3)))
        token = store.change_token(SPEC.name)
        server.stop()
        for call in (
            store.collections,
            lambda: store.change_token(SPEC.name),
            lambda: list(store.scan(SPEC.name)),
            lambda: store.write(SPEC.name, table(record("b"))),
            lambda: store.build_index(SPEC.name),
        ):
            with pytest.raises(Unavailable, match=r"127\.0\.0\.1") as caught:
                call()
            assert "s3cret" not in str(caught.value)
        server.start()
        assert store.change_token(SPEC.name) != token
        store.write(SPEC.name, table(record("b")))
        assert store.status(SPEC.name).records == 4


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@host",
        "postgresql://u:s3cret@host/",
        "postgresql://u:s3cret@host/a/b",
        "postgresql://u:s3cret@host:port/db",
        "postgresql://u:s3cret@host/db?unknown=1",
        "postgresql://u:s3cret@host/db?schema=",
        "postgresql://u:s3cret@host/db#part",
        "postgresql://u:12/s3cret@host/db",
        "postgresql://u:12/s3cret@host",
        "postgresql://u:12?s3cret@host/db",
        "postgresql://u:12#s3cret@host/db",
        "s3cret://u:p@host/db",
    ],
)
def test_a_wrong_url_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"expected|unknown|empty") as caught:
        open_store(url, base=Path())
    assert "s3cret" not in str(caught.value)


def test_a_database_or_user_that_is_not_there(postgres: Server) -> None:
    for url in (postgres.url("nowhere"), postgres.url(user="nobody-here")):
        with pytest.raises(InvalidRequest, match="does not exist"):
            open_store(url, base=Path()).collections()
    missing = open_store(postgres.url(schema="no_such_schema"), base=Path())
    assert missing.collections() == []
    with pytest.raises(NotFound, match="no_such_schema"):
        missing.create(_spec("x"))


@pytest.mark.parametrize(
    "label",
    ["'{'", "repeat('[', 100000)", "'{\"spec\": 1}'", "repeat(' ', 17 * 1048576) || '{}'"],
    ids=["cut", "deep", "another shape", "too long"],
)
def test_a_label_that_cannot_be_read_is_damage(
    store: VectorStore, native: psycopg.Connection, label: str
) -> None:
    store.create(_spec("x"))
    native.execute(
        f"""DO $$ BEGIN EXECUTE format('COMMENT ON INDEX x_pkey IS %L',
        'dr-pipelines collection ' || {label}); END $$""".encode()
    )
    with pytest.raises(Damaged, match=r"label of table 'x' is unreadable.*recovery point"):
        store.describe("x")
    store.create(_spec("y"))
    assert store.collections() == ["x", "y"]
    assert store.status("y").records == 0
    with pytest.raises(Damaged, match="'x'"):
        list(store.scan("x"))


@pytest.mark.parametrize(
    "section",
    [
        {"constraints": [{"name": "c", "definition": f"CHECK (true){SECOND}"}]},
        {
            "indexes": [
                {"name": "i", "unique": False, "using": "USING btree (id); DROP TABLE victim"}
            ]
        },
        {"comments": {"table": "'; DROP TABLE victim; --"}},
        {"grants": [{"role": "public", "privileges": ["SELECT ON victim TO public; --"]}]},
        {"storage": {"options": {"fillfactor = 70); DROP TABLE victim; --": "1"}}},
        {"policies": {"rules": [{"name": "p"}]}},
    ],
)
def test_a_section_cannot_bring_another_statement_along(
    store: VectorStore, native: psycopg.Connection, section: dict[str, object]
) -> None:
    native.execute("CREATE TABLE victim (id int)")
    spec = _spec("x").model_copy(update={"engine": {"pgvector": section}})

    def make() -> None:
        store.create(spec)
        store.build_index("x")
        opened(store, "x")

    if "comments" in section:  # a value, whatever is in it
        make()
    else:
        with pytest.raises(InvalidRequest):
            make()
    assert native.execute("SELECT count(*) FROM victim").fetchone() == (0,)


def test_two_who_create_the_same_at_once_both_succeed(postgres: Server, database: str) -> None:
    stores = [open_store(postgres.url(database), base=Path()) for _ in range(4)]
    for number in range(5):
        spec, barrier = _spec(f"same-{number}"), threading.Barrier(len(stores))
        with ThreadPoolExecutor(len(stores)) as pool:

            def create(one: VectorStore, spec: CollectionSpec, barrier: threading.Barrier) -> None:
                barrier.wait()
                one.create(spec)

            for done in [pool.submit(create, one, spec, barrier) for one in stores]:
                done.result()
    assert len(stores[0].collections()) == 5
    with pytest.raises(AlreadyExists):
        stores[0].create(_spec("same-0", dimension=3))


def test_an_alias_is_there_while_what_it_stood_for_is_dropped(store: VectorStore) -> None:
    store.create(_spec("n@0", 3, None))
    store.promote("n@0", alias="n")
    done = threading.Event()

    def cycle() -> None:
        try:
            for number in range(1, 25):
                store.create(_spec(f"n@{number}", 3, None))
                store.promote(f"n@{number}", alias="n")
                store.drop(f"n@{number - 1}")
        finally:
            done.set()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(cycle)
        while not done.is_set():
            assert store.status("n").records == 0
            assert list(store.scan("n")) == []
            assert store.search("n", Query(vector=np.zeros(3, np.float32)), limit=1) == []
        running.result()


@pytest.mark.parametrize("patience", [30.0, 0.0])
def test_a_reader_whom_replacements_outrun_looks_again_while_it_has_patience(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    store.create(_spec("n@0", 3, None))
    store.promote("n@0", alias="n")
    numbers, target = iter(range(1, 20)), ViewAliases.target

    def outrun(self: ViewAliases, alias: str) -> str | None:
        table_seen, number = target(self, alias), next(numbers, None) if alias == "n" else None
        if number is not None:
            store.create(_spec(f"n@{number}", 3, None))
            store.promote(f"n@{number}", alias="n")
            store.drop(f"n@{number - 1}")
        return table_seen

    monkeypatch.setattr(ViewAliases, "target", outrun)
    monkeypatch.setattr(driver_store, "followed", partial(followed, patience_seconds=patience))
    if patience:
        assert store.status("n").records == 0
        assert next(numbers, None) is None
    else:
        with pytest.raises(Unavailable, match="'n' is replaced again and again"):
            store.status("n")


@pytest.mark.parametrize("patience", [30.0, 0.0])
def test_a_reader_whose_table_is_made_anew_before_it_is_locked_looks_again(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    store.create(_spec("n", 3, None))
    again, look = iter(range(5)), lookup.looked

    def outrun(connections: Connections, what: Callable[[Session], Any]) -> Any:
        seen = look(connections, what)
        if isinstance(seen, tuple) and len(seen) == 3 and next(again, None) is not None:
            store.drop("n")
            store.create(_spec("n", 3, None))
        return seen

    with monkeypatch.context() as patched:
        patched.setattr(lookup, "looked", outrun)
        patched.setattr(lookup, "PATIENCE", patience)
        if patience:
            assert store.status("n").records == 0
            assert next(again, None) is None
        else:
            with pytest.raises(Unavailable, match="'n' is replaced again and again"):
                store.status("n")


def test_a_name_that_something_else_has_is_said_to_be_taken(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("CREATE VIEW n AS SELECT 1")
    with pytest.raises(AlreadyExists):
        store.create(_spec("n", 3, None))
    assert store.collections() == []


@pytest.mark.parametrize(
    "statement",
    [r"\s*SELECT DISTINCT v\.relname.* AND true\b", r"\s*DROP TABLE"],
    ids=["before the look at aliases", "after it"],
)
def test_nobody_can_promote_what_is_being_dropped(
    store: VectorStore, native: psycopg.Connection, statement: str
) -> None:
    store.create(_spec("n", 3, None))
    native.execute("SET lock_timeout = '50ms'")

    def promote() -> None:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            native.execute("CREATE VIEW served AS TABLE n")

    with just_before(promote, statement=statement) as done:
        store.drop("n")
    assert done
    assert store.collections() == []


def test_a_section_of_other_columns_makes_nothing(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("CREATE TABLE t (id int PRIMARY KEY, e vector(2), f text)")
    spec = store.describe("t").physical("x").model_copy(update={"fields": ()})
    with pytest.raises(InvalidRequest, match="other columns"):
        store.create(spec.model_copy(update={"vectors": _spec("y", 3).vectors}))
    assert store.collections() == ["t"]


def test_an_alias_of_other_columns_keeps_its_readers_and_their_policies(
    postgres: Server, database: str, store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("DROP ROLE IF EXISTS alias_reader; CREATE ROLE alias_reader LOGIN")
    granted = {"pgvector": {"grants": [{"role": "alias_reader", "privileges": ["SELECT"]}]}}
    one = SPEC.model_copy(update={"engine": granted})
    other = _spec("other", 3, None).model_copy(update={"engine": granted})
    for spec, count in ((one, 2), (other, 1)):
        store.create(spec)
        opened(store, spec.name)
        rows = [record("a", n) for n in range(count)]
        store.write(spec.name, pa.Table.from_pylist(rows, schema=store_schema(spec)))
    store.promote(one.name, alias="served")
    native.execute("GRANT SELECT ON served TO alias_reader")
    with psycopg.connect(
        postgres.conninfo(database, user="alias_reader"), autocommit=True
    ) as reader:
        for spec, count in ((one, 2), (other, 1), (one, 2)):
            store.promote(spec.name, alias="served")
            assert reader.execute("SELECT count(*) FROM served").fetchone() == (count,)
        native.execute(f'ALTER TABLE "{one.name}" ENABLE ROW LEVEL SECURITY')
        assert reader.execute("SELECT count(*) FROM served").fetchone() == (0,)
    native.execute("CREATE TABLE taken (id int); CREATE VIEW of_others AS TABLE taken")
    for alias in ("taken", "of_others"):
        with pytest.raises(AlreadyExists):
            store.promote(one.name, alias=alias)
    native.execute(f'CREATE VIEW depends AS TABLE "{other.name}"')
    with pytest.raises(Refused, match="depend"):
        store.drop(other.name)
    native.execute("DROP OWNED BY alias_reader; DROP ROLE alias_reader")


def test_who_may_only_read_can_take_a_backup(
    postgres: Server, database: str, store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("DROP ROLE IF EXISTS only_reads; CREATE ROLE only_reads LOGIN")
    granted = {"pgvector": {"grants": [{"role": "only_reads", "privileges": ["SELECT"]}]}}
    spec = SPEC.model_copy(update={"engine": granted})
    store.create(spec)
    opened(store, spec.name)
    store.write(spec.name, table(*document("a", chunks=3)))
    reader = open_store(postgres.url(database, user="only_reads"), base=Path())

    assert reader.describe(spec.name) == store.describe(spec.name)
    assert contents(reader) == expected(*document("a", chunks=3))
    assert reader.change_token(spec.name) == store.change_token(spec.name)
    assert reader.status(spec.name).records == 3
    for call in (
        lambda: reader.write(spec.name, table(record("b"))),
        lambda: reader.drop(spec.name),
        lambda: reader.create(_spec("mine")),
    ):
        with pytest.raises(Refused):
            call()
    native.execute("DROP OWNED BY only_reads; DROP ROLE only_reads")


def test_a_change_token_changes_with_whatever_is_committed(
    postgres: Server, database: str, store: VectorStore, native: psycopg.Connection
) -> None:
    store.create(SPEC)
    store.write(SPEC.name, table(*document("a", chunks=3)))
    signs = [store.change_token(SPEC.name)]
    with psycopg.connect(postgres.conninfo(database)) as slow:
        slow.execute(f"UPDATE \"{SPEC.name}\" SET text = 'x' WHERE id = 'a#000000'")
        assert store.change_token(SPEC.name) == signs[-1]  # nobody sees it yet
        native.execute(f"DELETE FROM \"{SPEC.name}\" WHERE id = 'a#000001'")
        signs.append(store.change_token(SPEC.name))
        slow.commit()
    signs.append(store.change_token(SPEC.name))
    native.execute(f'TRUNCATE "{SPEC.name}"')
    signs.append(store.change_token(SPEC.name))
    assert len(set(signs)) == len(signs)
    assert store.change_token(SPEC.name) == signs[-1]


def test_progress_goes_up_to_the_end(store: VectorStore) -> None:
    store.create(_spec("x"))
    store.write("x", _clustered(3000))
    seen = list[tuple[int, int]]()
    store.build_index("x", progress=lambda done, total: seen.append((done, total)))
    done = [part for part, _ in seen]
    assert done == sorted(done)
    assert seen[-1][0] == seen[-1][1] == max(done)
    assert len({total for _, total in seen}) == 1


def test_an_index_is_built_without_workers_where_their_memory_is_missing(
    postgres: Server, database: str
) -> None:
    url = f"{postgres.url(database)}&maintenance_work_mem=1TB"
    store = open_store(url, base=Path())
    section = {"pgvector": {"storage": {"options": {"parallel_workers": "2"}}}}
    store.create(_spec("x").model_copy(update={"engine": section}))
    store.write("x", _clustered(200))
    store.build_index("x")
    assert store.status("x").indexed


def test_answers_are_as_good_after_a_way_through_a_scan(store: VectorStore) -> None:
    rows = _clustered(2000)
    dense = VectorIndex(kind="hnsw", parameters={"m": 24, "ef_construction": 128})
    store.create(_spec("before", index=dense))  # no graph of chance falls apart
    store.write("before", rows)
    store.build_index("before")
    store.create(store.describe("before").physical("after"))
    store.write("after", pa.Table.from_batches(store.scan("before")))
    store.build_index("after")
    recalls = [_recall(store, name, rows) for name in ("before", "after")]
    assert min(recalls) > 0.95
    assert abs(recalls[0] - recalls[1]) <= 0.005


def _recall(store: VectorStore, name: str, rows: pa.Table) -> float:
    """Recall@10 over 100 queries near records, against distances computed here."""
    matrix = rows.column("embedding").combine_chunks().flatten().to_numpy().reshape(-1, 32)
    queries = matrix[:100] + np.random.default_rng(6).normal(0, 0.5, (100, 32)).astype(np.float32)
    hits_of_both = 0
    for point in queries:
        truth = np.argsort(((matrix - point) ** 2).sum(axis=1))[:10]
        hits = store.search(name, Query(vector=point, exact=False), limit=10)
        hits_of_both += len({f"{n:06d}" for n in truth} & {hit.id for hit in hits})
    return hits_of_both / 1000


def test_a_long_vector_is_indexed_in_half_precision(
    store: VectorStore, native: psycopg.Connection
) -> None:
    spec = _spec("long", 3000)
    fit = store.fit(spec)
    assert [(n.part, n.outcome) for n in fit.notes] == [
        ("vectors.embedding.index", Outcome.APPROXIMATED)
    ]
    store.create(fit.spec)
    rows = _clustered(50, 3000)
    store.write("long", rows)
    store.build_index("long")
    described = store.describe("long")
    assert described.vectors == spec.vectors
    assert described.engine["pgvector"]["quantization"] == {"embedding": "halfvec"}
    point = np.array(rows.column("embedding")[7].as_py(), np.float32)
    assert store.search("long", Query(vector=point, exact=False), limit=1)[0].id == "000007"
    for wide in (_spec("wider", 5000), _spec("widest", 20_000)):
        fitted = store.fit(wide)
        assert fitted.spec.vectors[0].index is None
        store.create(fitted.spec)
        store.write(wide.name, _clustered(3, wide.vectors[0].dimension))
        assert pa.Table.from_batches(store.scan(wide.name)).equals(
            _clustered(3, wide.vectors[0].dimension)
        )
    store.create(_spec("unfitted", 5000))
    with pytest.raises(InvalidRequest, match="fit"):
        store.build_index("unfitted")


def test_the_engines_own_texts_are_found_and_long_ones_are_kept(store: VectorStore) -> None:
    spec = _spec("texts", 3, None).model_copy(update={"keyword_index": True})
    many = " ".join(chr(0x4E00 + n % 20_000) + chr(0x1F300 + n // 20_000) for n in range(75_000))
    distinct = " ".join(f"{n:x}" for n in range(200_000))
    rows = [
        record("a", 0, text="the quick 'brown' fox"),
        record("a", 1, text=many),
        record("a", 2, text=distinct),
        record("a", 3, text="brown & bread \\ !"),
    ]
    store.create(spec)
    store.build_index("texts")
    store.write("texts", pa.Table.from_pylist(rows, schema=store_schema(spec)))
    query = Query(mode=Mode.KEYWORD, text="BROWN 'fox' \\ & !", exact=False)
    assert [hit.id[-1] for hit in store.search("texts", query, limit=9)] == ["0", "3"]
    assert store.search("texts", replace(query, text="! &"), limit=9) == []
    assert contents(store, "texts", columns=["text"]) == [{"text": row["text"]} for row in rows]


def test_sparse_vectors_are_native_and_exact(
    store: VectorStore, native: psycopg.Connection
) -> None:
    spec = CollectionSpec(
        name="sparse",
        vectors=(
            Vector(dimension=3),
            Vector(name="words", kind="sparse", dimension=30_000, metric=Metric.DOT, index=HNSW),
        ),
    )
    many = {"indices": list(range(17_000)), "values": [0.5] * 17_000}
    sparse = [
        {"indices": [1, 5], "values": [0.5, -2.0]},
        {"indices": [0, 5], "values": [0.0, 1.0]},
        many,
        None,
    ]
    rows = [record("s", n) | {"words": words} for n, words in enumerate(sparse)]
    store.create(spec)
    store.write("sparse", pa.Table.from_pylist(rows, schema=store_schema(spec)))
    read = pa.Table.from_batches(store.scan("sparse", columns=["words"]))
    assert read.column("words").to_pylist() == sparse
    assert native.execute('SELECT words::text FROM "sparse" ORDER BY id').fetchall() == [
        ("{2:0.5,6:-2}/30000",),
        ("{6:1}/30000",),
        (None,),
        (None,),
    ]


def test_what_the_server_cannot_keep_is_refused_by_name(store: VectorStore) -> None:
    store.create(SPEC)
    long = "x" * 2_700
    for row, named in (
        (record("a", id=long), "x" * 200 + "…': id has more than 2600 bytes"),
        (record("a", document_id=long), "'a#000000': document_id has more"),
        (record("a", id="\0" * 1_301), "id has more"),
    ):
        with pytest.raises(InvalidRequest, match=named):
            store.write(SPEC.name, table(record("good"), row))
    ancient = table(record("b")).set_column(
        9, "seen", pa.array([-(2**62)]).cast(pa.timestamp("us", tz="UTC"))
    )
    assert ancient.schema.names == store_schema(SPEC).names
    with pytest.raises(InvalidRequest, match="b#000000"):
        store.write(SPEC.name, ancient)
    assert contents(store) == []


def test_an_error_that_has_no_class_of_its_own_is_still_ours(
    store: VectorStore, native: psycopg.Connection
) -> None:
    store.create(SPEC)
    native.execute(f"""
        CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN RAISE EXCEPTION ''no'' USING ERRCODE = ''ZZ123''; END';
        CREATE TRIGGER t BEFORE INSERT ON "{SPEC.name}" EXECUTE FUNCTION fails();
    """)
    with pytest.raises(DrError, match="no"):
        store.write(SPEC.name, table(record()))
    assert VectorType.FLOAT32 is store.describe(SPEC.name).vectors[0].dtype
