"""Against what the words of a policies file are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.notation import expand


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """`base` is the directory of the policies file, against which relative paths are taken;
    `environ` is where `${NAME}` and credentials are looked up."""

    base: Path
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    def expand(self, text: str) -> str:
        """The text with the values of its variables. Raises `InvalidRequest` for one that is not
        set; the message shows no value."""
        try:
            return expand(text, self.environ)
        except ValueError as error:
            raise InvalidRequest(f"{text!r}: {error}") from None

    def path(self, text: str) -> Path:
        """A path of the policies, absolute unless `base` is relative."""
        return self.base / Path(self.expand(text)).expanduser()
