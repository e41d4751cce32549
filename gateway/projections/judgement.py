"""What the readiness report says of the read models.

A stream that cannot be read any further stands still: shown as `degraded` at once, and after `STANDSTILL_SECONDS` the
gateway is not ready, though it goes on answering with what it knows. So does one that is another log now, where the
build that is to take it in has failed, or does not move. Before any was made what is asked cannot be answered: not
ready, too. What was passed over, what is being made anew, and one that was never made beside the others, which is all
that cannot be answered then, is `degraded`. A gateway that stands by
shows the same tables: it is not ready where the one that leads does not move them.
"""

import logging
import time
from collections.abc import Mapping, Sequence

from chassis.life.health import Health
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError
from gateway.projections import intake
from gateway.projections.intake import PassedOver
from gateway.projections.projection import catalogue
from gateway.projections.state import Made

LOG = logging.getLogger(__name__)

STANDSTILL_SECONDS = 3.0
BUILD_STILL_SECONDS = 15.0
"""How long a build may show nothing: another process is started for it, or a swap waits for whoever reads."""
_READ_WITHOUT_END = (
    "Look in pg_stat_activity for a session that reads a table of theirs without end, and end it; else at the"
    " gateways' logs."
)
STREAMS = "read-models"
STRAYS = "read-models-strays"
UNFIT = "read-models-unfit"
REBUILD = "read-models-rebuild"


def _missing(found: Mapping[str, Made]) -> list[str]:
    return [name for name, made in found.items() if not made.version]


def _never_made(missing: Sequence[str]) -> PlatformError:
    """What is asked of a read model that was never made is answered by nobody, be the others there."""
    is_all = len(missing) == len(catalogue())
    which = "the read models" if is_all else ", ".join(missing)
    what = "nothing" if is_all else "all but what reads them"
    return PlatformError(
        errors.UNAVAILABLE,
        f"{which} are made from the streams for the first time: {what} is answered meanwhile",
        hint="Nothing is to be done: on a new platform it takes a moment, behind a long history longer.",
    )


def _reason(made: Made) -> str:
    if made.is_left_out:
        return made.wanted or "a gateway of another version has led, and went on without them"
    return made.wanted or "this version makes them otherwise"


class Judgement:
    """Keeps what was found last and tells `health` of it."""

    def __init__(self, health: Health | None) -> None:
        self._health = health
        self._still: dict[str, tuple[PlatformError, float]] = {}
        self._moved: dict[str, object] = {}
        self._build_failure: PlatformError | None = None
        self._build_moved: tuple[object, float] = ((), 0.0)
        self._due_moved: tuple[object, float] = ((), 0.0)
        self._nothing_yet: PlatformError | None = PlatformError(errors.UNAVAILABLE, "the read models were not seen yet")
        self._shown: dict[str, str] = {}
        self.leads = False
        if health is not None:
            health.add(STREAMS, self.check)

    async def check(self) -> PlatformError | None:
        """What keeps a stream from being read for longer than a moment, or anybody from being answered at all."""
        return self.standstill() or self._nothing_yet

    def lead(self, *, leads: bool) -> None:
        """Say whether the streams are followed here from now on; where another process does, it tells what it meets."""
        if self.leads != leads:
            self._still.clear()
            self._moved.clear()
            for name in (STREAMS, STRAYS, UNFIT, REBUILD):
                self._show(name, None)
        self.leads = leads

    def of_stream(self, stream: str, trouble: PlatformError | None) -> None:
        """A stream was read, or could not be."""
        if trouble is None:
            self._still.pop(stream, None)
        else:
            self._still[stream] = (trouble, self._still.get(stream, (trouble, time.monotonic()))[1])

    def of_other_log(self, stream: str, found: Mapping[str, Made]) -> None:
        """A stream is another log than what was applied of it: nothing of it is, until what is `found` is made anew."""
        now = time.monotonic()
        if self._build_moved[0] != found:
            self._build_moved = (found, now)
        trouble = self._build_failure
        if trouble is None and now - self._build_moved[1] > BUILD_STILL_SECONDS:
            trouble = PlatformError(
                errors.UNAVAILABLE,
                f"{stream} is another log now, and the read models that are to be made anew from it do not move",
                hint=_READ_WITHOUT_END,
            )
        self.of_stream(stream, trouble)

    def of_standby(self, stream: str, *, is_applied: bool, moves: object, found: Mapping[str, Made]) -> None:
        """A stream was compared with what another gateway has applied of it. `moves` differs whenever that one does."""
        missing = _missing(found)
        is_nothing = len(missing) == len(catalogue())
        told = self._still_build({name: found[name] for name in missing}) or _never_made(missing)
        self._nothing_yet = told if is_nothing else None
        self._show(REBUILD, told if missing and not is_nothing else None)
        has_moved, self._moved[stream] = self._moved.get(stream) != moves, moves
        if is_applied or has_moved:
            self.of_stream(stream, None)
        else:
            self.of_stream(
                stream,
                PlatformError(
                    errors.UNAVAILABLE,
                    f"another gateway holds the lead, and applies nothing of what {stream} holds",
                    hint="Its readiness report says why; where it does not answer, end it: the next one goes on then.",
                ),
            )

    def standstill(self) -> PlatformError | None:
        """The trouble of a stream that nothing was read of for longer than a moment."""
        now = time.monotonic()
        return next((error for error, since in self._still.values() if now - since > STANDSTILL_SECONDS), None)

    def of_streams(self, passed: Sequence[PassedOver]) -> None:
        """All streams were looked at, and this was passed over so far."""
        trouble = next((error for error, _ in self._still.values()), None)
        trouble = None if self.standstill() is not None else trouble
        self._show(STREAMS, trouble or intake.complaint(passed, intake.UNKNOWN, intake.MEMBER, intake.MALFORMED))
        self._show(STRAYS, intake.complaint(passed, intake.STRAY))
        self._show(UNFIT, intake.complaint(passed, intake.UNFIT))

    def of_build(self, failure: BaseException | None) -> None:
        """A build has ended, well or not."""
        self._build_failure = None
        if failure is not None:
            known = failure if isinstance(failure, PlatformError) else PlatformError(errors.INTERNAL, "")
            self._build_failure = known.told_as(f"the read models could not be made anew: {describe(failure)}")

    def of_due(self, due: Mapping[str, Made]) -> None:
        """These projections are made anew, or are to be."""
        told: PlatformError | None = None
        missing, failure = _missing(due), self._build_failure or self._still_build(due)
        self._nothing_yet = None
        if len(missing) == len(catalogue()):
            self._nothing_yet = failure or _never_made(missing)
        elif missing:
            told = _never_made(missing)
            told = told if failure is None else failure.told_as(f"{told.message}; {failure.message}")
        elif due:
            reasons = sorted({_reason(made) for made in due.values()})
            told = PlatformError(
                errors.UNAVAILABLE,
                f"{', '.join(due)} are made anew in the shadow, since {'; '.join(reasons)}",
                hint="Nothing is to be done: what there was answers until then.",
            )
            if failure is not None:
                told = failure.told_as(f"{', '.join(due)}: {failure.message}")
        self._show(REBUILD, told)

    def _still_build(self, due: Mapping[str, Made]) -> PlatformError | None:
        """What is told of a build that has shown nothing for longer than a build takes for a step."""
        now = time.monotonic()
        if self._due_moved[0] != due:
            self._due_moved = (dict(due), now)
        if not due or now - self._due_moved[1] <= BUILD_STILL_SECONDS:
            return None
        message = f"the build of {', '.join(due)} does not move"
        return PlatformError(errors.UNAVAILABLE, message, hint=_READ_WITHOUT_END)

    def _show(self, name: str, trouble: PlatformError | None) -> None:
        if trouble is not None and self._shown.get(name) != trouble.message:
            LOG.warning("read models are not as they should be", extra={"cause": describe(trouble)})
        self._shown[name] = trouble.message if trouble is not None else ""
        if self._health is not None and trouble is not None:
            self._health.degrade(name, trouble)
        elif self._health is not None:
            self._health.restore(name)
