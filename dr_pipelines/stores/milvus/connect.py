"""Milvus and milvus-lite as a vector store.

Everything is said in the Milvus protocol itself, with the messages that pymilvus generates from it,
instead of through `MilvusClient`: columns then stay columns. Measured against milvus-lite, reading
20,000 records of 384 components takes the client's iterator about twice as long, because it makes a
dictionary of every record. The client's iterator also builds its cursor from unescaped ids, skips
the record whose id is empty, and calls are retried 75 times whatever they do.
"""

from pathlib import Path

from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.milvus.address import parse
from dr_pipelines.stores.milvus.store import milvus_store
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames


def open_store(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> VectorStore:
    """The store at `milvus://HOST:PORT/DATABASE` or `milvus+lite:PATH`; connects when it is asked.

    Credentials are in the environment variable `MILVUS_TOKEN`: a token, or `user:password`.

    Raises:
        InvalidRequest: the URL is not one of these.
    """
    del names  # `takes_names` says that there are none
    return milvus_store(parse(url, base=base))
