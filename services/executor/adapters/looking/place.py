"""One place of a configuration that is looked at: its checks in order, and what each of them found."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from contracts import errors
from contracts.configuration import Tier
from contracts.errors import ErrorCode, PlatformError
from contracts.tier_failure import at_location
from contracts.trial import Check, Finding, Verdict
from repository.errors import AccessDenied, ClockSkewed, RepositoryError
from vault.translation import code_of

PLACE_SECONDS = 20.0
ASK_SECONDS = 5.0
"""How long all questions to a place may take, and one of them."""

FIRST = frozenset(
    {
        *(Check.SOURCE_CREDENTIALS, Check.SOURCE_REACHABLE),
        *(Check.TIER_CREDENTIALS, Check.TIER_REACHABLE, Check.TIER_WRITABLE),
    }
)
"""Without these the checks that follow at the place have nothing to look at."""


class Told(Exception):
    """What ends a check with something else than a pass. `ends`: nothing more of the place can be looked at."""

    def __init__(self, verdict: Verdict, code: ErrorCode, hint: str = "") -> None:
        super().__init__(code.code)
        self.verdict, self.code, self.hint = verdict, code, hint or code.hint


@dataclass
class Place:
    """The source, a tier, or the keys; what was found there so far, and what is being looked at."""

    checks: Sequence[tuple[Check, Callable[[], None]]]
    location: str
    unreachable: ErrorCode
    tier: Tier | None = None
    found: dict[Check, Finding] = field(default_factory=dict)
    at: Check | None = None
    is_left: bool = False

    def run(self) -> None:
        """Every check in order; one of the first kind that fails ends it."""
        for check, question in self.checks:
            self.at = check
            told = self._asked(question)
            if self.is_left:
                return
            self.found[check] = self.finding(check, told)
            if told is not None and told.verdict is Verdict.FAIL and check in FIRST:
                break
        self.at = None

    def findings(self) -> Iterator[Finding]:
        """One for each check. One that was under way when it was left has failed; the others are undecided."""
        self.is_left = True
        for check, _ in self.checks:
            if check in self.found:
                yield self.found[check]
            elif check is self.at:
                silent = at_location(f"It gave no answer within {PLACE_SECONDS:.0f} s.", self.location)
                yield self.finding(check, Told(Verdict.FAIL, self.unreachable, silent))
            else:
                yield self.finding(check, Told(Verdict.UNDECIDED, errors.NOT_TESTED))

    def finding(self, check: Check, told: Told | None) -> Finding:
        """What a check found."""
        if told is None:
            return Finding(check=check, verdict=Verdict.PASS, tier=self.tier)
        hint = at_location(told.hint, self.location) if self.location else told.hint
        return Finding(check=check, verdict=told.verdict, tier=self.tier, code=told.code.code, hint=hint)

    def _asked(self, question: Callable[[], None]) -> Told | None:
        try:
            question()
        except Told as told:
            return told
        except AccessDenied:
            return Told(Verdict.FAIL, errors.LOCATION_ACCESS_DENIED)
        except ClockSkewed:
            return Told(Verdict.FAIL, errors.TIER_CLOCK_DIFFERS)
        except (RepositoryError, PlatformError) as error:
            code = code_of(error)
            return Told(Verdict.FAIL, self.unreachable if code is errors.INTERNAL else code)
        except OSError:
            return Told(Verdict.FAIL, self.unreachable)
        return None


def at_once(calls: Sequence[Callable[[], None]], *, seconds: float = PLACE_SECONDS) -> None:
    """Make all calls, each in a thread that nobody waits for any longer than so many seconds for all of them."""
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=call, name="look", daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
