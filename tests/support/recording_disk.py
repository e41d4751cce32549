"""A disk that remembers every step, and can be rebuilt as a power cut after any of them may have left it.

The rules are those of POSIX, not of one file system: what a file held is sure once it was synced, a name
is sure once its folder was synced, and the folder itself once its parent was. Everything later may be
there or not, each on its own: names in any combination, the bytes of a file whole, cut off, or zeros.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random  # noqa: TID251  # seeded by the test
from typing import Literal

from repository.tiers.folder.disk import LocalDisk

Kind = Literal["folder", "create", "write", "sync", "sync-folder", "link", "rename", "unlink", "note"]


@dataclass(frozen=True)
class Step:
    """One step: what it did, to which name, to which file (a number), with which bytes."""

    kind: Kind
    path: str
    file: int = 0
    target: str = ""
    content: bytes = b""


@dataclass
class _File:
    content: bytes = b""
    synced: bytes | None = None


@dataclass
class _Folder:
    """Changes to a folder's names, the first `sure` of which a power cut cannot take back."""

    changes: list[dict[str, int | None]] = field(default_factory=list)
    sure: int = 0


_IS_FOLDER = -1


class RecordingDisk(LocalDisk):
    """Does what `LocalDisk` does, and records it. Thread-safe."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._lock = threading.Lock()
        self._files: dict[int, int] = {}
        self._names: dict[str, int] = {}
        self._count = 0

    def note(self, text: str) -> None:
        """Put a remark of the test among the steps: that a call has returned, say."""
        with self._lock:
            self.steps.append(Step("note", text))

    def make_folder(self, path: str) -> bool:
        """Create one folder."""
        with self._lock:
            is_new = super().make_folder(path)
            if is_new:
                self.steps.append(Step("folder", path))
            return is_new

    def create(self, path: str) -> int:
        """Create an empty file."""
        with self._lock:
            descriptor = super().create(path)
            self._count += 1
            self._files[descriptor] = self._names[path] = self._count
            self.steps.append(Step("create", path, self._count))
            return descriptor

    def write(self, descriptor: int, buffers: Sequence[memoryview]) -> None:
        """Write the buffers."""
        super().write(descriptor, buffers)
        with self._lock:
            self.steps.append(Step("write", "", self._files[descriptor], content=b"".join(buffers)))

    def sync(self, descriptor: int) -> None:
        """Sync the file."""
        super().sync(descriptor)
        with self._lock:
            self.steps.append(Step("sync", "", self._files[descriptor]))

    def sync_folder(self, path: str) -> None:
        """Sync the folder."""
        with self._lock:
            super().sync_folder(path)
            self.steps.append(Step("sync-folder", path))

    def link(self, source: str, target: str) -> None:
        """Give the file a second name."""
        with self._lock:
            super().link(source, target)
            self._names[target] = self._names[source]
            self.steps.append(Step("link", source, self._names[source], target))

    def rename(self, source: str, target: str) -> None:
        """Rename the file."""
        with self._lock:
            super().rename(source, target)
            self._names[target] = self._names.pop(source)
            self.steps.append(Step("rename", source, self._names[target], target))

    def unlink(self, path: str) -> None:
        """Remove the name."""
        with self._lock:
            super().unlink(path)
            self._names.pop(path, None)
            self.steps.append(Step("unlink", path))


def rebuild(steps: Sequence[Step], root: str, target: Path, chance: Random) -> None:
    """Make `target` what a power cut after these steps may have left of `root`; which of it, `chance` says."""
    folders: dict[str, _Folder] = {}
    files: dict[int, _File] = {}

    def change(path: str, names: dict[str, int | None]) -> None:
        folders.setdefault(str(Path(path).parent), _Folder()).changes.append(names)

    for step in steps:
        match step.kind:
            case "folder":
                folders.setdefault(step.path, _Folder())
                change(step.path, {Path(step.path).name: _IS_FOLDER})
            case "create":
                files[step.file] = _File()
                change(step.path, {Path(step.path).name: step.file})
            case "write":
                files[step.file].content += step.content
            case "sync":
                files[step.file].synced = files[step.file].content
            case "sync-folder":
                folder = folders.setdefault(step.path, _Folder())
                folder.sure = len(folder.changes)
            case "link":
                change(step.target, {Path(step.target).name: step.file})
            case "rename":
                # Within one folder: both names change or neither does.
                change(step.target, {Path(step.path).name: None, Path(step.target).name: step.file})
            case "unlink":
                change(step.path, {Path(step.path).name: None})
            case "note":
                pass
    target.mkdir()
    _build_folder(folders, files, root, target, chance)


def _build_folder(
    folders: dict[str, _Folder], files: dict[int, _File], path: str, target: Path, chance: Random
) -> None:
    folder = folders.get(path, _Folder())
    kept = folder.changes[: folder.sure]
    unsure = folder.changes[folder.sure :]
    if chance.random() < 0.5:
        kept += unsure[: chance.randint(0, len(unsure))]
    else:
        kept += [names for names in unsure if chance.random() < 0.5]
    names: dict[str, int | None] = {}
    for changed in kept:
        names |= changed
    for name, file in names.items():
        if file == _IS_FOLDER:
            (target / name).mkdir()
            _build_folder(folders, files, f"{path}/{name}", target / name, chance)
        elif file is not None:
            (target / name).write_bytes(_surviving(files[file], chance))


def _surviving(file: _File, chance: Random) -> bytes:
    if file.synced == file.content:
        return file.content
    kept = file.content[: chance.randint(0, len(file.content))]
    return chance.choice([b"", kept, kept + bytes(len(file.content) - len(kept)), file.content])
