"""The forward pass of BERT in NumPy, for one short text: no training library is loaded for it.

Devlin, Chang, Lee, Toutanova: BERT, NAACL 2019. Computed in float32 as the weights are; it differs
from other implementations by the order of their sums alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from dr_pipelines.model.query import FloatArray

GRID = 1 << 14
REACH = 6.0
"""Beyond it the error function is 1 in float32."""


@dataclass(frozen=True)
class Bert:
    """Weights by the names that they have in the file, without the first three embeddings, of
    which `forward` gets the rows that it needs."""

    weights: Mapping[str, FloatArray]
    layers: int
    heads: int
    epsilon: float

    def forward(self, embedded: FloatArray) -> FloatArray:
        """The last hidden states, float32[tokens, width], of the sum of a text's embeddings."""
        hidden = self._normalized(embedded, "embeddings.LayerNorm")
        for layer in range(self.layers):
            hidden = self._layer(hidden, f"encoder.layer.{layer}.")
        return hidden

    def _layer(self, hidden: FloatArray, name: str) -> FloatArray:
        attended = self._linear(self._attention(hidden, name), name + "attention.output.dense")
        hidden = self._normalized(attended + hidden, name + "attention.output.LayerNorm")
        wide = gelu(self._linear(hidden, name + "intermediate.dense"))
        narrow = self._linear(wide, name + "output.dense")
        return self._normalized(narrow + hidden, name + "output.LayerNorm")

    def _attention(self, hidden: FloatArray, name: str) -> FloatArray:
        tokens, width = hidden.shape
        query, key, value = (
            self._linear(hidden, f"{name}attention.self.{part}")
            .reshape(tokens, self.heads, -1)
            .transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.float32(math.sqrt(width // self.heads))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        joined: FloatArray = (scores @ value).transpose(1, 0, 2).reshape(tokens, width)
        return joined

    def _linear(self, values: FloatArray, name: str) -> FloatArray:
        result: FloatArray = (
            values @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]
        )
        return result

    def _normalized(self, values: FloatArray, name: str) -> FloatArray:
        centred = values - values.mean(axis=-1, keepdims=True)
        spread = np.sqrt(
            (centred * centred).mean(axis=-1, keepdims=True) + np.float32(self.epsilon)
        )
        result: FloatArray = (
            centred / spread * self.weights[name + ".weight"] + self.weights[name + ".bias"]
        )
        return result


def weight_names(layers: int) -> set[str]:
    """The names of all weights of a BERT of so many layers, its pooler left out."""
    names = {f"embeddings.{part}_embeddings.weight" for part in ("word", "position", "token_type")}
    attention = [f"attention.self.{part}" for part in ("query", "key", "value")]
    linear = (*attention, "attention.output.dense", "intermediate.dense", "output.dense")
    norms = ("attention.output.LayerNorm", "output.LayerNorm")
    for place in ("weight", "bias"):
        names.add(f"embeddings.LayerNorm.{place}")
        for layer in range(layers):
            names |= {f"encoder.layer.{layer}.{part}.{place}" for part in (*linear, *norms)}
    return names


def gelu(values: FloatArray) -> FloatArray:
    """x · Φ(x), with the error function from a table that is exact to 1e-8."""
    grid, table = _error_function()
    scaled = np.abs(values) * (1 / math.sqrt(2))
    result: FloatArray = (
        0.5 * values * (1 + np.copysign(np.interp(scaled, grid, table), values))
    ).astype(np.float32)
    return result


@cache
def _error_function() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    grid = np.linspace(0, REACH, GRID)
    return grid, np.fromiter((math.erf(x) for x in grid), np.float64)


def total(parts: Sequence[FloatArray]) -> FloatArray:
    """The sum of a text's embeddings."""
    result = parts[0].copy()
    for part in parts[1:]:
        result += part
    return result
