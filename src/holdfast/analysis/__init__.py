"""Own the analysis face: documents of what was computed from what, when and by whom.

>>> from holdfast.analysis import LocalAnalysisClient
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.analysis.client import AnalysisClient
    from holdfast.analysis.documents import Documents
    from holdfast.analysis.lineage import Lineage
    from holdfast.analysis.local import LocalAnalysisClient

__all__ = ["AnalysisClient", "Documents", "Lineage", "LocalAnalysisClient"]

_HOMES = {
    "AnalysisClient": "client",
    "Documents": "documents",
    "Lineage": "lineage",
    "LocalAnalysisClient": "local",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'holdfast.analysis' has no attribute {name!r}")
    value = getattr(import_module(f"holdfast.analysis.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
