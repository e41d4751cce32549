"""Signs of life of blocking calls: what they are at, which place they wait for, and since when."""

import time

from contracts.errors import ErrorCode


class Signs:
    """What a run is at: its step, the place that it waits for, and since when. Written by its threads, read by all."""

    def __init__(self) -> None:
        self.step = ""
        self.place = ""
        self.code: ErrorCode | None = None
        self.hint: str | None = None
        self.is_left = False
        """Nobody waits for the run's call any more: it begins nothing new."""
        self._moved_at = time.monotonic()

    def at(self, step: str, place: str, code: ErrorCode, *, hint: str | None = None) -> None:
        """The run has come to a step. `code`: what it is called when the place does not answer.

        `hint`: what to do about that, where it is no disk and no server.
        """
        self.step, self.place, self.code, self.hint = step, place, code, hint
        self.moved()

    def moved(self) -> None:
        """A byte, a file or an answer has come."""
        self._moved_at = time.monotonic()

    @property
    def still_seconds(self) -> float:
        """For how long there was no sign."""
        return time.monotonic() - self._moved_at
