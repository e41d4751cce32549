"""The commit log: one history, whoever writes, whatever gets lost on the way."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from repository.errors import (
    AlreadyExists,
    Damaged,
    LogContended,
    PackMarked,
    TierUnreachable,
    UnsupportedFormat,
)
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys, KeyRing
from repository.log.commit_log import ATTEMPTS_MAX, CommitLog, Head
from repository.log.state import LogState
from repository.stored.log_entry import (
    Begun,
    Body,
    Bridged,
    Entry,
    HistoryAccepted,
    IndexChanged,
    KeysChanged,
    PacksMarked,
    PacksUnmarked,
    Place,
    SnapshotCommitted,
    decode_entry,
    decode_entry_header,
    encode_entry,
    entry_number,
    entry_object_key,
)
from repository.stored.snapshot import SnapshotManifest, snapshot_id
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import ObjectStore
from tests.support.repositories import BrokenStore, CountingClock, SeededRandomness

KEYS = DomainKeys(b"R" * 16, "default", 1, b"m" * 32, b"M" * 32)
RING = KeyRing([KEYS])
SIGNER = KEYS.signer()
GENESIS = b"G" * 32
TIER = b"T" * 16
FIRST = Place(1, GENESIS, TIER, 0)


def _log(store: ObjectStore, seed: int = 0) -> CommitLog:
    return CommitLog(store, RING, GENESIS, CountingClock(), SeededRandomness(seed))


def _index_change(name: str) -> Callable[[LogState], Body | None]:
    return lambda _: IndexChanged(time_ns=1, added=(name,))


def _snapshot(token: str) -> SnapshotCommitted:
    body = SnapshotManifest(time_ns=5, run_token=token, label="x", root=("00" * 32,), domain="00").encode()
    return SnapshotCommitted(time_ns=6, id=snapshot_id(b"R" * 16, body).hex(), manifest=msgspec.Raw(body))


def _commit(log: CommitLog, token: str, packs: frozenset[bytes] = frozenset()) -> Entry | None:
    def decide(state: LogState) -> Body | None:
        if token in state.by_token:
            return None
        if packs & state.marked_packs:
            raise PackMarked("marked")
        return _snapshot(token)

    return log.append(decide)


# Entries


@pytest.mark.parametrize("flag", [0, 2])
def test_entry_round_trips(flag: int) -> None:
    """What was signed is read back, at its number only."""
    body = PacksMarked(time_ns=3, packs=("ab",))
    place = Place(7, b"p" * 32, TIER, 4, flag == 2)
    encoded = encode_entry(body, place, KEYS, SeededRandomness())
    assert decode_entry(encoded, 7, RING) == Entry(place, crypto.sha256(encoded), body, KEYS.rank)
    with pytest.raises(Damaged, match="another entry's place"):
        decode_entry(encoded, 8, RING)
    header = decode_entry_header(encoded)
    assert (header.place, header.repository_id, header.flags) == (place, b"R" * 16, flag)


def test_every_flipped_byte_and_every_truncation_of_an_entry_is_noticed() -> None:
    """The signature covers everything, itself included."""
    encoded = encode_entry(Begun(time_ns=1), FIRST, KEYS, SeededRandomness())
    for place in range(len(encoded)):
        changed = bytearray(encoded)
        changed[place] ^= 1
        with pytest.raises(Damaged):
            decode_entry(bytes(changed), 1, RING)
        with pytest.raises(Damaged):
            decode_entry(encoded[:place], 1, RING)


@pytest.mark.parametrize(
    ("place", "value", "error"),
    [(0, b"X", Damaged), (8, b"\2", UnsupportedFormat), (10, b"\4", UnsupportedFormat), (12, b"\1", Damaged)],
)
def test_entry_of_another_layout_is_refused_though_signed(place: int, value: bytes, error: type[Exception]) -> None:
    """Magic, format, flags and length are checked on what the key's holder signed, too."""
    encoded = bytearray(encode_entry(Begun(time_ns=1), FIRST, KEYS, SeededRandomness())[:-64])
    encoded[place : place + 1] = value
    signature = SIGNER.sign(b"wedsync-backup/v1/log-entry\0" + bytes(encoded))
    with pytest.raises(error):
        decode_entry(bytes(encoded) + signature, 1, RING)
    short = SIGNER.sign(b"wedsync-backup/v1/log-entry\0" + b"short")
    with pytest.raises(Damaged, match="not signed"):
        decode_entry(b"short" + short, 1, RING)


def test_entry_is_refused_when_another_key_signed_it() -> None:
    """Who can decrypt but does not hold the signing key writes no history."""
    entry = encode_entry(Begun(time_ns=1), FIRST, KEYS, SeededRandomness())[:-64]
    forged = entry + crypto.Signer(b"f" * 32).sign(b"wedsync-backup/v1/log-entry\0" + entry)
    with pytest.raises(Damaged, match="not signed"):
        decode_entry(forged, 1, RING)


def test_entry_of_another_repository_is_refused_though_signed() -> None:
    """The repository's id is part of what is signed and is compared."""
    other = DomainKeys(b"S" * 16, "default", 1, b"m" * 32, b"M" * 32)
    entry = bytearray(encode_entry(Begun(time_ns=1), FIRST, KEYS, SeededRandomness())[:-64])
    entry[24:40] = b"S" * 16
    foreign = bytes(entry) + SIGNER.sign(b"wedsync-backup/v1/log-entry\0" + bytes(entry))
    with pytest.raises(Damaged, match="not signed"):
        decode_entry(encode_entry(Begun(time_ns=1), FIRST, other, SeededRandomness()), 1, RING)
    with pytest.raises(Damaged, match="another entry's place"):
        decode_entry(foreign, 1, RING)


def test_entry_of_an_unknown_kind_is_a_later_versions() -> None:
    """What is signed and not understood is not damage: the program is too old."""

    class Unknown(msgspec.Struct, tag="prune", tag_field="kind"):
        time_ns: int

    later = encode_entry(Unknown(3), FIRST, KEYS, SeededRandomness())  # type: ignore[arg-type]
    with pytest.raises(UnsupportedFormat):
        decode_entry(later, 1, RING)
    store = MemoryObjectStore(objects={entry_object_key(1): later})
    with pytest.raises(UnsupportedFormat):
        _log(store).refresh()


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("log/0000000000000/0000000000000001", 1),
        ("log/0000000000012/0000000000012345", 12345),
        ("log/9999999999999/9999999999999999", 9999999999999999),
        ("log/0000000000000/0000000000000000", None),
        ("log/0000000000001/0000000000000001", None),
        ("log/0000000000000001", None),
        ("log/1", None),
        ("log/0000000000000/000000000000000x", None),
        ("log/٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠١", None),
        ("log/0000000000000/00000000000000010", None),
    ],
)
def test_entry_keys_are_sixteen_digits(key: str, number: int | None) -> None:
    """An object with another name below log/ is no entry."""
    assert entry_number(key) == number
    assert number is None or entry_object_key(number) == key


# One writer


def test_log_begins_by_itself_and_chains() -> None:
    """Entry 1 names the config's digest, each later one its predecessor's."""
    store = MemoryObjectStore()
    log = _log(store)
    assert log.refresh().head == Head(0, GENESIS)
    entry = log.append(_index_change("aa"))
    assert entry is not None
    assert entry.number == 2
    first = decode_entry(store.get(entry_object_key(1)), 1, RING)
    assert isinstance(first.body, Begun)
    assert first.previous == GENESIS
    assert entry.previous == first.digest == crypto.sha256(store.get(entry_object_key(1)))
    assert log.state.head == Head(2, entry.digest)
    assert log.state.tier_id == first.place.tier_id == entry.place.tier_id
    assert _log(store).refresh() == log.state


def test_state_is_what_the_entries_add_up_to() -> None:
    """Each kind of entry has its effect, in order."""
    store = MemoryObjectStore()
    log = _log(store)
    tier = (b"t" * 16).hex()
    bodies: list[Body] = [
        IndexChanged(time_ns=1, added=("aa", "bb")),
        msgspec.structs.replace(_snapshot("one"), segments=("cc",), witnesses={tier: (4, "44")}),
        IndexChanged(time_ns=1, added=("dd",), replaced=("aa", "bb")),
        PacksMarked(time_ns=1, packs=("01", "02")),
        PacksUnmarked(time_ns=1, packs=("01",)),
        KeysChanged(time_ns=1, objects={"keys/x": "55"}),
        msgspec.structs.replace(_snapshot("two"), witnesses={tier: (3, "33")}),
    ]
    for body in bodies:
        log.append(lambda _, body=body: body)  # type: ignore[misc]
    state = _log(store).refresh()
    assert list(state.segments) == ["cc", "dd"]
    assert set(state.replaced_segments) == {"aa", "bb"}
    assert state.marked_packs == {b"\2"}
    assert state.key_objects == {"keys/x": "55"}
    assert [snapshot.manifest.run_token for snapshot in state.snapshots.values()] == ["one", "two"]
    assert state.by_token.keys() == {"one", "two"}
    assert state.witnesses == {b"t" * 16: Head(4, b"\x44")}  # the later writer had seen less
    log.append(lambda _: HistoryAccepted(time_ns=1, tier_id=tier, number=2, digest="22"))
    log.append(lambda _: IndexChanged(time_ns=1, added=("aa",)))
    assert log.state.witnesses == {b"t" * 16: Head(2, b"\x22")}
    assert set(log.state.replaced_segments) == {"bb"}
    assert not log.state.faults


def test_decision_may_be_not_to_write() -> None:
    """None leaves the log as it is, begun at least."""
    log = _log(MemoryObjectStore())
    assert log.append(lambda _: None) is None
    assert log.state.head.number == 1
    assert len(log.state.tier_id or b"") == 16


def test_entry_is_locked_when_asked() -> None:
    """The lock date reaches the store with the entry."""
    store = MemoryObjectStore(locks=True)
    until = datetime(2099, 1, 1, tzinfo=UTC)
    _log(store).append(_index_change("aa"), lock_until=until)
    info = store.head(entry_object_key(2))
    assert info is not None
    assert info.lock_until == until


# Several writers


def test_two_writers_make_one_history() -> None:
    """Of two that decide on the same state one is first, and the other decides again."""
    store = MemoryObjectStore()
    first, second = _log(store, 1), _log(store, 2)
    seen: list[int] = []

    def decide(state: LogState) -> Body:
        seen.append(state.head.number)
        if len(seen) == 1:
            first.append(_index_change("aa"))
        return IndexChanged(time_ns=1, added=("bb",))

    entry = second.append(decide)
    assert entry is not None
    assert (seen, entry.number) == ([1, 2], 3)
    assert _log(store).refresh().segments.keys() == {"aa", "bb"}


def test_snapshot_of_a_pack_that_was_marked_meanwhile_is_refused() -> None:
    """The rule is checked against all entries before: a mark that came first wins."""
    store = MemoryObjectStore()
    writer, pruner = _log(store, 1), _log(store, 2)
    writer.refresh()
    pruner.append(lambda _: PacksMarked(time_ns=1, packs=("07",)))
    with pytest.raises(PackMarked):
        _commit(writer, "run", frozenset({b"\7"}))
    assert not _log(store).refresh().snapshots


def test_run_token_commits_once_when_two_writers_race() -> None:
    """A zombie of the same run finds the other's snapshot and writes none."""
    store = MemoryObjectStore()
    logs = [_log(store, seed) for seed in range(4)]
    barrier = threading.Barrier(len(logs))
    entries: list[Entry | None] = []

    def run(log: CommitLog) -> None:
        barrier.wait()
        entries.append(_commit(log, "the-run"))

    threads = [threading.Thread(target=run, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(entry is not None for entry in entries) == 1
    assert len(_log(store).refresh().snapshots) == 1


def test_many_threads_append_without_a_gap() -> None:
    """Every append gets a number of its own, and the chain holds."""
    store = MemoryObjectStore()

    def run(seed: int) -> None:
        log = _log(store, seed)
        for step in range(6):
            log.append(_index_change(f"{seed}-{step}"))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = _log(store).refresh()
    assert (state.head.number, len(state.segments), state.faults) == (25, 24, [])


class _LosesAcknowledgements(BrokenStore):
    """Does what it is told and says that it could not, the first time for each key."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self._lost: set[str] = set()

    def put(self, key: str, body: bytes, **options: object) -> None:
        self._inner.put(key, body, **options)  # type: ignore[arg-type]
        if key not in self._lost:
            self._lost.add(key)
            raise TierUnreachable("no answer")


def test_lost_acknowledgement_is_found_by_the_run_token() -> None:
    """The entry was written, the writer was not told: its next try finds its own snapshot."""
    inner = MemoryObjectStore()
    store = _LosesAcknowledgements(inner)
    log = _log(store)  # type: ignore[arg-type]
    for _ in range(3):  # entry 1, then the snapshot's copy, then its entry
        with pytest.raises(TierUnreachable):
            _commit(log, "run")
    assert _commit(log, "run") is None
    assert len(log.state.snapshots) == 1
    assert log.state.head.number == 2


def test_lost_acknowledgement_is_recognised_by_the_store_as_ours() -> None:
    """A store that retries finds its own identical bytes and says so: the entry is ours."""

    class Retrying(BrokenStore):
        def put(self, key: str, body: bytes, **options: object) -> None:
            self._inner.put(key, body, **options)  # type: ignore[arg-type]
            self._inner.put(key, body, **options)  # type: ignore[arg-type]

    log = _log(Retrying(MemoryObjectStore()))  # type: ignore[arg-type]
    assert _commit(log, "run") is not None
    assert log.state.head.number == 2


def test_append_gives_up_when_others_are_always_faster() -> None:
    """Endless contention ends with an error that may be retried."""
    inner = MemoryObjectStore()
    _log(inner).append(lambda _: None)

    other = _log(inner, 2)

    class Contended(BrokenStore):
        def put(self, key: str, body: bytes, **options: object) -> None:
            other.append(_index_change("bb"))
            raise AlreadyExists("somebody was faster")

    with pytest.raises(LogContended) as caught:
        _log(Contended(inner)).append(_index_change("aa"))  # type: ignore[arg-type]
    assert caught.value.context["attempts"] == ATTEMPTS_MAX
    assert caught.value.retry == "later"


# Damage


def _three_snapshots() -> MemoryObjectStore:
    store = MemoryObjectStore()
    log = _log(store)
    for token in ("one", "two", "three"):
        _commit(log, token)
    return store


def _flip(store: MemoryObjectStore, key: str, place: int = 80) -> None:
    changed = bytearray(store.get(key))
    changed[place] ^= 1
    store.put(key, bytes(changed))


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_damaged_entry_is_named_and_the_others_still_count(number: int) -> None:
    """One flipped bit costs one entry, and the log takes no more until it is repaired."""
    store = _three_snapshots()
    _flip(store, entry_object_key(number))
    log = _log(store)
    state = log.refresh()
    assert [fault.number for fault in state.faults] == [number]
    assert len(state.snapshots) == (3 if number == 1 else 2)
    with pytest.raises(Damaged, match="takes no entries"):
        log.append(_index_change("aa"))


def test_missing_entry_is_named_and_its_tail_still_counts() -> None:
    """No honest writer leaves a gap: it is damage, not the end of the log."""
    store = _three_snapshots()
    store.delete(entry_object_key(3))
    state = _log(store).refresh()
    assert [(fault.number, fault.error.code) for fault in state.faults] == [(3, "object-missing")]
    assert not state.contradicts(Head(3, b"x" * 32))  # nothing is left to compare with
    assert {snapshot.manifest.run_token for snapshot in state.snapshots.values()} == {"one", "three"}


def test_entry_of_another_history_is_named() -> None:
    """A valid entry of the same number, but of another tier's log, does not continue this one."""
    store, other = _three_snapshots(), MemoryObjectStore()
    log = _log(other, 9)
    log.append(_index_change("aa"))
    log.append(_index_change("bb"))
    store.put(entry_object_key(3), other.get(entry_object_key(3)))
    state = _log(store).refresh()
    assert [fault.number for fault in state.faults] == [3]
    assert "does not continue" in str(state.faults[0].error)
    assert "bb" not in state.segments


def test_log_that_begins_twice_or_carries_a_wrong_id_is_damaged() -> None:
    """What no writer writes is a fault, though it is signed."""
    store = MemoryObjectStore()
    log = _log(store)
    log.append(lambda _: Begun(time_ns=1))
    log_wrong = _log(store)
    state = log_wrong.refresh()
    assert [fault.number for fault in state.faults] == [2]
    second = MemoryObjectStore()
    _log(second).append(lambda _: msgspec.structs.replace(_snapshot("x"), id="00" * 16))
    assert [fault.number for fault in _log(second).refresh().faults] == [2]


def test_entry_under_an_unknown_key_is_a_fault() -> None:
    """Signed, but sealed under a key that this ring has not: named like damage."""
    other = DomainKeys(b"R" * 16, "default", 2, b"o" * 32, b"O" * 32)
    entry = encode_entry(Begun(time_ns=1), FIRST, other, SeededRandomness())
    state = _log(MemoryObjectStore(objects={entry_object_key(1): entry})).refresh()
    assert "not signed" in str(state.faults[0].error)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_bridge_makes_the_log_whole_again(number: int) -> None:
    """A bridge stands for a lost entry: the chain behind it holds and new entries follow."""
    store = _three_snapshots()
    healthy = _log(store).refresh()
    store.delete(entry_object_key(number))
    log = _log(store)
    lost = log.refresh()
    if number == 4:  # the last one: nothing tells that it was there
        assert not lost.faults
        assert lost.contradicts(healthy.head)
        return
    stands_for = decode_entry_header(store.get(entry_object_key(number + 1))).place.previous
    digest = log.replace_fault(
        Bridged(time_ns=1, stands_for=stands_for.hex()),
        Place(number, healthy.digests[number - 1], healthy.tier_id or b"", number - 1),
    )
    state = log.reload()
    assert not state.faults
    assert state.bridged == {number}
    assert crypto.sha256(store.get(entry_object_key(number))) == digest
    assert not any(state.contradicts(Head(place, healthy.digests[place])) for place in range(5))
    assert state.tier_id == healthy.tier_id
    assert log.append(_index_change("aa")) is not None
    assert not _log(store).refresh().faults


def test_bridge_at_the_end_is_followed_by_its_own_digest() -> None:
    """A damaged last entry is replaced by a bridge that stands for nothing."""
    store = _three_snapshots()
    _flip(store, entry_object_key(4))
    log = _log(store)
    state = log.refresh()
    digest = log.replace_fault(Bridged(time_ns=1, stands_for=""), Place(4, state.digests[3], state.tier_id or b"", 2))
    entry = [log.reload(), log.append(_index_change("aa"))][1]
    assert isinstance(entry, Entry)
    assert entry.previous == digest
    assert not _log(store).refresh().faults


def test_older_history_contradicts_a_head_that_was_seen() -> None:
    """Fewer entries than were seen, or other ones, are a replay; more of the same are not."""
    store = _three_snapshots()
    state = _log(store).refresh()
    assert not state.contradicts(Head(4, b""))  # a head of which only the number is known
    assert not any(state.contradicts(Head(number, state.digests[number])) for number in range(5))
    assert state.contradicts(Head(4, b"x" * 32))
    assert state.contradicts(Head(5, b"x" * 32))
    store.delete(entry_object_key(4))
    assert _log(store).refresh().contradicts(state.head)


def test_refresh_reads_only_what_is_new() -> None:
    """The next refresh asks for the entries behind the head."""
    store = _three_snapshots()
    log = _log(store)
    before = log.refresh()
    _commit(_log(store, 5), "four")
    assert log.refresh().head.number == 5
    assert log.refresh() is log.state
    assert before.head.number == 4  # a state that somebody holds does not change


class LogMachine(RuleBasedStateMachine):
    """Two writers, some of whose answers get lost, against what must hold of any history."""

    tokens = Bundle("tokens")
    packs = Bundle("packs")

    def __init__(self) -> None:
        super().__init__()
        self.inner = MemoryObjectStore()
        self.writers = [
            _log(_LosesSome(self.inner, number), number + 1)  # type: ignore[arg-type]
            for number in range(2)
        ]
        self.acknowledged: set[str] = set()

    @rule(target=tokens, number=st.integers(0, 5))
    def token(self, number: int) -> str:
        """A run, possibly one that is tried again."""
        return f"run-{number}"

    @rule(token=tokens, writer=st.integers(0, 1), pack=st.integers(0, 3))
    def commit(self, token: str, writer: int, pack: int) -> None:
        """Commit a snapshot that needs a pack; the answer may get lost."""
        try:
            _commit(self.writers[writer], token, frozenset({bytes([pack])}))
        except TierUnreachable:
            return
        except PackMarked:
            assert bytes([pack]) in _log(self.inner).refresh().marked_packs
            return
        self.acknowledged.add(token)

    @rule(writer=st.integers(0, 1), pack=st.integers(0, 3), is_marked=st.booleans())
    def mark(self, writer: int, pack: int, is_marked: bool) -> None:
        """Mark a pack for deletion, or take the mark back."""
        kind = PacksMarked if is_marked else PacksUnmarked
        try:
            self.writers[writer].append(lambda _: kind(time_ns=1, packs=(bytes([pack]).hex(),)))
        except TierUnreachable:
            return

    @rule(token=consumes(tokens))
    def forget(self, token: str) -> None:
        """A run that nobody tries again."""

    @invariant()
    def history_is_one_chain_and_keeps_every_acknowledged_snapshot_once(self) -> None:
        """Whatever was lost on the way, a fresh reader sees one whole history."""
        state = _log(self.inner).refresh()
        assert not state.faults
        committed = [snapshot.manifest.run_token for snapshot in state.snapshots.values()]
        assert len(committed) == len(set(committed))
        assert self.acknowledged <= set(committed)


class _LosesSome(BrokenStore):
    """Loses every third answer to a put, after the fact or before it."""

    def __init__(self, inner: ObjectStore, offset: int) -> None:
        super().__init__(inner)
        self._calls = offset

    def put(self, key: str, body: bytes, **options: object) -> None:
        self._calls += 1
        if self._calls % 5 == 0:
            raise TierUnreachable("did not arrive")
        self._inner.put(key, body, **options)  # type: ignore[arg-type]
        if self._calls % 3 == 0:
            raise TierUnreachable("no answer")


LogMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestLogMachine = LogMachine.TestCase
