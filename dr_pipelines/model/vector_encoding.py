"""The ways in which vectors are stored, and what a policy says of them."""

from typing import Literal

VectorEncoding = Literal["arrow", "arrow+zstd"]
Compression = Literal["auto", "never", "always"]
