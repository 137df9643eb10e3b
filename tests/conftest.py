"""What holds for all tests."""

import contextlib

from hypothesis import settings

# Before netCDF4, which brings a Blosc of its own: HDF5 keeps the first one that it is shown.
with contextlib.suppress(ImportError):
    import hdf5plugin  # noqa: F401

# Machines are busy: a slow example is no fault; each test has a time limit of its own.
settings.register_profile("holdfast", deadline=None)
settings.load_profile("holdfast")
