"""How one backup is made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from repository.backup.problems import FileError
from repository.backup.sharing import PATIENCE_SECONDS
from repository.errors import TextInvalid
from repository.format import ContentClass
from repository.opened.open_tier import OpenTier
from repository.progress import Progress
from repository.stored.snapshot import Snapshot
from repository.streams.on_tier import StreamHead

MEMORY_BUDGET: Final = 256 << 20
"""Bytes of buffers for one backup, by default: the process stays below twice that."""


@dataclass(frozen=True, kw_only=True)
class BackupOptions:
    """How one backup is made.

    `run_token`: chosen by the caller; a token is committed at most once, so a run that is repeated after a lost answer
    adds no second snapshot. `label`: names the source; the latest snapshot of the same label is the parent. `paranoid`:
    read every file, and send what was in packs that a tier has lost. `memory_budget`: bytes of buffers, of a backup
    that shares none. `compression`: zstd levels per content class, 0 for none. `required`: tiers (by name) that are
    waited for however slow they are. `lock_days`: by tier, for how long what the snapshot needs cannot be deleted; a
    tier that does not prove to lock gets nothing, and where it is required there is no backup. `patience_seconds`: how
    long a slow tier may hold up a faster one, in all. `workers`: threads that compress and encrypt, 0: one for each
    core, of a backup that shares none. `on_waiting` is called about twice a second while other backups have all the
    memory, and `on_begin` once there is some for this one, before anything is read. `streams`: by name, up to where
    the snapshot leans on each; only a tier whose log says that it has as much gets the snapshot (`Stream.say`).
    `host`: of which machine it is. `parent`: instead of the latest of the label; `commit`: what is made of a tier
    that has everything, as `OpenTier.commit_snapshot` (both for `parts`). Raises `TextInvalid`.
    """

    run_token: str
    label: str
    tags: tuple[str, ...] = ()
    domain: str = "default"
    paranoid: bool = False
    memory_budget: int = MEMORY_BUDGET
    compression: Mapping[ContentClass, int] | None = None
    required: frozenset[str] = frozenset()
    lock_days: Mapping[str, int] = field(default_factory=dict)
    patience_seconds: float = PATIENCE_SECONDS
    workers: int = 0
    on_progress: Callable[[Progress], None] | None = None
    on_problem: Callable[[FileError], None] | None = None
    on_waiting: Callable[[], None] | None = None
    on_begin: Callable[[], None] | None = None
    is_cancelled: Callable[[], bool] | None = None
    streams: Mapping[str, StreamHead] = field(default_factory=dict)
    host: str = ""
    parent: Snapshot | None = None
    commit: Callable[..., Snapshot] = OpenTier.commit_snapshot

    def __post_init__(self) -> None:
        """Refuse what the manifest could not hold, before anything is uploaded."""
        for name, text in (
            ("run_token", self.run_token),
            ("label", self.label),
            ("host", self.host),
            *(("tag", tag) for tag in self.tags),
        ):
            if text.encode(errors="ignore").decode() != text:
                raise TextInvalid("text is not UTF-8", field=name)
