"""Runs inside Tiled's environment: a tree in its server's memory, with every family that it holds there."""

import awkward
import dask.dataframe
import numpy as np
import pandas
import sparse
from tiled.adapters.array import ArrayAdapter
from tiled.adapters.awkward import AwkwardAdapter
from tiled.adapters.mapping import MapAdapter
from tiled.adapters.sparse import COOAdapter
from tiled.adapters.table import TableAdapter
from tiled.structures.core import Spec

CUBE = sparse.random((6, 5, 4), density=0.3, random_state=3)
EVENTS = [{"t": 0.5, "hits": [1, 2]}, {"t": 1.5, "hits": []}]
frame = pandas.DataFrame(
    {"x": np.arange(10), "y": np.arange(10) / 2, "label": [f"row{n}" for n in range(10)]}
)
red, blue = {"color": "red", "n": 1, "tags": ["u", "v"]}, {"color": "blue", "n": 2, "words": "a special day"}

tree = MapAdapter(
    {
        "array": ArrayAdapter.from_array(np.arange(60.0).reshape(3, 4, 5), metadata=red),
        "chunked": ArrayAdapter.from_array(
            np.arange(600, dtype=">i4").reshape(20, 30), chunks=((7, 7, 6), (30,)), metadata=blue
        ),
        "table": TableAdapter.from_dask_dataframe(
            dask.dataframe.from_pandas(frame, npartitions=3), metadata={"n": 3}, specs=[Spec("scan", "1")]
        ),
        "cube": COOAdapter.from_global_ref(
            {
                (block, 0, 0): (part.coords + np.array([[3 * block], [0], [0]]), part.data)
                for block, part in enumerate((CUBE[:3], CUBE[3:]))
            },
            shape=CUBE.shape,
            chunks=((3, 3), (5,), (4,)),
        ),
        "events": AwkwardAdapter.from_array(awkward.Array(EVENTS)),
        "box": MapAdapter({"inner": ArrayAdapter.from_array(np.eye(3))}, metadata={"color": "green"}),
    },
    metadata={"where": "in memory"},
)
