"""Where a Milvus is: its URL, read once."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from dr_pipelines.stores.shared import address
from dr_pipelines.stores.shared.address import Forms

TOKEN = "MILVUS_TOKEN"  # noqa: S105  # the name of a variable, not its value
FORMS = Forms(
    "expected milvus://HOST[:PORT][/DATABASE][?secure=1], with a token or user:password in the "
    f"environment variable {TOKEN}, or milvus+lite:PATH",
    secret=TOKEN,
    options=("secure",),
)
DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
DEFAULT_PORT = 19530


@dataclass(frozen=True, slots=True)
class Address:
    """A server, or (`path`) a directory that milvus-lite serves within this process."""

    host: str = ""
    port: int = DEFAULT_PORT
    database: str = ""
    secure: bool = False
    token: str = field(default="", repr=False)
    path: Path | None = None

    def __str__(self) -> str:
        """Without secrets: for messages."""
        if self.path is not None:
            return f"milvus+lite:{self.path}"
        return f"milvus://{self.host}:{self.port}/{self.database}"


def parse(url: str, *, base: Path) -> Address:
    """The address that a URL names; a relative path is relative to `base`.

    Raises:
        InvalidRequest: it names none.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "milvus+lite":
        return Address(path=address.directory(rest, FORMS, base=base).absolute())
    if scheme != "milvus":
        raise FORMS.refusal(f"its scheme is {scheme[:40]!r}")
    server = address.server(url, FORMS, with_path=True)
    if server.path and not DATABASE.fullmatch(server.path):
        raise FORMS.refusal("its path is no name of a database")
    secure = address.switched(server.options, "secure", FORMS)
    token = os.environ.get(TOKEN, "")
    return Address(server.host, server.port or DEFAULT_PORT, server.path, secure, token)
