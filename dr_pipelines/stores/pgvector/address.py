"""Where a database is: the URL of a store, checked, without its secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from dr_pipelines.errors import InvalidRequest

EXPECTED = "postgresql://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?schema=NAME]"
LIBPQ = frozenset(
    [
        "application_name",
        "host",
        "sslcert",
        "sslkey",
        "sslmode",
        "sslrootcert",
    ]
)
"""Parameters that are handed on to the client library."""
BUILD = frozenset(["maintenance_work_mem", "max_parallel_maintenance_workers"])
"""Parameters that are set while an index is built."""
CONNECT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Address:
    """A schema of a database. `options` are the client library's, with the password in them."""

    schema: str
    shown: str
    options: Mapping[str, str | int] = field(repr=False)
    build: Mapping[str, str]


def parsed(url: str) -> Address:
    """The parts of a URL.

    Raises:
        InvalidRequest: it is not one of a PostgreSQL database; the message shows nothing of it.
    """
    try:
        parts = urlsplit(url)
        port, query = parts.port, dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        raise InvalidRequest(f"store URL: expected {EXPECTED}") from None
    database = unquote(parts.path.removeprefix("/"))
    place = f"{parts.hostname or ''}{f':{port}' if port else ''}/{database}"
    unknown = set(query) - LIBPQ - BUILD - {"schema"}
    # an @ behind the place is one of a password with a / in it, of which nothing may be shown
    strange = "/" in database or "@" in parts.path or "@" in parts.query or parts.fragment
    if parts.scheme != "postgresql" or not database or strange:
        raise InvalidRequest(f"store URL: expected {EXPECTED}")
    if unknown:
        names = ", ".join(sorted(LIBPQ | BUILD | {"schema"}))
        raise InvalidRequest(f"store URL: an unknown parameter; there are {names}")
    options: dict[str, str | int] = {"dbname": database, "connect_timeout": CONNECT_SECONDS}
    options |= {key: query[key] for key in LIBPQ if key in query}
    for key, value in (("host", parts.hostname), ("user", parts.username), ("port", port)):
        if value is not None:
            options[key] = unquote(value) if isinstance(value, str) else value
    if parts.password is not None:
        options["password"] = unquote(parts.password)
    schema = query.get("schema", "public")
    if not schema or "\0" in schema:
        raise InvalidRequest("store URL: schema is empty")
    return Address(
        schema=schema,
        shown=f"postgresql://{place}?schema={schema}",
        options=options,
        build={key: query[key] for key in BUILD if key in query},
    )
