"""LightGBM's scoring, straight from its shared library: a tenth of the memory and start of `import lightgbm`, same numbers.

Functions and constants are those of LightGBM's C API (include/LightGBM/c_api.h, 4.x).
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.errors import ArtifactMismatch, PayrescueError

__all__ = ["Booster"]

_FLOAT32 = 0
_RAW_SCORE = 1
_ROW_MAJOR = 1


@cache
def _library() -> ctypes.CDLL:
    spec = find_spec("lightgbm")
    if spec is None or not spec.submodule_search_locations:
        raise PayrescueError("lightgbm is not installed; run `make` in the project's root")
    for folder in spec.submodule_search_locations:
        for path in sorted(Path(folder, "lib").glob("lib_lightgbm.*")):
            try:
                library = ctypes.CDLL(str(path))
            except OSError as error:
                raise PayrescueError(f"LightGBM does not load ({error}); on Debian: apt install libgomp1") from None
            library.LGBM_GetLastError.restype = ctypes.c_char_p
            return library
    raise PayrescueError("lightgbm is installed without its library; install it anew")


def _check(status: int) -> None:
    if status != 0:
        raise ArtifactMismatch(f"LightGBM: {_library().LGBM_GetLastError().decode(errors='replace')}")


class Booster:
    """Trees that were trained elsewhere, from LightGBM's text form. Only parse text whose hash was checked.

    Scores are raw: log-odds for two classes, log-weights for more. Raises ArtifactMismatch if the text is no model.
    """

    def __init__(self, text: str) -> None:
        library = _library()
        self._handle = ctypes.c_void_p()
        iterations = ctypes.c_int()
        _check(
            library.LGBM_BoosterLoadModelFromString(
                ctypes.c_char_p(text.encode()), ctypes.byref(iterations), ctypes.byref(self._handle)
            )
        )
        self.iterations = iterations.value
        classes, columns = ctypes.c_int(), ctypes.c_int()
        _check(library.LGBM_BoosterGetNumClasses(self._handle, ctypes.byref(classes)))
        _check(library.LGBM_BoosterGetNumFeature(self._handle, ctypes.byref(columns)))
        self.classes, self.columns = classes.value, columns.value
        self._one = ctypes.c_void_p()
        _check(
            library.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._handle,
                ctypes.c_int(_RAW_SCORE),
                ctypes.c_int(0),
                ctypes.c_int(-1),
                ctypes.c_int(_FLOAT32),
                ctypes.c_int32(self.columns),
                ctypes.c_char_p(b"num_threads=1"),
                ctypes.byref(self._one),
            )
        )
        self._length = ctypes.c_int64()
        self._length_at = ctypes.byref(self._length)
        self._score_one = library.LGBM_BoosterPredictForMatSingleRowFast
        self._score_one.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]

    def __del__(self) -> None:
        if getattr(self, "_one", None):
            _library().LGBM_FastConfigFree(self._one)
        if getattr(self, "_handle", None):
            _library().LGBM_BoosterFree(self._handle)

    def few(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Raw scores of a few rows, shape (n, n_classes), one thread: the way of a request.

        `matrix` is float32, C-contiguous, shape (n, n_columns). Not for two threads at once.
        """
        scores = np.empty((len(matrix), self.classes))
        data, out = matrix.ctypes.data, scores.ctypes.data
        step_in, step_out = matrix.strides[0], scores.strides[0]
        for i in range(len(matrix)):
            _check(self._score_one(self._one, data + i * step_in, self._length_at, out + i * step_out))
        return scores

    def many(self, matrix: npt.NDArray[np.float32], threads: int = 0) -> npt.NDArray[np.float64]:
        """Raw scores, shape (n, n_classes), of as many rows as there are, on `threads` threads (0: as many as cores)."""
        matrix = np.ascontiguousarray(matrix, np.float32)
        if matrix.ndim != 2 or matrix.shape[1] != self.columns:
            raise ArtifactMismatch(f"the trees want {self.columns} features, there are {matrix.shape[1:]}")
        scores = np.empty((len(matrix), self.classes))
        if not len(matrix):
            return scores
        parameters: Any = ctypes.c_char_p(f"num_threads={threads}".encode())
        _check(
            _library().LGBM_BoosterPredictForMat(
                self._handle,
                ctypes.c_void_p(matrix.ctypes.data),
                ctypes.c_int(_FLOAT32),
                ctypes.c_int32(matrix.shape[0]),
                ctypes.c_int32(matrix.shape[1]),
                ctypes.c_int(_ROW_MAJOR),
                ctypes.c_int(_RAW_SCORE),
                ctypes.c_int(0),
                ctypes.c_int(-1),
                parameters,
                self._length_at,
                ctypes.c_void_p(scores.ctypes.data),
            )
        )
        return scores
