"""The engine's section of a specification, from and to a configuration of Qdrant.

Each part of a configuration has one place in the section, so that a part that differs after a
restore is named; what a configuration does not say has no place. Vectors are named there as Qdrant
names them.
"""

from typing import Any

from dr_pipelines.stores.qdrant.variant import Json

ENGINE = "qdrant"
PLACES: dict[str, tuple[str, str | None]] = {
    "hnsw_config": ("indexes", "hnsw"),
    "payload_schema": ("indexes", "payload"),
    "sparse_vectors": ("indexes", "sparse"),
    "quantization_config": ("quantization", "collection"),
    "on_disk_payload": ("storage", "on_disk_payload"),
    "payload": ("storage", "payload"),
    "id_tracker": ("storage", "id_tracker"),
    "optimizers_config": ("optimizers", None),
    "wal_config": ("configuration", "wal"),
    "wal_enabled": ("configuration", "wal_enabled"),
    "write_consistency_factor": ("configuration", "write_consistency_factor"),
    "read_fan_out_factor": ("configuration", "read_fan_out_factor"),
    "read_fan_out_delay_ms": ("configuration", "read_fan_out_delay_ms"),
    "max_search_threads": ("configuration", "max_search_threads"),
    "search_pool_core": ("configuration", "search_pool_core"),
    "strict_mode_config": ("limits", None),
    "sharding_method": ("partitions", "method"),
    "shard_keys": ("partitions", "keys"),
    "metadata": ("properties", None),
}
"""Key of a configuration → key of the section, and key within that (None: the whole of it)."""
SPREAD = {"shard_number": "shards", "replication_factor": "replicas"}
"""Key of a configuration → the specification's own word for it."""
VECTOR_PLACES = {
    "hnsw_config": "indexes",
    "quantization_config": "quantization",
    "multivector_config": "configuration",
    "on_disk": "storage",
    "memory": "storage",
}
"""Key of a vector's parameters → key of the section that has it under `vectors`."""
GROUPED = frozenset(["hnsw_config", "quantization_config", "multivector_config"])
"""Those that are alone under the vector's name; the others are there with their key."""


def packed(config: Json, datatypes: Json) -> Json:
    """The section that says what a configuration does; `datatypes` are those of vectors that a
    specification has no word for."""
    section: Json = {}
    for key, (place, inner) in PLACES.items():
        value = config.get(key)
        if value in (None, {}, []):
            continue
        if inner is None:
            section[place] = value
        else:
            section.setdefault(place, {})[inner] = value
    for name, params in config.get("vectors", {}).items():
        for key, place in VECTOR_PLACES.items():
            if params.get(key) is not None:
                of_vectors = section.setdefault(place, {}).setdefault("vectors", {})
                if key in GROUPED:
                    of_vectors[name] = params[key]
                else:
                    of_vectors.setdefault(name, {})[key] = params[key]
    for name, datatype in datatypes.items():
        of_vectors = section.setdefault("storage", {}).setdefault("vectors", {})
        of_vectors.setdefault(name, {})["datatype"] = datatype
    return section


def unpacked(section: Json) -> Json:
    """The configuration that a section asks for, without the vectors."""
    config: Json = {}
    for key, (place, inner) in PLACES.items():
        part = section.get(place, {})
        value = part if inner is None else part.get(inner)
        if value not in (None, {}, []):
            config[key] = value
    return config


def of_vector(section: Json, name: str) -> Json:
    """The parameters that a section has for a vector, and its datatype if it names one."""
    params: Json = {}
    for key, place in VECTOR_PLACES.items():
        part = section.get(place, {}).get("vectors", {}).get(name)
        if part and key in GROUPED:
            params[key] = part
        elif part and key in part:
            params[key] = part[key]
    datatype = section.get("storage", {}).get("vectors", {}).get(name, {}).get("datatype")
    return params | ({"datatype": datatype} if datatype else {})


def part_of(path: str) -> str:
    """The name in `planning.parts` for the part of a specification that holds this path of a
    configuration."""
    key = path.partition(".")[0]
    return SPREAD[key] if key in SPREAD else f"engine.{ENGINE}.{PLACES[key][0]}"


def value_at(config: Json, path: str) -> Any:
    """The value at a path of one or two keys; None where there is none."""
    key, _, inner = path.partition(".")
    return config.get(key, {}).get(inner) if inner else config.get(key)


def with_value(config: Json, path: str, value: Any) -> Json:
    """The same configuration with another value at a path."""
    key, _, inner = path.partition(".")
    return config | {key: config.get(key, {}) | {inner: value} if inner else value}
