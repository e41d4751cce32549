"""Checks the streams of a tier: each piece there, genuine, continuing the one before it, the same on all tiers.

Promise: a piece that is missing is named without reading, and the last ones are read; a share of the others is, or all.
What other tiers have more is no damage: the tier is behind (`lacking`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from repository.errors import AccessDenied, Damaged, ObjectMissing, RepositoryError
from repository.index.pack_catalog import each_in_parallel, is_fault_of_object
from repository.keys import crypto
from repository.opened import locking
from repository.opened.open_tier import OpenTier
from repository.stored.checkpoint import KeptStream
from repository.stored.object_reading import read_object
from repository.stored.stream_piece import STREAM_PREFIX, Piece, piece_of
from repository.streams.errors import StreamForked
from repository.streams.on_tier import JUNK_MAX, StreamHead, TierStream, name_in
from repository.streams.survey import names_of, survey
from repository.upkeep.check_report import Finding, Problem, TierCounts, unknown

if TYPE_CHECKING:
    from repository.opened.repository import Repository

PIECES_AT_A_TIME: Final = 4
_SEED_LENGTH: Final = 16


def streams_on(repository: Repository, tier: OpenTier) -> tuple[list[TierStream], list[str]]:
    """The streams of which a tier has something, or of which its log or another tier's speaks; and what lies there
    (object keys) that is of none.

    Those that no log speaks of are known by their pieces. Raises the store's errors.
    """
    streams = {stream.id: stream for stream in (TierStream(repository, tier, name) for name in names_of(repository))}
    strange: dict[bytes, list[str]] = {}
    for info in tier.store.list(STREAM_PREFIX):
        found = piece_of(info.key)
        if found is None or found[0] in streams:
            continue
        junk = strange.setdefault(found[0], [])
        name = name_in(repository, tier, *found) if len(junk) < JUNK_MAX else None
        junk.append(info.key)
        if name is not None:
            streams[found[0]] = TierStream(repository, tier, name)
            del strange[found[0]]
    return list(streams.values()), [key for keys in strange.values() for key in keys]


def stream_findings(
    repository: Repository,
    tier: OpenTier,
    counts: TierCounts,
    read_percent: float,
    check_cancelled: Callable[[], None],
) -> Iterator[Finding]:
    """What is wrong with the streams of a tier. Raises the store's errors, and what `check_cancelled` does."""
    streams, strange = streams_on(repository, tier)
    for object_key in strange:
        yield Finding(tier.name, Problem.STRANGE, object_key, "it is no piece of a stream that there is")
    for stream in streams:
        one = _StreamCheck(repository, stream, counts, check_cancelled)
        try:
            yield from one.pieces(read_percent)
            yield from one.forks()
            yield from one.locks()
        except AccessDenied as error:  # to a piece of this one: it says nothing of the others
            yield unknown(tier.name, str(error.context.get("key", STREAM_PREFIX)), error)


class _Link(NamedTuple):
    """Where a piece stands."""

    previous: bytes
    digest: bytes
    position: int
    end: int


class _StreamCheck:
    def __init__(
        self, repository: Repository, stream: TierStream, counts: TierCounts, check_cancelled: Callable[[], None]
    ) -> None:
        self._repository = repository
        self._stream = stream
        self._counts = counts
        self._check_cancelled = check_cancelled
        readable = [other for other in repository.readable_tiers() if other is not stream.tier]
        self._others = [TierStream(repository, other, stream.name) for other in readable]

    def _finding(self, problem: Problem, number: int, detail: object, sources: tuple[str, ...]) -> Finding:
        text = f"{detail.code}: {detail}" if isinstance(detail, RepositoryError) else str(detail)
        return Finding(self._stream.tier.name, problem, self._stream.key(number), text, sources)

    def _tiers_with(self, number: int) -> tuple[str, ...]:
        """Other tiers that have the piece, genuine."""
        found: list[str] = []
        for other in self._others:
            try:
                other.read(number)
            except RepositoryError:
                continue
            found.append(other.tier.name)
        return tuple(found)

    def pieces(self, read_percent: float) -> Iterator[Finding]:
        """Pieces that are missing or damaged, and what lies behind the last one."""
        stream, said = self._stream, self._stream.said
        there = list(stream.numbers(stream.first - 1))
        known = said.number if said is not None else 0
        self._counts.streams += bool(there or said is not None)
        self._counts.pieces += len(there)
        errors: dict[int, RepositoryError] = {}
        read: dict[int, _Link] = {}
        # The end first: what lies behind all that is genuine, nobody appended.
        for number in there[: -JUNK_MAX - 1 : -1]:
            if self._take(*self._read(number), read, errors):
                break
        chosen = {*self._sample(there, read_percent), *({known} & set(there))} - read.keys() - errors.keys()
        for number, piece in each_in_parallel(self._read, sorted(chosen), PIECES_AT_A_TIME):
            self._take(number, piece, read, errors)
        errors |= self._broken_links(read, said)
        missing = set(range(stream.first, max([known, *read]) + 1)).difference(there)
        for number in missing:
            errors[number] = ObjectMissing("piece of a stream is missing", stream=stream.name, number=number)
        if said is None and read:
            detail = "pieces are there of a stream that the tier's log does not name"
            yield self._finding(Problem.STREAM_UNNAMED, max(read), detail, (stream.tier.name,))
        elif max(read, default=0) > known and self._is_leant_on_beyond_log():
            detail = f"the log, which lost an entry, names the stream up to {known} only, and a snapshot leans on more"
            yield self._finding(Problem.STREAM_UNNAMED, max(read), detail, (stream.tier.name,))
        for number in sorted(errors):
            yield self._finding(Problem.STREAM_PIECE, number, errors[number], self._tiers_with(number))

    def _is_leant_on_beyond_log(self) -> bool:
        state = self._stream.tier.log.state
        return any(self._stream.name in state.lacking_streams(each.manifest) for each in state.snapshots.values())

    def _take(
        self,
        number: int,
        piece: Piece | RepositoryError,
        read: dict[int, _Link],
        errors: dict[int, RepositoryError],
    ) -> bool:
        """Note what was read; whether it is genuine."""
        self._check_cancelled()
        if isinstance(piece, RepositoryError):
            errors[number] = piece
            return False
        read[number] = _Link(piece.previous, piece.digest, piece.position, piece.end)
        self._counts.pieces_read += 1
        return True

    def _read(self, number: int) -> tuple[int, Piece | RepositoryError]:
        try:
            return number, self._stream.read(number)
        except RepositoryError as error:
            if not is_fault_of_object(error):
                raise
            return number, error

    def _broken_links(self, read: dict[int, _Link], said: KeptStream | None) -> dict[int, RepositoryError]:
        """Genuine pieces that do not stand where they should."""
        errors: dict[int, RepositoryError] = {}
        stream = self._stream
        for number, piece in read.items():
            before = read.get(number - 1)
            fits = before is None or (piece.previous, piece.position) == (before.digest, before.end)
            if not fits or (number == 1 and piece.previous != stream.beginning.digest):
                errors[number] = Damaged("piece does not continue the one before it", stream=stream.name, number=number)
            if said is not None and number == said.number and piece.digest != said.digest:
                errors[number] = Damaged("piece is not the one that the log names", stream=stream.name, number=number)
        return errors

    def _sample(self, numbers: list[int], percent: float) -> list[int]:
        if percent >= 100:
            return numbers
        seed = self._repository.randomness.token_bytes(_SEED_LENGTH)
        count = -(-len(numbers) * percent // 100)
        return sorted(numbers, key=lambda number: crypto.sha256(seed, number.to_bytes(8, "little")))[: int(count)]

    def forks(self) -> Iterator[Finding]:
        """Whether another tier has another history: told of both, since either may be given up."""
        stream = self._stream
        for other in self._others:
            found = survey(self._repository, stream.name, [stream.tier, other.tier])
            for error in found.faults.values():
                number = error.context.get("number")
                if isinstance(error, StreamForked) and isinstance(number, int):
                    detail = f"{other.tier.name} has another history of the stream, from here on or before"
                    yield self._finding(Problem.STREAM_FORKED, number, detail, (other.tier.name,))

    def locks(self) -> Iterator[Finding]:
        """Pieces that are not locked as long as the log says."""
        for number, until, found in short_of_lock(self._stream):
            has = f"locked until {found.isoformat()}" if found is not None else "not locked"
            detail = f"{has}; the log says of the piece: until {until.isoformat()}"
            yield self._finding(Problem.UNLOCKED, number, detail, (self._stream.tier.name,))


def short_of_lock(stream: TierStream) -> Iterator[tuple[int, datetime, datetime | None]]:
    """Pieces that are there and not locked as long as the log says last: number, until when, and what is found."""
    store, said = stream.tier.store, stream.said
    if said is None or said.locked_until is None or not store.capabilities.locks:
        return
    until = datetime.fromtimestamp(said.locked_until, UTC)
    if until <= store.now():
        return
    for number in range(max(said.locked_from, said.first), said.number + 1):
        info = store.head(stream.key(number))
        if info is not None and (info.lock_until is None or info.lock_until < until):
            yield number, until, info.lock_until


def lock_pieces_again(repository: Repository, tier: OpenTier) -> list[str]:
    """Lock what should be locked for longer; returns the keys. Raises what `locking.lock` raises."""
    done: list[str] = []
    for stream in streams_on(repository, tier)[0]:
        for number, until, _ in list(short_of_lock(stream)):
            body = read_object(tier.store, stream.key(number))
            stream.decoded(body, number)
            locking.lock(tier.store, {stream.key(number): crypto.sha256(body)}, until)
            done.append(stream.key(number))
    return done


def is_said_too_little(stream: TierStream, head: StreamHead, others: Iterable[TierStream]) -> bool:
    """Whether the tier has what another tier's log names, and its own log does not name it.

    A snapshot that leans on it is committed where it is named alone.
    """
    known = stream.said.number if stream.said is not None else -1
    return any(other.said is not None and head.number >= other.said.number > known for other in others)


def lacking(repository: Repository, tier: OpenTier) -> dict[str, int]:
    """How many pieces the tier lacks behind its own end, by stream; those that it lacks before are damage.

    None may be lacking where its log says less than another tier's of what it has.
    """
    found: dict[str, int] = {}
    readable = repository.readable_tiers()
    for name in names_of(repository):
        shown = survey(repository, name, readable)
        own, head = shown.heads.get(tier.name), shown.head
        if own is None or head is None:
            continue
        if own.number < head.number or is_said_too_little(shown.streams[tier.name], own, shown.streams.values()):
            found[name] = head.number - own.number
    return found
