"""Own the view of an HDF5 file of other origin: read through h5py, unverified, and it says so.

It does not write. Files are opened read-only and without locks, so that whoever writes them can go on.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from holdfast.errors import HashError, MissingFileError, UnreadableError
from holdfast.files import os_errors
from holdfast.formats.sealed import ArrayView, try_open
from holdfast.records import sidecars

__all__ = ["ForeignView", "holds_only_data", "open_array"]

_DATA, _SEAL = "data", "_holdfast"


class ForeignView(ArrayView):
    """Be the lazy view of data set ``data`` in an HDF5 file without seal.

    Parameters
    ----------
    path : str
        The file.
    what : str
        The entry, for messages.
    sealed : bool
        The whole file was verified against digests beside it when it was opened.

    Raises
    ------
    UnreadableError
        When it is not HDF5, is damaged, or holds no ``data``.
    HashError
        When it was sealed and another program moved the seal.
    MissingFileError
        When a file is absent that holds the values.
    """

    def __init__(self, path: str, what: str, *, sealed: bool = False, accepts_seal: bool = False) -> None:
        import h5py  # it takes a while to load, and most records have no such file

        self._what, self.sealed = what, sealed
        self._file = _open(path, what)
        try:
            self._data = self._dataset(path, accepts_seal)
        except BaseException:
            self._file.close()
            raise
        self._is_text = h5py.check_string_dtype(self._data.dtype) is not None and self._data.dtype.kind == "O"
        self.shape = self._data.shape or ()
        self.dtype = np.dtype(self._data.dtype)

    def _dataset(self, path: str, accepts_seal: bool) -> Any:
        if _SEAL in self._file and not accepts_seal:
            raise HashError(
                f"{self._what} was changed by another program: its seal is not at its end; restore it from "
                "another copy, or accept it with adopt()"
            )
        import h5py

        found = self._file.get(_DATA)
        if not isinstance(found, h5py.Dataset):
            raise UnreadableError(
                f"{self._what} is an HDF5 file without a data set {_DATA!r}; read it with h5py"
            )
        for name in _other_files(found):
            if not os.path.exists(os.path.join(os.path.dirname(path), name)):
                # HDF5 itself would give zeros.
                raise MissingFileError(
                    f"{self._what} keeps its values in {name!r}, which is absent; restore it"
                )
        return found

    def read(self) -> Any:
        """Return all values: a scalar for no axes, `str` for strings."""
        if self._data.shape is None:
            return np.empty(0, self.dtype)
        array = self._take([*map(range, self.shape)])
        return array if array.shape else array[()]

    def _take(self, ranges: list[range]) -> np.ndarray[Any, Any]:
        index = tuple(slice(each.start, each.stop, each.step) for each in ranges) or ()
        source = self._data.asstr() if self._is_text else self._data
        try:
            found = source[index]
        except (OSError, UnicodeDecodeError) as error:
            raise UnreadableError(
                f"{self._what} is damaged: {error}; restore it from another copy"
            ) from error
        if self._is_text:
            out = np.empty(np.shape(found), object)
            out[...] = found
            return out
        return np.asarray(found, self.dtype)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._file.close()


def _open(path: str, what: str) -> Any:
    import h5py

    try:
        return h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        try:
            return h5py.File(path, "r", locking=False, swmr=True)  # one that a detector is writing
        except OSError:
            raise UnreadableError(
                f"{what} has the suffix .h5 but cannot be read as HDF5 ({error}); restore it or rename it"
            ) from error


def _other_files(dataset: Any) -> list[str]:
    if dataset.is_virtual:
        return [source.file_name for source in dataset.virtual_sources() if source.file_name != "."]
    return [name for name, _, _ in dataset.external or ()]


def open_array(path: str, what: str) -> ArrayView:
    """Open an array of any origin.

    Parameters
    ----------
    path : str
        The HDF5 file.
    what : str
        The entry, for messages.

    Returns
    -------
    ArrayView
        Verified when it is sealed, or has digests beside it; these are looked at first, in full.

    Raises
    ------
    NotFoundError
        When there is no such file.
    HashError
        When it is damaged.
    UnreadableError
        When it is not HDF5 with ``data``.
    """
    try:
        view = try_open(path, what)
    except HashError:
        # One that another program changed may have been accepted as it is.
        if not sidecars.sidecars(path):
            raise
        view = None
    if view is not None:
        return view
    is_sealed = sidecars.verify(path, what) is not None
    with os_errors(what, "read"):
        return ForeignView(path, what, sealed=is_sealed, accepts_seal=is_sealed)


def holds_only_data(path: str) -> bool:
    """Tell whether a file holds ``data`` and nothing that writing it anew would lose."""
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        names = set(file) - {_SEAL}
        return names == {_DATA} and not len(file.attrs) and not len(file[_DATA].attrs)
