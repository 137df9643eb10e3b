"""Keep scientific data: arrays, files, and the analyses made from them.

Everything here is loaded when it is first used, so that ``import holdfast`` costs next to nothing.

>>> import holdfast as hf
>>> hf.Report(checked=3).ok
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.lazy import lazy_names
from holdfast.types import VERSION as __version__

if TYPE_CHECKING:
    from holdfast.analysis import AnalysisClient, LocalAnalysisClient
    from holdfast.archive import Archive
    from holdfast.catalog import check, download, from_catalog, from_uri, index
    from holdfast.errors import HoldfastError
    from holdfast.records import Record
    from holdfast.reports import Finding, Report

__all__ = [
    "AnalysisClient",
    "Archive",
    "Finding",
    "HoldfastError",
    "LocalAnalysisClient",
    "Record",
    "Report",
    "__version__",
    "check",
    "download",
    "from_catalog",
    "from_uri",
    "index",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AnalysisClient": "holdfast.analysis",
        "Archive": "holdfast.archive",
        "Finding": "holdfast.reports",
        "HoldfastError": "holdfast.errors",
        "LocalAnalysisClient": "holdfast.analysis",
        "Record": "holdfast.records",
        "Report": "holdfast.reports",
        "check": "holdfast.catalog",
        "download": "holdfast.catalog",
        "from_catalog": "holdfast.catalog",
        "from_uri": "holdfast.catalog",
        "index": "holdfast.catalog",
    },
)
