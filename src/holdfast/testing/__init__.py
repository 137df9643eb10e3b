"""Own the public contract suites: a back end's test file is a subclass and a fixture.

The suites need pytest, and those of formats and faces what these need.

>>> from holdfast.testing import StorageTests
"""

from holdfast.testing.directories import DirectoryFormatTests
from holdfast.testing.faults import FaultyStorage
from holdfast.testing.formats import FormatTests
from holdfast.testing.storage import StorageTests
from holdfast.testing.store import StoreTests

__all__ = ["DirectoryFormatTests", "FaultyStorage", "FormatTests", "StorageTests", "StoreTests"]
