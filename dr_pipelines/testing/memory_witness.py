"""A witness that remembers as long as its process."""


class MemoryWitness:
    """A `Witness` without a state directory."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, str]] = {}

    def newest(self, collection: str) -> tuple[int, str] | None:
        return self._seen.get(collection)

    def record(self, collection: str, number: int, sha256: str) -> None:
        if number > self._seen.get(collection, (0, ""))[0]:
            self._seen[collection] = (number, sha256)
