"""Own how bytes reach a file system: atomic writes, publication, locks, seals, durability, left-overs.

What they mean belongs to the callers; names from outside are checked by `holdfast.paths` before they
come here.

>>> import tempfile
>>> write_atomic(tempfile.mkdtemp() + "/facts.json", b"{}")
"""

from holdfast.files.atomic import AtomicWriter, open_atomic, write_atomic
from holdfast.files.durability import flush, flush_later, sync_directory, sync_file, sync_tree
from holdfast.files.faults import os_errors
from holdfast.files.fresh import SyncPoint, can_sync_together, create_new, sync_new, write_early
from holdfast.files.kernel import reserve
from holdfast.files.leftovers import is_temporary, sweep
from holdfast.files.locks import KeptLock, Lock, SharedLock, lock
from holdfast.files.modes import is_sealed, seal
from holdfast.files.publishing import (
    build_directory,
    exchange,
    link_new,
    make_directories,
    publish_new,
    remove,
    remove_tree,
    replace,
    symlink_new,
)
from holdfast.files.systems import (
    FileSystem,
    boot_id,
    choose_writer,
    declare_file_system,
    file_system,
    host_id,
    require_writer,
)

__all__ = [
    "AtomicWriter",
    "FileSystem",
    "KeptLock",
    "Lock",
    "SharedLock",
    "SyncPoint",
    "boot_id",
    "build_directory",
    "can_sync_together",
    "choose_writer",
    "create_new",
    "declare_file_system",
    "exchange",
    "file_system",
    "flush",
    "flush_later",
    "host_id",
    "is_sealed",
    "is_temporary",
    "link_new",
    "lock",
    "make_directories",
    "open_atomic",
    "os_errors",
    "publish_new",
    "remove",
    "remove_tree",
    "replace",
    "reserve",
    "require_writer",
    "seal",
    "sweep",
    "symlink_new",
    "sync_directory",
    "sync_file",
    "sync_new",
    "sync_tree",
    "write_atomic",
    "write_early",
]
