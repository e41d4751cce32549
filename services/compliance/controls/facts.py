"""What evaluators are given, and what they say. Pure."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from contracts.compliance_events import EVIDENCE_MAX
from contracts.controls import ControlVerdict
from contracts.event import Event

E = TypeVar("E", bound=Event)


class Seen(msgspec.Struct, frozen=True):
    """One event of the audit log."""

    event_id: str
    time: datetime
    actor: str
    event: Event


class LogStanding(msgspec.Struct, frozen=True):
    """How the organisation's audit log is, up to the instant of the audit.

    `broken`: what is wrong with it, empty where each entry was read and the root of all is what was signed of them.
    `checkpoints`: how many of its checkpoints were compared.
    """

    size: int
    root: bytes | None
    checkpoints: int
    broken: str = ""


class Facts(msgspec.Struct, frozen=True):
    """What had happened up to an instant, in the order of the audit log."""

    at: datetime
    seen: Sequence[Seen]
    log: LogStanding

    def of(self, *kinds: type[Event]) -> list[Seen]:
        """Those of some kinds."""
        return [each for each in self.seen if isinstance(each.event, kinds)]


class Judgement(msgspec.Struct, frozen=True):
    """What an evaluator says. `evidence`: the ids of events that decide; `counted`: how many it looked at."""

    verdict: ControlVerdict
    because: str
    evidence: tuple[str, ...] = ()
    counted: int = 0


class Evaluator(msgspec.Struct, frozen=True):
    """Decides one control. `version` grows with every change of what it decides by. `reads`: the events it looks at.

    `checks_log`: it also wants to know whether the audit log is whole.
    """

    control: str
    version: int
    reads: tuple[type[Event], ...]
    judge: Callable[[Facts], Judgement]
    checks_log: bool = False

    @property
    def query(self) -> str:
        """Which events it looks at, in words."""
        every = "every entry of the audit log, its hashes and checkpoints"
        return ", ".join([*(kind.NAME for kind in self.reads), *([every] if self.checks_log else [])])


def nothing_says(because: str) -> Judgement:
    """Nobody can tell."""
    return Judgement(ControlVerdict.NO_EVIDENCE, because)


def judged(examined: Sequence[Seen], wrong: Iterable[Seen], *, fails: str, passes: str) -> Judgement:
    """A fail where some of what was examined is wrong, else a pass. `fails` has room for how many, `{}`."""
    failing = list(wrong)
    if failing:
        return Judgement(ControlVerdict.FAIL, fails.format(len(failing)), _ids(failing), len(examined))
    return Judgement(ControlVerdict.PASS, passes.format(len(examined)), _ids(examined), len(examined))


def _ids(seen: Sequence[Seen]) -> tuple[str, ...]:
    # The latest: what was decided long ago is of less use to whoever looks.
    return tuple(each.event_id for each in reversed(seen[-EVIDENCE_MAX:]))
