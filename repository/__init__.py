"""The data plane: encrypted, deduplicated repositories on up to four tiers.

With a key and a bucket it restores, without platform code, service or network but the bucket's. These names are its
face; each is imported when it is asked for, so that a program loads what it uses.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from repository.backup.backup import BackupOptions as BackupOptions
    from repository.backup.backup import BackupResult as BackupResult
    from repository.backup.backup import backup as back_up
    from repository.backup.parts import back_up_part as back_up_part
    from repository.backup.parts import begin_partitioned as begin_partitioned
    from repository.backup.parts import join_parts as join_parts
    from repository.errors import RepositoryError as RepositoryError
    from repository.keys.key_file import KeyFile as KeyFile
    from repository.opened.repository import Repository as Repository
    from repository.restore.options import RestoreOptions as RestoreOptions
    from repository.restore.options import RestoreResult as RestoreResult
    from repository.restore.restore import restore as restore_snapshot
    from repository.stored.snapshot import Snapshot as Snapshot
    from repository.streams.reading import read_stream as read_stream
    from repository.streams.stream import open_stream as open_stream
    from repository.tiers.location import open_tier as open_tier
    from repository.upkeep.catch_up import catch_up as catch_up
    from repository.upkeep.check import check as check
    from repository.upkeep.repair import repair as repair

_FACE: Final = {
    "BackupOptions": "backup.backup:BackupOptions",
    "BackupResult": "backup.backup:BackupResult",
    "KeyFile": "keys.key_file:KeyFile",
    "Repository": "opened.repository:Repository",
    "RepositoryError": "errors:RepositoryError",
    "RestoreOptions": "restore.options:RestoreOptions",
    "RestoreResult": "restore.options:RestoreResult",
    "Snapshot": "stored.snapshot:Snapshot",
    "back_up": "backup.backup:backup",
    "back_up_part": "backup.parts:back_up_part",
    "begin_partitioned": "backup.parts:begin_partitioned",
    "catch_up": "upkeep.catch_up:catch_up",
    "check": "upkeep.check:check",
    "join_parts": "backup.parts:join_parts",
    "open_stream": "streams.stream:open_stream",
    "open_tier": "tiers.location:open_tier",
    "read_stream": "streams.reading:read_stream",
    "repair": "upkeep.repair:repair",
    "restore_snapshot": "restore.restore:restore",
}

__all__ = [
    "BackupOptions",
    "BackupResult",
    "KeyFile",
    "Repository",
    "RepositoryError",
    "RestoreOptions",
    "RestoreResult",
    "Snapshot",
    "back_up",
    "back_up_part",
    "begin_partitioned",
    "catch_up",
    "check",
    "join_parts",
    "open_stream",
    "open_tier",
    "read_stream",
    "repair",
    "restore_snapshot",
]


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module 'repository' has no attribute {name!r}")
    module, _, attribute = _FACE[name].partition(":")
    value = getattr(import_module(f"repository.{module}"), attribute)
    globals()[name] = value
    return value
