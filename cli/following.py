"""What the commands that follow a server have in common: they go on until they are ended, and say what hinders them."""

import argparse
import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from repository.backup.source import SourceUnreachable
from repository.errors import BackupCancelled, RepositoryError, Retry
from repository.streams.stream import Appended

AGAIN_SECONDS = 5.0
STEP_SECONDS = 0.1


class Following(ABC):
    """One command."""

    def __init__(self, arguments: argparse.Namespace, is_cancelled: Callable[[], bool]) -> None:
        self._arguments = arguments
        self._is_cancelled = is_cancelled
        self._appended: Appended | None = None
        self._behind: tuple[str, ...] = ()

    @abstractmethod
    def _go(self) -> None:
        """Follow, until nothing is left to do (`--once`). Raises what keeps it from that."""

    @abstractmethod
    def _guard(self) -> None:
        """Let the server go where it keeps more than it may. Raises `SourceUnreachable`, which says so."""

    @abstractmethod
    def _let_go(self) -> None:
        """End what is open to the server."""

    @abstractmethod
    def _told(self) -> int:
        """Say what was done; the exit code."""

    def run(self) -> int:
        """Until it is ended. Raises what no waiting helps against, and with --once everything."""
        try:
            while not self._is_cancelled():
                try:
                    self._go()
                    break
                except BackupCancelled:
                    break
                except RepositoryError as error:
                    self._bear(error)
        finally:
            self._let_go()
        return self._told()

    def _bear(self, error: RepositoryError) -> None:
        """Go on after a while, where that helps. Raises the error where not."""
        if self._arguments.once or error.retry is not Retry.LATER:
            raise error
        self._say(f"{error}: {error.hint} Tried again in {AGAIN_SECONDS:g} seconds.")
        self._let_go()  # it may be in the middle of an answer
        try:
            if not isinstance(error, SourceUnreachable):
                self._guard()
        except RepositoryError as worse:
            self._say(f"{worse}: {worse.hint}")
        try:
            self._wait(AGAIN_SECONDS)
        except BackupCancelled:
            return

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._is_cancelled() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, STEP_SECONDS))  # In steps: who is stopped leaves within one.
        if self._is_cancelled():
            raise BackupCancelled("stopped", hint="Run the command again to go on: nothing is left out.")

    def _notice(self, appended: Appended | None) -> None:
        if appended is None or appended is self._appended:
            return
        self._appended = appended
        behind = tuple(sorted(appended.errors))
        if behind != self._behind:
            self._behind = behind
            for name, error in sorted(appended.errors.items()):
                self._say(f"tier {name} lacks what was appended: {error}")
            if not behind:
                self._say("all tiers have what was appended")

    def _say(self, words: str) -> None:
        line = json.dumps({"notice": words}, ensure_ascii=False) if self._arguments.json else words
        print(line, file=sys.stderr, flush=True)

    def _say_unbounded(self, bound: int) -> None:
        """`bound`: bytes that the server keeps for slots at most; below 0: it is not bounded."""
        if bound < 0:
            self._say(
                "the server bounds in no way what it keeps for slots: set max_slot_wal_keep_size, so that its disk "
                "is never filled while nobody follows"
            )
