"""What was seen of tiers before, kept apart from them: a tier that was put back as a whole shows by nothing else.

Promise: a head is remembered by the tier's own id and by the place where it was, and only ever raised, until somebody
accepts an older one. The file is written whole or not at all; one that is no such file is set aside and told, and one
that the system does not give is told and stays as it is.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec

from repository.keys.key_ring import Rank
from repository.log.state import Head, LogState
from repository.regular_file import open_regular

_LENGTH_MAX: Final = 16 << 20
_REMEMBERED_MAX: Final = 1000
"""Tiers of one repository, at most; the ones that were not seen for longest go."""


class SeenTier(NamedTuple):
    """The head of a log that was seen, and the id of the tier whose log it was (None: not known)."""

    tier_id: bytes | None
    head: Head
    root: Rank = Rank()
    """Which root was in force."""

    def contradicts(self, state: LogState, judge: Callable[[Head], bool]) -> bool:
        """Whether a log at the same place is another tier's, or shows less or other than this.

        `judge`: whether the log contradicts a head. A log that was given an id of its own holds the head, too. One of
        which not a single entry is whole shows no history at all, so that nobody knows: that is damage.
        """
        if state.tier_id is None and state.faults and self.head.number <= state.head.number:
            return False
        if self.tier_id is None or state.tier_id == self.tier_id:
            return judge(self.head)
        return self.head.number > 0 and (judge(self.head) or state.digest_of(self.head.number) != self.head.digest)


_TierId = Annotated[str, msgspec.Meta(pattern=r"^(?:[0-9a-f]{2})*\Z")]


class _Remembered(msgspec.Struct):
    place: str
    number: Annotated[int, msgspec.Meta(ge=0)]
    digest: Annotated[str, msgspec.Meta(pattern=r"^(?:[0-9a-f]{2})*\Z")]
    root: tuple[int, _TierId] = (0, "")


def _rank(seen: _Remembered) -> Rank:
    return Rank(seen.root[0], bytes.fromhex(seen.root[1]))


class _File(msgspec.Struct):
    """Repository id → tier id → what was seen, all in hex; the latest last."""

    repositories: dict[str, dict[_TierId, _Remembered]] = {}
    format: int = 1


_FILE = msgspec.json.Decoder(_File)


class HeadsFile:
    """A file beside the key. `on_trouble` is told, in words, when nothing can be remembered.

    `on_unknown`: called where what was seen before is not to be had, so that a tier that was put back does not show.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        on_trouble: Callable[[str], None] = lambda _words: None,
        on_unknown: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = Path(path)
        self._on_trouble = on_trouble
        self._on_unknown = on_unknown

    def seen(self, repository_id: bytes, places: Mapping[str, str]) -> dict[str, list[SeenTier]]:
        """What was seen at each place (name → address), and under the name "" of all tiers of the repository."""
        known = (self._read() or _File()).repositories.get(repository_id.hex(), {})
        heads = {
            tier_id: SeenTier(bytes.fromhex(tier_id), Head(each.number, bytes.fromhex(each.digest)), _rank(each))
            for tier_id, each in known.items()
        }
        found = {
            name: [heads[tier_id] for tier_id, each in known.items() if each.place == place]
            for name, place in places.items()
        }
        return {**found, "": list(heads.values())}

    def knows(self, place: str) -> bool:
        """Whether a tier of any repository was seen at this place (its address)."""
        known = (self._read() or _File()).repositories.values()
        return any(each.place == place for seen in known for each in seen.values())

    def not_among(self, repository_id: bytes, identities: Collection[bytes], places: Collection[str]) -> list[str]:
        """The places (addresses) of the repository's tiers that are none of these."""
        known = (self._read() or _File()).repositories.get(repository_id.hex(), {})
        others = {each.place for tier_id, each in known.items() if bytes.fromhex(tier_id) not in identities}
        return sorted(others - set(places))

    def note(self, repository_id: bytes, states: Mapping[str, LogState], *, accepted: str = "") -> None:
        """Remember the heads of these logs (address → state). `accepted`: the place whose older head counts now."""
        with self._alone():
            self._note(repository_id, states, accepted)

    def take_over(self, other: HeadsFile, repository_id: bytes) -> None:
        """Remember of this repository what another file does, too: of each tier whichever saw more."""
        with self._alone():
            file, theirs = self._read(), other._read()
            if file is None or theirs is None:
                return
            known = file.repositories.setdefault(repository_id.hex(), {})
            before = msgspec.json.encode(file)
            for identity, each in theirs.repositories.get(repository_id.hex(), {}).items():
                if identity not in known or each.number > known[identity].number:
                    known[identity] = each
            if msgspec.json.encode(file) != before:
                self._write(msgspec.json.encode(file))

    def _note(self, repository_id: bytes, states: Mapping[str, LogState], accepted: str) -> None:
        file = self._read()
        if file is None:
            return
        known = file.repositories.setdefault(repository_id.hex(), {})
        before = msgspec.json.encode(file)
        for place, state in states.items():
            if state.tier_id is None:
                continue
            identity, head = state.tier_id.hex(), state.head
            for other in [other for other, each in known.items() if each.place == place and other != identity]:
                del known[other]
            earlier = known.get(identity)
            if place == accepted:
                for each in known.values():
                    each.root = (0, "")
            if earlier is None or place == accepted or head.number >= earlier.number:
                known.pop(identity, None)
                known[identity] = _Remembered(
                    place, head.number, head.digest.hex(), (state.root.generation, state.root.key_id.hex())
                )
        for identity in list(known)[:-_REMEMBERED_MAX]:
            del known[identity]
        if msgspec.json.encode(file) != before:
            self._write(msgspec.json.encode(file))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time reads, changes and writes: else what another one saw meanwhile would be forgotten.

        The folder is locked, so that no further file has to lie in it. Where that cannot be, it is done unlocked.
        """
        with ExitStack() as stack:
            with suppress(OSError):
                descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield

    def _read(self) -> _File | None:
        """What it says; None where the system does not give it: what it says then is not to be written over."""
        try:
            with open_regular(self._path) as opened:
                return _FILE.decode(opened.read(_LENGTH_MAX))
        except FileNotFoundError:
            return _File()
        except OSError as error:
            self._on_trouble(f"what was seen of the tiers before is not known: {self._path}: {error.strerror}")
            self._on_unknown()
            return None
        except (msgspec.DecodeError, ValueError):
            self._on_trouble("what was seen of the tiers before is not known: the file cannot be read")
            self._on_unknown()
            with suppress(OSError):
                os.replace(self._path, f"{self._path}.damaged")
            return _File()

    def _write(self, body: bytes) -> None:
        temporary = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, self._path)
        except OSError as error:
            self._on_trouble(f"what was seen of the tiers cannot be remembered in {self._path}: {error.strerror}")
            with suppress(OSError):
                temporary.unlink()
