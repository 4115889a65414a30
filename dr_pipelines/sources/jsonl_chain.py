"""A digest of a growing file that can be taken up again where it was left."""

import hashlib
from typing import BinaryIO

PIECE_BYTES = 64 * 1024
READ_BYTES = 1024 * 1024


class Chain:
    """SHA-256 over a file from its start, chained over pieces of `PIECE_BYTES`: each is hashed
    behind the digest of all before it. So the bytes of one piece are enough to go on, and a file of
    less than a piece has its plain SHA-256.

    `before` is the digest of all whole pieces so far, empty where there are none.
    """

    __slots__ = ("_hash", "before", "size")

    def __init__(self, before: bytes = b"", size: int = 0) -> None:
        self.before = before
        self.size = size
        self._hash = hashlib.sha256(before)

    def update(self, data: bytes) -> None:
        """Go on with the next bytes."""
        left = PIECE_BYTES - self.size % PIECE_BYTES
        if len(data) >= left:
            view = memoryview(data)
            while len(view) >= left:
                self._hash.update(view[:left])
                self.size += left
                self.before = self._hash.digest()
                self._hash = hashlib.sha256(self.before)
                view, left = view[left:], PIECE_BYTES
            data = bytes(view)
        self._hash.update(data)
        self.size += len(data)

    def hexdigest(self) -> str:
        """The digest of everything so far."""
        return self._hash.hexdigest()

    def read(self, file: BinaryIO, end: int) -> None:
        """Go on with a file from its position to an offset, or to its end before that."""
        while self.size < end and (data := file.read(min(READ_BYTES, end - self.size))):
            self.update(data)


def chain_at(file: BinaryIO, before: bytes, offset: int) -> Chain:
    """The chain at an offset of a file, given the digest of the whole pieces before it. Reads the
    bytes of one piece."""
    start = offset // PIECE_BYTES * PIECE_BYTES
    chain = Chain(before, start)
    file.seek(start)
    chain.read(file, offset)
    return chain
