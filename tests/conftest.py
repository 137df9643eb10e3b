"""What holds for all tests."""

import contextlib

from hypothesis import settings

# Before netCDF4, which brings a Blosc of its own: HDF5 keeps the first one that it is shown.
with contextlib.suppress(ImportError):
    import hdf5plugin  # noqa: F401

# Machines are busy: a slow example is no fault; each test has a time limit of its own. A change is judged by
# the same examples every time; to look for new ones: pytest --hypothesis-profile explore
settings.register_profile("explore", deadline=None)
settings.register_profile("holdfast", deadline=None, derandomize=True)
settings.load_profile("holdfast")
