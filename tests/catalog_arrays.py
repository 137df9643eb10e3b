"""The arrays in the served HDF5 file."""

import numpy as np

ARRAYS = {
    "f8": np.arange(24.0).reshape(4, 6),
    "big_i4": np.arange(6, dtype=">i4").reshape(2, 3),
    "u1": np.arange(5, dtype="u1"),
    "bool": np.array([True, False, True]),
    "complex": np.array([1 + 2j, 3 - 4j]),
    "bytes": np.array([b"a", b"bcd"]),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3)),
    "cube": np.arange(60, dtype="i2").reshape(3, 4, 5),
}
MATRIX = np.array([[0, 0, 1.5], [0, 0, 0], [2.5, 0, 0], [0, 4, 0]])
HITS = [{"x": [1, 2], "label": "a"}, {"x": [], "label": "bc"}]
