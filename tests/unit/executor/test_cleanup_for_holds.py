"""A cleanup that has tiers follow the holds lets nothing go, whichever build's worker performs it."""

import msgspec

from contracts.cleanup_events import CleanupPurpose, PlaceHeld, RetentionCleanedUp, RetentionCleanupAccepted
from contracts.samples import sample_event
from services.executor.retention.domain import RetentionCleanup

END = msgspec.structs.replace(sample_event(RetentionCleanedUp), degraded=False, held=(), kept=0)
HELD = (PlaceHeld(location="local", points=3),)


def _ended(end: RetentionCleanedUp) -> RetentionCleanup:
    cleanup = RetentionCleanup("cleanup")
    cleanup.accept_holds()
    cleanup.advance(end)
    return cleanup


def test_older_worker_only_looks_by_it() -> None:
    """It knows no purpose, and takes it for one that says what would go."""
    cleanup = RetentionCleanup("cleanup")
    cleanup.accept_holds()
    (accepted,) = cleanup.pending
    assert isinstance(accepted, RetentionCleanupAccepted)
    assert (accepted.dry_run, accepted.purpose) == (True, CleanupPurpose.HOLDS)


def test_it_is_done_once_tiers_follow() -> None:
    """Not where a worker that knows no holds has counted points, nor where a tier was away."""
    assert _ended(msgspec.structs.replace(END, held=HELD)).is_whole
    assert _ended(END).is_whole, "there is no repository yet"
    assert not _ended(msgspec.structs.replace(END, kept=3)).is_whole
    assert not _ended(msgspec.structs.replace(END, held=HELD, degraded=True)).is_whole
