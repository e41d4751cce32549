"""Makes the streams of a tier whole: what is damaged or missing comes from another tier, or from older versions.

Promise: a piece is stored only where it is genuine and fits what lies beside it; what lay in its place is set aside
before. Of a stream that two tiers have differently nothing is touched unless somebody gives this tier's up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from repository.errors import RepositoryError
from repository.opened.open_tier import OpenTier
from repository.stored.stream_piece import Piece, piece_of
from repository.streams.copy import say_on
from repository.streams.on_tier import StreamHead, TierStream
from repository.upkeep.check_report import Finding, Problem
from repository.upkeep.log_repair import Copy, copies_of
from repository.upkeep.stream_check import lock_pieces_again, streams_on
from repository.upkeep.stream_copy import copy_streams

if TYPE_CHECKING:
    from repository.opened.repository import Repository


class StreamRepair:
    """Makes a tier's streams whole.

    `replace` (key, body, where from), `set_aside` (key) and `done` (key, how) are the repair's own. `gives_up_junk`:
    what lies behind a stream's end, `gives_up_forks`: this tier's part of a fork; both are set aside.
    """

    def __init__(
        self,
        repository: Repository,
        tier: OpenTier,
        sources: Sequence[OpenTier],
        *,
        replace: Callable[[str, bytes, str], None],
        set_aside: Callable[[str], None],
        done: Callable[[str, str], None],
        gives_up_junk: bool,
        gives_up_forks: bool,
    ) -> None:
        self._repository = repository
        self._tier = tier
        self._sources = sources
        self._replace = replace
        self._set_aside = set_aside
        self._done = done
        self._gives_up_junk = gives_up_junk
        self._gives_up_forks = gives_up_forks

    def repair(self, findings: Sequence[Finding]) -> list[Finding]:
        """Repair what these findings say; returns those that nothing could be done about. Raises the tier's errors.

        Where the log lost entries, it says again of each stream what the pieces prove.
        """
        by_problem: dict[Problem, list[Finding]] = {}
        for finding in sorted(findings, key=lambda each: each.object_key):
            by_problem.setdefault(finding.problem, []).append(finding)
        wrong = by_problem.get(Problem.STREAM_PIECE, [])
        forks = by_problem.get(Problem.STREAM_FORKED, [])
        unnamed = by_problem.get(Problem.STREAM_UNNAMED, [])
        is_log_cut = Problem.LOG_ENTRY in by_problem
        if not (wrong or forks or unnamed or is_log_cut):
            return []
        streams = {stream.id: stream for stream in streams_on(self._repository, self._tier)[0]}
        left: list[Finding] = []
        for finding in wrong:
            place = piece_of(finding.object_key)
            if place is None or place[0] not in streams or not self._made_whole(streams[place[0]], place[1]):
                left.append(finding)
        named = {place[0] for finding in unnamed if (place := piece_of(finding.object_key)) is not None}
        for stream_id, stream in streams.items():
            if is_log_cut or stream_id in named:
                self._name(stream)
        for finding in forks:
            place = piece_of(finding.object_key)
            if self._gives_up_forks and place is not None and place[0] in streams:
                self._give_up(streams[place[0]], place[1], finding.repairable_from)
        return left

    def lock_again(self) -> None:
        """Lock pieces as long as the log says. Raises what `locking.lock` raises."""
        for object_key in lock_pieces_again(self._repository, self._tier):
            self._done(object_key, "locked as long as the log says")

    def _made_whole(self, stream: TierStream, number: int) -> bool:
        copy = whole_copy(self._repository, stream, number)
        if copy is not None:
            self._replace(stream.key(number), copy.body, copy.source)
            return True
        said = stream.said
        known = said.number if said is not None else 0
        if self._gives_up_junk and number > known and _read(stream, number) is None:
            # Nobody appended it: no log and no tier knows a piece of this number.
            self._take_away(stream, number)
            return True
        return False

    def _take_away(self, stream: TierStream, number: int) -> None:
        self._set_aside(stream.key(number))
        self._tier.store.delete(stream.key(number))
        self._done(stream.key(number), "set aside")

    def _name(self, stream: TierStream) -> None:
        """Let the log say of a stream what its pieces prove: each is signed, and names the one before it."""
        named = _name(self._repository, stream)
        if named is not None:
            self._done(stream.key(max(named, 1)), "named in the log again")

    def _give_up(self, stream: TierStream, number: int, others: Sequence[str]) -> None:
        """Another tier's history from this number on, in place of this one's, which is set aside."""
        source = next(each for each in self._sources if each.name in others)
        theirs = TierStream(self._repository, source, stream.name)
        if _digest(theirs, number) == _digest(stream, number):
            return  # the other tier's was given up meanwhile
        before = number - 1
        while before and _digest(theirs, before) != _digest(stream, before):
            before -= 1
        for each in sorted(stream.numbers(before), reverse=True):
            self._take_away(stream, each)
        piece = _read(theirs, before) if before else None
        head = StreamHead(before, piece.digest, piece.end) if piece is not None else stream.beginning
        say_on(stream, head, self._repository.clock, goes_back=True)
        copied = copy_streams(self._repository, self._tier, [source])
        self._done(stream.key(before + 1), f"{copied.pieces} pieces taken over from {source.name}")


def name_streams(repository: Repository, tier: OpenTier, *, by_any_root: bool = False) -> int:
    """Let a tier's log name each of its streams up to where its pieces reach; returns of how many it did not.

    `by_any_root`: also what a root signed that was replaced before any log named it. Raises the tier's errors.
    """
    named = 0
    for stream in streams_on(repository, tier)[0]:
        stream.by_any_root = by_any_root
        named += _name(repository, stream) is not None
    return named


def _name(repository: Repository, stream: TierStream) -> int | None:
    said = stream.said
    head = StreamHead(said.number, said.digest, said.position) if said is not None else stream.beginning
    proven = head
    while (piece := _read(stream, proven.number + 1)) is not None and piece.previous == proven.digest:
        proven = StreamHead(piece.number, piece.digest, piece.end)
    if proven.number == head.number and (said is not None or not head.number):
        return None
    say_on(stream, proven, repository.clock)
    return proven.number


def whole_copy(repository: Repository, stream: TierStream, number: int) -> Copy | None:
    """The piece from elsewhere: genuine, and fitting at least one of those beside it or what the log says."""
    before, after, said = _read(stream, number - 1), _read(stream, number + 1), stream.said
    for copy in copies_of(repository, stream.tier, stream.key(number)):
        with suppress(RepositoryError):
            piece = stream.decoded(copy.body, number)
            proofs = [(piece.previous, piece.position) == (before.digest, before.end)] if before is not None else []
            if number == 1:
                proofs.append(piece.previous == stream.beginning.digest)
            if after is not None:
                proofs.append((after.previous, after.position) == (piece.digest, piece.end))
            if said is not None and said.number == number:
                proofs.append(piece.digest == said.digest)
            if proofs and all(proofs):
                return copy
    return None


def _read(stream: TierStream, number: int) -> Piece | None:
    with suppress(RepositoryError):
        return stream.read(number) if number > 0 else None
    return None


def _digest(stream: TierStream, number: int) -> bytes | None:
    piece = _read(stream, number)
    return piece.digest if piece is not None else None
