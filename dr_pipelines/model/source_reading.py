"""How much of a source was read, and why what was not is believed to be as it was."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceReading:
    """The last reading of a source: `before` units were read earlier, and are what they were by
    `assurance`; `new` ones were read now. `whole_because` is the reason where nothing that was
    read earlier could be used. `not_kept` says why the next reading will have nothing to go on.
    """

    unit: str = "bytes"
    before: int = 0
    new: int = 0
    assurance: str = ""
    whole_because: str = ""
    not_kept: str = ""

    @property
    def sentence(self) -> str:
        """All of it in a line."""
        read = f"{self.new:,} {self.unit} read"
        if self.before:
            read = f"{self.before:,} {self.unit} read before: {self.assurance}; {self.new:,} new"
        elif self.whole_because:
            read = f"all {self.new:,} {self.unit} read: {self.whole_because}"
        return f"{read}; no marks are kept: {self.not_kept}" if self.not_kept else read

    @property
    def unexpected(self) -> bool:
        """True if it cost more than it should have, or the next one will."""
        return bool(self.not_kept or self.whole_because not in ("", NO_MARKS))


NO_MARKS = "no marks of an earlier reading"
NOTHING_READ = SourceReading()
