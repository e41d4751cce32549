"""Makes the second golden repository: every kind of object and of entry that format 1 has, as a long life leaves them.

`python -m tests.compat.make_golden_life` makes it where it is missing, and leaves alone what is there.
"""

import json
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

from repository.backup.backup import BackupOptions, backup
from repository.backup.parts import back_up_part, begin_partitioned
from repository.keys.key_file import KeyFile
from repository.opened.key_change import add_generation, rewrap
from repository.opened.repository import Repository
from repository.prune.prune import PruneOptions, prune
from repository.retention.erasure import erase, plan_erasure
from repository.retention.orders import forget, give_tags, place_hold, release_hold
from repository.retention.pin_watch import look
from repository.stored.chunker import ChunkerParameters
from repository.stored.log_entry import HistoryAccepted, PacksMarked, PacksUnmarked, entry_object_key
from repository.stored.pin import Pin, encode_pin, pin_object_key
from repository.streams.stream import open_stream
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.check import check
from repository.upkeep.repair import repair
from repository.upkeep.root_change import change_root
from tests.compat.make_golden import digests
from tests.support.histories import Clock
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import SeededRandomness, photos, write_snapshot

LIFE = Path(__file__).resolve().parent / "repository-v1-life"
NEAR, FAR, COPY = "near", "far", "copy"
STREAM = "main/wal"
PIN_ID = b"p" * 16
SALES: dict[str, dict[bytes, bytes]] = {
    "daily": photos(3, seed=1, length=2000) | {b"ledger.csv": b"deposit received, paid\n" * 500},
    "yearly": photos(2, seed=2, length=2000),
    "gone": photos(2, seed=3, length=2000),
    "personal": photos(2, seed=4, length=2000),
    "after": photos(3, seed=1, length=2000) | photos(1, seed=5, length=2000),
}
"""By run token, the files of each snapshot; `gone` is swept, and the keys of `personal` are destroyed."""


class _Life:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clock = Clock()
        self._randomness = SeededRandomness(80)
        self._key = "key"
        self.stores = [
            MemoryObjectStore(NEAR, locks=True, clock=self._clock),
            MemoryObjectStore(FAR, clock=self._clock),
        ]
        KeyFile.create(folder / "key")
        chunker = ChunkerParameters(4 << 10, 16 << 10, 64 << 10)
        ports = {"clock": self._clock, "randomness": self._randomness}
        Repository.init(self.stores, self._provider(), chunker=chunker, **ports)  # type: ignore[arg-type]

    def _provider(self) -> KeyFile:
        return KeyFile.load(self._folder / self._key)

    def _open(self) -> Repository:
        return Repository.open(self.stores, self._provider(), clock=self._clock, randomness=self._randomness)

    def _save(self, token: str, **options: object) -> str:
        files = {name: MemoryFile(body) for name, body in SALES[token].items()}
        wanted = BackupOptions(run_token=token, label=token, workers=1, **options)  # type: ignore[arg-type]
        result = backup(self._open(), MemorySource(MemoryFolder({b"album": MemoryFolder({**files})})), options=wanted)
        assert result.snapshot_id is not None
        return result.snapshot_id

    def live(self) -> dict[str, str]:
        """All of it; returns the snapshots' ids by run token."""
        add_generation(self._open(), self._provider(), "person")
        ids = {
            "daily": self._save("daily", lock_days={NEAR: 5}),
            "yearly": self._save("yearly", lock_days={NEAR: 400}),
            "gone": self._save("gone"),
            "personal": self._save("personal", domain="person"),
        }
        stream = open_stream(self._open(), STREAM)
        for number in range(3):
            stream.append(b"commit %d\n" % number * 50, position=None if number else 1 << 24)
        stream.say()
        self._order(ids)
        repository = self._open()
        erase(repository, "person", plan_erasure(repository, "person").word)
        self._rotate()
        head = open_stream(self._open(), STREAM).say()
        ids["after"] = self._save("after", streams={STREAM: head})
        self._lose_an_entry()
        self._copy_near()
        self._leave_unfinished(ids)
        return ids

    def _order(self, ids: Mapping[str, str]) -> None:
        give_tags(self._open(), {ids["daily"]: ["kept", "florist"]})
        place_hold(self._open(), "court", [ids["yearly"]], "matter 7")
        place_hold(self._open(), "over", [ids["daily"]])
        release_hold(self._open(), "over")
        forget(self._open(), [ids["gone"]], "rules")
        self._clock.pass_by(timedelta(days=6))
        done = prune(self._open(), PruneOptions(max_unused=1.0))
        assert all(plan.deleted for plan in done.values()), done
        near = self._open().tier(NEAR)
        packs, now = tuple(sorted(each.hex() for each in near.index.pack_ids()))[:1], self._clock.now_ns
        near.log.append(lambda _: PacksMarked(time_ns=now(), packs=packs))
        near.log.append(lambda _: PacksUnmarked(time_ns=now(), packs=packs))

    def _rotate(self) -> None:
        new = self._folder / "new-key"
        KeyFile.rotate(self._folder / "key", new)
        rewrap(self._open(), KeyFile.load(new))
        self._key = "new-key"
        add_generation(self._open(), self._provider())
        change_root(self._open(), self._provider())

    def _lose_an_entry(self) -> None:
        """Of which nobody has a copy, and which nobody misses: a bridge stands for it."""
        far = self._open().tier(FAR)
        near = self._open().tier(NEAR).log.state
        assert near.tier_id is not None
        accepted = HistoryAccepted(
            time_ns=self._clock.now_ns(),
            tier_id=near.tier_id.hex(),
            number=near.head.number,
            digest=near.head.digest.hex(),
        )
        far.log.append(lambda _: accepted)
        lost = far.log.append(lambda _: PacksMarked(time_ns=1, packs=("ab" * 32,)))
        assert lost is not None
        far.log.append(lambda _: accepted)
        self.stores[1].delete(entry_object_key(lost.number))
        repository = self._open()
        assert repair(repository, repository.tier(FAR), check(repository), bridge=True).given_up == [lost.number]

    def _copy_near(self) -> None:
        """A third tier, by hand, that is one of its own from here on."""
        copy = MemoryObjectStore(COPY, clock=self._clock)
        for info in self.stores[0].list(""):
            copy.put(info.key, self.stores[0].get(info.key))
        alone = Repository.open([copy], self._provider(), clock=self._clock, randomness=self._randomness)
        alone.tiers[0].log.name_anew()
        self.stores.append(copy)

    def _leave_unfinished(self, ids: Mapping[str, str]) -> None:
        """A checkpoint, a snapshot in parts, a writer that died, a reader that lives, as far as is known."""
        repository = self._open()
        for tier in repository.tiers:
            with patch("repository.log.commit_log.CHECKPOINT_EVERY", 1):
                tier.log.checkpoint()
        options = BackupOptions(run_token="in parts", label="parts", workers=1)
        token = begin_partitioned(repository, [b"a", b"b"], options=options)
        part = MemorySource(MemoryFolder({b"a": MemoryFolder({b"one": MemoryFile(b"one" * 500)})}))
        back_up_part(repository, token, b"a", part, options=BackupOptions(run_token="", label="", workers=1))
        for store in self.stores:
            reader = Pin(beat=7, time_ns=1, holder="restore by process 7", snapshots=(bytes.fromhex(ids["yearly"]),))
            body = encode_pin(reader, PIN_ID, repository.keys.root, self._randomness)
            store.put(pin_object_key(PIN_ID), body)
        for tier in repository.tiers:
            look(repository, tier)
        write_snapshot(self._open(), repository.tiers, photos(2, seed=9), "died", SeededRandomness(99), commit=False)


def make(folder: Path) -> None:
    """Make it in a folder that is not there."""
    folder.mkdir(parents=True)
    life = _Life(folder)
    ids = life.live()
    for store in life.stores:
        for info in store.list(""):
            path = folder / store.name / info.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(store.get(info.key))
    for key in ("key", "new-key"):
        (folder / key).chmod(0o644)
    expected = {"snapshots": ids, "digests": digests(folder)}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def main() -> int:
    """Make it where it is missing."""
    if not LIFE.exists():
        make(LIFE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
