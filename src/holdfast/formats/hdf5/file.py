"""An open HDF5 file and the arrays in it.

Owns the life of its handles; a reader that was handed out ends with its file.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any

from h5py import h5d

from holdfast.errors import NotFoundError
from holdfast.formats.awkward import AwkwardReader
from holdfast.formats.base import ArrayReader, OpenFile
from holdfast.formats.hdf5.arrays import open_array
from holdfast.formats.hdf5.families import open_awkward, open_sparse
from holdfast.formats.hdf5.links import FileSet
from holdfast.formats.hdf5.stacks import members_of
from holdfast.formats.sequences import JoinedArray
from holdfast.formats.source import Source
from holdfast.formats.sparse import SparseReader

__all__ = ["Hdf5File"]

_KEPT_ARRAYS = 256


class Hdf5File(OpenFile):
    """An HDF5 file with everything it leads to.

    Parameters
    ----------
    source : Source
        Its bytes; closed with the file.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._files = FileSet(source)
        self._arrays: OrderedDict[str, ArrayReader] = OrderedDict()
        self._lock = threading.RLock()

    def array(self, parameters: Mapping[str, Any]) -> ArrayReader:
        """Return the data set under ``parameters["dataset"]``.

        Raises
        ------
        NotFoundError
            There is no such data set.
        MissingFileError, ForbiddenError
            A file that a link leads to is absent or lies outside.
        """
        members = members_of(parameters)
        if members is not None:
            return JoinedArray([*members[1]], [partial(self._data_set, path) for path in members[0]])
        return self._data_set(str(parameters.get("dataset", "")))

    def _data_set(self, path: str) -> ArrayReader:
        with self._lock:
            found = self._arrays.get(path)
            if found is None:
                found = self._arrays[path] = self._open(path)
                if len(self._arrays) > _KEPT_ARRAYS:
                    self._arrays.popitem(last=False)
            self._arrays.move_to_end(path)
            return found

    def sparse(self, parameters: Mapping[str, Any]) -> SparseReader:
        """Return the sparse array that the group under ``parameters["dataset"]`` stands for."""
        with self._lock:
            return open_sparse(self._files, self._files.find(str(parameters.get("dataset", ""))))

    def awkward(self, parameters: Mapping[str, Any]) -> AwkwardReader:
        """Return the awkward array that ``parameters["dataset"]`` stands for."""
        with self._lock:
            return open_awkward(self._files, self._files.find(str(parameters.get("dataset", ""))))

    def _open(self, path: str) -> ArrayReader:
        place = self._files.find(path)
        if not isinstance(place.object, h5d.DatasetID):
            raise NotFoundError(f"{self._source.name} has no data set {path!r}")
        return open_array(self._files, place)

    def close(self) -> None:
        """Close every handle; a second time does nothing."""
        with self._lock:
            self._arrays.clear()
            self._files.close()
            self._source.close()
