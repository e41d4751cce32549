"""What whoever may see a run is told to do."""

from contracts import errors
from contracts.configuration import Tier
from contracts.errors import PlatformError
from contracts.tier_failure import TierFailure, at_location, told_together
from repository.errors import NoUsableTier, TierFull
from services.executor.failures import told_hint

AGAIN = errors.TIER_UNREACHABLE.hint


def test_what_is_to_be_done_at_several_places_is_said_once() -> None:
    """With all of them; what differs by its place is said for each."""
    told = [
        TierFailure(tier, errors.TIER_UNREACHABLE.code, at_location(AGAIN, location))
        for tier, location in ((Tier.LOCAL, "local"), (Tier.OFFSITE, "far"), (Tier.CLOUD_PRIMARY, "cloud"))
    ]
    error = PlatformError(errors.TIER_UNREACHABLE, "silent", failures=told)
    assert told_hint(error, None) == f"{AGAIN} The locations are local, far and cloud."
    assert told_hint(error, Tier.OFFSITE).startswith(f"{AGAIN} The location is far.")
    assert told_together([at_location("Run LOCATION.", each) for each in ("a", "b")]) == "Run a. Run b."
    assert told_together(["Wait.", "Wait.", at_location("Look.", "a")]) == "Wait. Look. The location is a."


def test_sentence_that_several_tiers_say_is_said_once() -> None:
    """A folder has figures to it, a bucket has none."""
    room = TierFull.hint
    full = [
        TierFull("full", hint=f"The tier has 0 of 5 MiB free. {room}"),
        TierFull("full"),
        TierFull("full", hint=f"The tier has 1 of 9 MiB free. {room}"),
    ]
    told = NoUsableTier.because("no tier takes it", full).hint
    first = "Look at what each tier answered: somebody has to act first."
    assert told == f"{first} The tier has 0 of 5 MiB free. The tier has 1 of 9 MiB free. {room}"
