"""Own the facts of a directory: nodes, metadata index, assets, links, keys; all SQL lives in this room.

It reads and writes no files of users, and knows no face.

>>> from holdfast.queries import Key
>>> with Database(":memory:") as database:
...     with database.transaction() as tx:
...         _ = tx.nodes.add(ROOT, [NewNode("a", "array", {"n": 7})])
...     database.nodes.search(ROOT, Key("n") > 5).count
1
"""

from holdfast.database.assets import MEMBER
from holdfast.database.backup import backup, upgrade
from holdfast.database.catalog import ROOT, Database, Transaction
from holdfast.database.connection import Schema, SqliteFile
from holdfast.database.documents import DocumentWindow, NewDocument
from holdfast.database.frames import FRAMES, Place, SequenceRow
from holdfast.database.locate import Location, locate
from holdfast.database.names import ObjectName, register_resolver, resolve
from holdfast.database.patterns import search
from holdfast.database.records import (
    AssetRow,
    AssetState,
    KeyRow,
    LinkRow,
    LogRow,
    NewAsset,
    NewLink,
    NewNode,
    NewSource,
    NodeRow,
    Outcome,
    Page,
    RevisionRow,
    SourceRow,
)

__all__ = [
    "ROOT",
    "Database",
    "Transaction",
    "Schema",
    "SqliteFile",
    "Location",
    "locate",
    "ObjectName",
    "register_resolver",
    "resolve",
    "DocumentWindow",
    "NewDocument",
    "backup",
    "upgrade",
    "search",
    "FRAMES",
    "MEMBER",
    "Place",
    "SequenceRow",
    "AssetRow",
    "AssetState",
    "KeyRow",
    "LinkRow",
    "LogRow",
    "NewAsset",
    "NewLink",
    "NewNode",
    "NewSource",
    "NodeRow",
    "Outcome",
    "Page",
    "RevisionRow",
    "SourceRow",
]
