"""The clock, and what tells this process and what it writes from all others."""

import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dr_pipelines import __version__

if TYPE_CHECKING:
    from dr_pipelines.model.recovery_point import Writer


def now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A UUIDv7: unique for ever, ordered by time."""
    from uuid6 import uuid7

    return str(uuid7())


def new_writer(run: str = "") -> "Writer":
    """A writer of log entries; `run` labels them."""
    from dr_pipelines.model.recovery_point import Writer

    return Writer(id=new_id(), host=socket.gethostname(), run=run, version=__version__)
