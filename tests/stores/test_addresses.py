"""URLs of all engines are read by one rule, and errors of all engines are fit to be shown."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from chromadb.errors import InternalError
from pymilvus.grpc_gen import common_pb2

from dr_pipelines.errors import DrError, InvalidRequest, Unavailable
from dr_pipelines.model.components import StorePolicy
from dr_pipelines.project import adapters
from dr_pipelines.stores.chroma.errors import translated as of_chroma
from dr_pipelines.stores.lancedb.errors import translated as of_lance
from dr_pipelines.stores.milvus.errors import of_status
from dr_pipelines.stores.qdrant.edge_errors import translation as of_edge
from dr_pipelines.stores.qdrant.errors import translation as of_qdrant
from dr_pipelines.stores.shared.address import Forms, server
from dr_pipelines.stores.shared.calls import detail, repeated

SERVERS = {"chroma": "CHROMA_TOKEN", "milvus": "MILVUS_TOKEN", "qdrant": "QDRANT_API_KEY"}
WRONG = {
    "user:S3CRET@host:1": "credentials do not belong into it",
    "host:port": "malformed",
    ":8000": "no host",
    "host#S3CRET": "no host, or more",
    "host?key=S3CRET": "unknown options key",
    "host?S3CRET": "options are malformed",
}


@pytest.mark.parametrize("scheme", SERVERS)
@pytest.mark.parametrize("rest", WRONG)
def test_a_wrong_url_of_a_server_is_refused_without_its_secret(scheme: str, rest: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{WRONG[rest]}.*expected {scheme}://") as refused:
        adapters.open_store(StorePolicy(url=f"{scheme}://{rest}"), adapters.PolicyContext(Path()))
    assert "S3CRET" not in str(refused.value)
    assert ("@" not in rest) or SERVERS[scheme] in str(refused.value)


def test_an_option_is_given_once() -> None:
    forms = Forms("expected x://HOST?a=1", options=("a",))
    assert server("x://h:1?a=1", forms).options == {"a": "1"}
    with pytest.raises(InvalidRequest, match="given twice"):
        server("x://h:1?a=1&a=2", forms)


def test_a_call_is_repeated_only_where_it_may_be() -> None:
    class Final(Unavailable):
        """Asking again does not help."""

    def failing(*errors: Exception) -> list[Exception]:
        left = list(errors)

        def call() -> str:
            if left:
                raise left.pop(0)
            return "answer"

        assert repeated(call, on=Unavailable, but=(Final,), pauses=(0, 0)) == "answer"
        return left

    assert failing(Unavailable("1"), Unavailable("2")) == []
    for errors in ([Final("1")], [InvalidRequest("1")], [Unavailable(str(n)) for n in range(3)]):
        with pytest.raises(type(errors[0]), match=errors[-1].args[0]):
            failing(*errors)


def test_an_engine_s_words_do_nothing_to_a_terminal() -> None:
    assert detail(" not\x1b[2J\n found \u202e") == "not\\x1b[2J found \\u202e"
    assert len(detail("x" * 10_000)) == 501


RAISED: dict[str, Callable[[str], DrError]] = {
    "chroma": lambda words: raised(of_chroma("a store"), InternalError(words)),
    "lancedb": lambda words: of_lance(OSError(words), about="a table"),
    "milvus": lambda words: of_status(common_pb2.Status(code=1, reason=words), "milvus://h"),
    "edge": lambda words: of_edge(Exception(words), "a shard", by_caller=False),
    "qdrant": lambda words: of_qdrant(ValueError(words), "a collection"),
}


@pytest.mark.parametrize("engine", RAISED)
def test_an_error_of_an_engine_does_nothing_to_a_terminal(engine: str) -> None:
    assert "not\\x1b[2J found" in str(RAISED[engine]("not\x1b[2J found"))


def raised(translating: AbstractContextManager[None], error: Exception) -> DrError:
    """The error that a translation makes of one."""
    with pytest.raises(DrError) as caught, translating:
        raise error
    return caught.value
