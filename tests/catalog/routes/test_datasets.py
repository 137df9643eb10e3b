"""Data sets of labelled arrays as tables, the way Tiled's client fetches their columns."""

from collections.abc import Iterator

import h5py
import numpy as np
import pytest

import holdfast as hf
from holdfast.errors import NotAcceptableError
from holdfast.formats.tables import Table
from holdfast.http.client import Connection

ARROW = "application/vnd.apache.arrow.file"


@pytest.fixture
def connection(tmp_path) -> Iterator[Connection]:
    with h5py.File(tmp_path / "weather.nc", "w") as file:
        file["time"] = np.arange(4.0)
        file["time"].make_scale("time")
        file["pressure"] = np.arange(4) * 100
        file["pressure"].dims[0].attach_scale(file["time"])
        file["height"] = np.arange(2.0)
        file["height"].make_scale("height")
        file["wind"] = np.arange(8.0).reshape(4, 2)
        file["wind"].dims[0].attach_scale(file["time"])
        file["wind"].dims[1].attach_scale(file["height"])
    hf.index(tmp_path)
    with hf.from_catalog(tmp_path) as client:
        yield client.session.connection


def columns(connection: Connection, *names: str) -> Table:
    query = [("format", ARROW), *(("field", name) for name in names)]
    with connection.open("GET", "/api/v1/container/full/weather.nc", query) as answer:
        return Table.from_ipc(answer.read())


def test_columns_of_a_data_set_come_as_one_arrow_file(connection):
    table = columns(connection, "pressure", "time")
    assert table.columns == ("pressure", "time")
    assert table["pressure"].tolist() == [0, 100, 200, 300]


def test_variables_that_are_no_columns_of_one_table_are_not_acceptable(connection):
    with pytest.raises(NotAcceptableError, match="wind"):
        columns(connection, "time", "wind")
