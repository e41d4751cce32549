"""`repo follow` of a whole cluster."""

import argparse
from collections.abc import Callable
from contextlib import suppress

from cli.backup_source import Asked
from cli.exit_codes import ExitCode
from cli.following import STEP_SECONDS, Following
from cli.output import say, say_json, size
from repository.backup.source import SourceUnreachable
from repository.errors import RepositoryError, about
from repository.opened.repository import Repository
from repository.streams.stream import open_stream
from sources.postgres.following.replay import shown_time
from sources.postgres.physical.bases import gap_since
from sources.postgres.physical.receiver import Receiver, Slot, last_of
from sources.postgres.physical.record import Received, shown_position, stream_name
from sources.postgres.physical.source import ClusterSource


class Receiving(Following):
    """One command."""

    def __init__(
        self, arguments: argparse.Namespace, asked: Asked, repository: Repository, is_cancelled: Callable[[], bool]
    ) -> None:
        assert isinstance(asked.source, ClusterSource)  # noqa: S101 - the address is a cluster's
        super().__init__(arguments, is_cancelled)
        self._asked = asked
        self._repository = repository
        name = arguments.slot or f"wedsync_log_{repository.id.hex()[:12]}"
        self._slot = Slot(asked.source.cluster.database, name)
        self._name = stream_name(asked.label)
        self._receiver: Receiver | None = None
        self._last: Received | None = None
        self._received = 0
        self._gap: str | None = None

    def _go(self) -> None:
        arguments = self._arguments
        stream = open_stream(self._repository, self._name, required=arguments.require)
        with about(SourceUnreachable, path=self._asked.named):
            receiver = self._receiver = Receiver(
                self._slot,
                stream,
                every_seconds=STEP_SECONDS if arguments.once else arguments.every,
                quiet_seconds=arguments.quiet,
                wait=self._wait,
            )
            look = receiver.begin(last_of(self._repository, stream))
            self._last = receiver.last
            self._look_for_gap(receiver.last)
            self._say_unbounded(look.bound)
            while True:
                self._received += receiver.poll(is_urgent=arguments.once)
                self._last = receiver.last
                self._notice(receiver.appended)
                if arguments.once and receiver.last.known_us >= look.clock_us:
                    return
                self._wait(0)

    def _guard(self) -> None:
        self._slot.guard(self._arguments.keep_max << 20)

    def _let_go(self) -> None:
        if self._receiver is not None:
            self._receiver.close()
        self._slot.close()

    def _look_for_gap(self, last: Received) -> None:
        """Say since when what is received cannot be restored, by the snapshots that were loaded last."""
        before, since = self._gap, gap_since(self._repository, self._asked.label, last)
        self._gap = shown_time(since) if since is not None else None
        if self._gap is not None and self._gap != before:
            self._say(
                f"no base backup leads into the log that is received: what was committed since {self._gap} cannot be "
                "restored. Back the cluster up now (repo backup)."
            )

    def _told(self) -> int:
        last = self._last
        if last is not None and self._gap is not None:
            # Somebody may have backed it up meanwhile; where that cannot be seen, the gap stays told.
            before = {tier.name for tier in self._repository.readable_tiers()}
            with suppress(RepositoryError):
                self._repository.load()
                if before <= {tier.name for tier in self._repository.readable_tiers()}:
                    self._look_for_gap(last)
        known = self._gap or (shown_time(last.known_us) if last is not None and last.known_us else None)
        if self._arguments.json:
            say_json(
                {
                    "stream": self._name,
                    "slot": self._slot.name,
                    "received_bytes": self._received,
                    "position": shown_position(last.end) if last is not None else None,
                    "known_until": known,
                    "gaps": [{"since": self._gap}] if self._gap is not None else [],
                    "tiers_behind": list(self._behind),
                }
            )
        else:
            gap = "; what was committed later cannot be restored: back the cluster up now" if self._gap else ""
            say(f"{size(self._received)} of the log; all is known until {known or 'nobody knows when'}{gap}")
        return ExitCode.DEGRADED if self._behind or self._gap or last is None else ExitCode.OK
