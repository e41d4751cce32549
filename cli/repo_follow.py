"""`repo follow`."""

import argparse
from collections.abc import Callable
from contextlib import closing, suppress

from cli.backup_source import Asked, asked_for
from cli.exit_codes import ExitCode
from cli.following import STEP_SECONDS, Following
from cli.output import say, say_json
from cli.repo_session import interruptible, opened
from repository.backup.source import SourceUnreachable
from repository.errors import RepositoryError, about
from repository.opened.repository import Repository
from repository.streams.stream import open_stream
from sources.postgres.following.follower import CHANGES_AT_ONCE, Follower, guard, parts_of
from sources.postgres.following.gaps import dumps_of, open_gaps
from sources.postgres.following.record import Life, stream_name
from sources.postgres.following.replay import shown_time
from sources.postgres.following.slot import Slot
from sources.postgres.physical.cluster import is_cluster
from sources.postgres.source import PostgresSource

_LISTED_MAX = 50


def follow(arguments: argparse.Namespace) -> int:
    """Append what the database commits, until it is ended; with --once what there is."""
    arguments.paths = [arguments.database]
    asked = asked_for(arguments)
    with closing(asked.source), opened(arguments) as repository, interruptible() as is_cancelled:
        if is_cluster(arguments.database):
            from cli.repo_receive import Receiving

            return Receiving(arguments, asked, repository, is_cancelled).run()
        return _Following(arguments, asked, repository, is_cancelled).run()


class _Following(Following):
    """One command."""

    def __init__(
        self, arguments: argparse.Namespace, asked: Asked, repository: Repository, is_cancelled: Callable[[], bool]
    ) -> None:
        assert isinstance(asked.source, PostgresSource)  # noqa: S101 - the options take nothing else
        super().__init__(arguments, is_cancelled)
        self._asked = asked
        self._repository = repository
        self._slot = Slot(asked.source.database, arguments.slot or f"wedsync_{repository.id.hex()[:12]}")
        self._name = stream_name(asked.label)
        self._follower: Follower | None = None
        self._gaps: list[str] = []
        self._transactions = 0

    def _go(self) -> None:
        arguments = self._arguments
        stream = open_stream(self._repository, self._name, required=arguments.require)
        with about(SourceUnreachable, path=self._asked.named):
            follower = self._follower = Follower(
                self._slot,
                stream,
                quiet_seconds=arguments.quiet,
                wait=self._wait,
                on_gap=self._gap,
            )
            look = follower.begin(parts_of(self._repository, self._name))
            self._look_for_gaps(follower)
            self._say_unbounded(look.bound)
            self._say_tables(follower)
            while True:
                count = follower.poll()
                self._transactions += count
                self._notice(follower.appended)
                if arguments.once and not count and not follower.joining and self._is_known(follower, look.clock_us):
                    return
                self._wait(STEP_SECONDS if arguments.once else 0 if count >= CHANGES_AT_ONCE else arguments.every)

    def _is_known(self, follower: Follower, since_us: int) -> bool:
        """Whether all that was committed before the command began is told."""
        if follower.known_us < since_us:
            return False
        follower.say()
        return True

    def _guard(self) -> None:
        guard(self._slot, self._arguments.keep_max << 20)

    def _let_go(self) -> None:
        self._slot.close()

    def _look_for_gaps(self, follower: Follower) -> None:
        """Say which are open by the snapshots that were loaded last; one that a dump has ended is none any more."""
        before, self._gaps = self._gaps, []
        for since in map(shown_time, open_gaps(follower.lives, dumps_of(self._repository, self._asked.label))):
            self._gaps.append(since)
            if since not in before:
                self._say_gap(since)

    def _gap(self, life: Life) -> None:
        since = shown_time(life.last.time_us)
        if since not in self._gaps:
            self._gaps.append(since)
            self._say_gap(since)

    def _say_gap(self, since: str) -> None:
        self._say(
            f"the slot does not tell what was committed since {since}: what lies between then and the next dump cannot "
            "be restored. Back the database up now (repo backup)."
        )

    def _say_tables(self, follower: Follower) -> None:
        for each in follower.left_out[:_LISTED_MAX]:
            self._say(f"{each.name} is restored as of its last dump: {each.why}")
        if len(follower.left_out) > _LISTED_MAX:
            self._say(f"and {len(follower.left_out) - _LISTED_MAX:,} more")

    def _told(self) -> int:
        follower = self._follower
        state = follower.state if follower is not None and follower.has_begun else None
        if follower is not None and state is not None and self._gaps:
            # Somebody may have backed it up meanwhile; where that cannot be seen, the gap stays told.
            before = {tier.name for tier in self._repository.readable_tiers()}
            with suppress(RepositoryError):
                self._repository.load()
                if before <= {tier.name for tier in self._repository.readable_tiers()}:
                    self._look_for_gaps(follower)
        known = min(self._gaps, default=shown_time(state.time_us)) if state is not None else None
        left_out = follower.left_out if follower is not None else ()
        if self._arguments.json:
            say_json(
                {
                    "stream": self._name,
                    "slot": self._slot.name,
                    "transactions": self._transactions,
                    "known_until": known,
                    "gaps": [{"since": since} for since in self._gaps],
                    "tables_left_out": [{"table": each.name, "why": each.why} for each in left_out],
                    "tiers_behind": list(self._behind),
                }
            )
        else:
            gap = "; what was committed later cannot be restored: back the database up now" if self._gaps else ""
            say(f"{self._transactions:,} transactions; all is known until {known or 'nobody knows when'}{gap}")
        is_less = self._behind or self._gaps or state is None
        return ExitCode.DEGRADED if is_less else ExitCode.OK
