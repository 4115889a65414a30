"""float32 components as narrower types keep them."""

import numpy as np

from dr_pipelines.model.collection import VectorType
from dr_pipelines.model.query import FloatArray


def narrowed(values: FloatArray, dtype: VectorType) -> FloatArray:
    """float32 values as a narrower type keeps them: the nearest one, ties to even; integers are cut
    to their range, of a bit only 0 and 1 stay."""
    match dtype:
        case VectorType.FLOAT16:
            with np.errstate(over="ignore"):
                half: FloatArray = values.astype(np.float16).astype(np.float32)
            return half
        case VectorType.BFLOAT16:
            words = values.view(np.uint32).astype(np.int64)
            rounded = (words + 0x7FFF + ((words >> 16) & 1)) & 0xFFFF0000
            brain: FloatArray = rounded.astype(np.uint32).view(np.float32)
            return brain
        case VectorType.INT8:
            return _whole(values, -128, 127)
        case VectorType.UINT8:
            return _whole(values, 0, 255)
        case VectorType.BIT:
            bits: FloatArray = (values != 0).astype(np.float32)
            return bits
        case _:
            return values


def _whole(values: FloatArray, low: int, high: int) -> FloatArray:
    whole: FloatArray = np.rint(values).clip(low, high) + np.float32(0)  # -0.0 becomes 0.0
    return whole
