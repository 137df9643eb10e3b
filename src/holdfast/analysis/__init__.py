"""Own the analysis face: documents of what was computed from what, when and by whom.

>>> from holdfast.analysis import LocalAnalysisClient
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.lazy import lazy_names

if TYPE_CHECKING:
    from holdfast.analysis.client import AnalysisClient
    from holdfast.analysis.documents import Documents
    from holdfast.analysis.lineage import Lineage
    from holdfast.analysis.local import LocalAnalysisClient

__all__ = ["AnalysisClient", "Documents", "Lineage", "LocalAnalysisClient"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AnalysisClient": "holdfast.analysis.client",
        "Documents": "holdfast.analysis.documents",
        "Lineage": "holdfast.analysis.lineage",
        "LocalAnalysisClient": "holdfast.analysis.local",
    },
)
