"""Zarr, NetCDF and FITS through our server, read by the unmodified tiled 0.2.20 client."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from served import KEY, holdfast, served

pytestmark = pytest.mark.originals

netCDF4 = pytest.importorskip("netCDF4")
zarr = pytest.importorskip("zarr")
fits = pytest.importorskip("astropy.io.fits")

IMAGE = np.arange(600, dtype="i4").reshape(20, 30)
SPECTRA = np.arange(21, dtype="f4").reshape(7, 3)
VERSIONS = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA", "NETCDF4")
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("trees") / "lab"
    root.mkdir()
    for version in VERSIONS:
        write_netcdf(root / f"{version}.nc", version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_fits(root)
        for version in (2, 3):
            write_zarr(root / f"v{version}.zarr", version)
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (1e9, 1e9))
    indexed = holdfast("index", root)
    assert indexed.returncode == 0, indexed.stderr
    return root


def write_netcdf(path: Path, version: str) -> None:
    with netCDF4.Dataset(path, "w", format=version) as file:
        for name, length in (("time", None), ("x", 3)):
            file.createDimension(name, length)
        file.title = "weather"
        time = file.createVariable("time", "f8", ("time",))
        time.units = "days since 2026-11-29"
        time[:] = np.arange(4)
        file.createVariable("x", "f4", ("x",))[:] = [10, 20, 30]
        values = file.createVariable("temperature", "i2", ("time", "x"), fill_value=-1)
        values.set_auto_maskandscale(False)
        values.setncatts({"scale_factor": 0.5, "add_offset": 273.0})
        values[:] = np.array([[0, 1, -1]] * 4) + np.arange(4)[:, None] * np.array([1, 1, 0])


def write_fits(root: Path) -> None:
    fits.PrimaryHDU(np.arange(12, dtype="u2").reshape(3, 4)).writeto(root / "frame.fits")
    columns = [
        fits.Column("id", "J", array=np.arange(7)),
        fits.Column("name", "8A", array=list("abcdefg")),
        fits.Column("flux", "3E", array=SPECTRA),
    ]
    units = [
        fits.PrimaryHDU(),
        fits.CompImageHDU(IMAGE, name="RICE"),
        fits.BinTableHDU.from_columns(columns[:2], name="EVENTS"),
        fits.BinTableHDU.from_columns(columns, name="SPECTRA"),
    ]
    units[1].header["OBJECT"] = "M 31"
    fits.HDUList(units).writeto(root / "many.fits")


def write_zarr(path: Path, version: int) -> None:
    import xarray

    data = xarray.Dataset(
        {"image": (("y", "x"), IMAGE)}, {"y": np.arange(20), "x": np.arange(30.0)}, {"sample": "Ag"}
    )
    data.to_zarr(path / "run", zarr_format=version, mode="w", consolidated=False)
    group = zarr.open_group(path, mode="a", zarr_format=version)
    group.create_array("plain", shape=(50,), chunks=(20,), dtype="f8", fill_value=7)[:20] = np.arange(20)


@pytest.fixture(scope="module")
def url(directory) -> Iterator[str]:
    with served(directory, timeout_s=600) as server:
        yield server.url


@pytest.fixture(scope="module")
def ask(original, url) -> Ask:
    """Ask the tiled client, which is connected as `client`."""
    conversation = original("tiled-0.2.20")
    conversation(
        "import numpy as np, pathlib, xarray\nfrom tiled.client import from_uri\n"
        f"client = from_uri({url!r}, api_key={KEY!r})"
    )
    return conversation


@pytest.mark.parametrize("version", VERSIONS)
def test_netcdf_is_an_xarray_dataset_that_decodes_as_the_file_does(ask, directory, version):
    ask(f"found = client['{version}.nc'].read().load()")
    assert ask("found['temperature'].dims") in (("time", "x"), ["time", "x"])
    assert ask("sorted(found.coords)") == ["time", "x"]
    assert ask("found.attrs['title']") == "weather"
    ask("decoded = xarray.decode_cf(found)")
    ask("values = np.nan_to_num(decoded['temperature'].values, nan=-1e9)")
    with netCDF4.Dataset(directory / f"{version}.nc") as file:
        wanted = np.ma.filled(file["temperature"][:].astype(float), -1e9)
    assert np.array_equal(ask("values.tolist()"), wanted)
    assert ask("str(decoded['time'].values[2])").startswith("2026-12-01")


def test_a_fits_file_of_one_image_is_an_array(ask):
    assert ask("client['frame.fits'].read().tolist()") == np.arange(12).reshape(3, 4).tolist()
    assert ask("client['frame.fits'][::-1, 1].tolist()") == [9, 5, 1]
    assert ask("str(client['frame.fits'].dtype)") == "uint16"


def test_units_of_fits_are_arrays_tables_and_containers(ask):
    assert ask("list(client['many.fits'])") == ["RICE", "EVENTS", "SPECTRA"]
    assert ask("client['many.fits/RICE'][3:7, ::10].tolist()") == IMAGE[3:7, ::10].tolist()
    assert ask("client['many.fits/RICE'].metadata['OBJECT']") == "M 31"
    assert ask("client['many.fits/EVENTS'].read()['name'].tolist()") == list("abcdefg")
    assert ask("client['many.fits/EVENTS'].read(['id'])['id'].tolist()") == list(range(7))
    assert ask("client['many.fits/SPECTRA/flux'].read().tolist()") == SPECTRA.tolist()
    assert ask("client['many.fits/SPECTRA/table'].read()['id'].tolist()") == list(range(7))


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_store_is_one_container_with_its_arrays(ask, version):
    assert ask(f"sorted(client['v{version}.zarr'])") == ["plain", "run"]
    wanted = [*range(20), *[7] * 30]
    assert ask(f"client['v{version}.zarr/plain'].read().tolist()") == wanted
    assert ask(f"client['v{version}.zarr/plain'][15:25].tolist()") == wanted[15:25]
    assert ask(f"client['v{version}.zarr/plain'].read_block((0,)).tolist()") == wanted


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_group_that_xarray_wrote_is_an_xarray_dataset(ask, version):
    ask(f"found = client['v{version}.zarr/run'].read().load()")
    assert ask("found['image'].values.tolist()") == IMAGE.tolist()
    assert ask("sorted(found.coords)") == ["x", "y"]
    assert ask("found.attrs['sample']") == "Ag"


@pytest.mark.parametrize("version", [2, 3])
def test_the_files_of_a_store_are_its_one_asset_with_a_relative_manifest(ask, directory, version):
    store = directory / f"v{version}.zarr"
    ask(f"[source] = client['v{version}.zarr/plain'].data_sources()\n[asset] = source.assets")
    assert ask("source.mimetype") == "application/x-zarr"
    assert ask("asset.is_directory") is True
    names = ask(f"client['v{version}.zarr/plain'].asset_manifest([source])[asset.id]")
    assert sorted(names) == sorted(p.relative_to(store).as_posix() for p in store.rglob("*") if p.is_file())


@pytest.mark.parametrize("version", [2, 3])
def test_raw_export_brings_every_file_of_a_store(ask, directory, tmp_path, version):
    store = directory / f"v{version}.zarr"
    ask(f"client['v{version}.zarr/plain'].raw_export({str(tmp_path / 'out')!r})")
    found = {path.name: path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    wanted = [path for path in store.rglob("*") if path.is_file()]
    assert set(found) == {path.name for path in wanted}
    got = {path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert got == {path.read_bytes() for path in wanted}
