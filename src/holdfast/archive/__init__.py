"""Keep results that nobody can change unnoticed: stored once, read-only, verified on the way in and out.

>>> import tempfile
>>> from holdfast.archive import Store
>>> store = Store.create(tempfile.mkdtemp(), "Test Store")
>>> store.manifest.data
{'name': 'Test Store', 'events': {}}
>>> store.close()
"""

from holdfast.archive.contract import AddedEvent, Archive
from holdfast.archive.entries import Entry
from holdfast.archive.manifest import Manifest
from holdfast.errors import AlreadyPresentException, HashError, NotAStoreError

__all__ = [
    "AddedEvent",
    "AlreadyPresentException",
    "Archive",
    "Entry",
    "HashError",
    "Manifest",
    "NotAStoreError",
    "Store",
]

Store = Archive
