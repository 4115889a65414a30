"""Milvus: a server, or milvus-lite in a directory."""

from dr_pipelines.stores.shared.engine import Engine, Location, Scheme, opened_by

open_store = opened_by("dr_pipelines.stores.milvus.connect")


ENGINE = Engine(
    name="milvus",
    title="Milvus",
    schemes=(
        Scheme(name="milvus", location=Location.SERVER, forms=("milvus://HOST:PORT",)),
        Scheme(
            name="milvus+lite",
            location=Location.DIRECTORY,
            forms=("milvus+lite:DIRECTORY",),
        ),
    ),
    open=open_store,
    extra="milvus",
    packages=("pymilvus", "milvus_lite", "grpc"),
)
