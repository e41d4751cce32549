"""What has become of a run on a tier: told of the run, judged after the reading back, and as the error that ends it."""

import msgspec

from chassis.claims.port import Claim
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.tier_failure import TierFailure, at_location
from services.executor.domain import BackupRun
from services.executor.ports import BackupOutcome, TierOutcome


def tell_of_tier(run: BackupRun, claim: Claim, outcome: BackupOutcome, tier: TierOutcome) -> None:
    """Record whether the tier has the snapshot."""
    if tier.code is not None:
        run.tier_failed(fence=claim.fence, tier=tier.tier, code=tier.code, hint=tier.hint)
        return
    run.tier_uploaded(
        fence=claim.fence,
        tier=tier.tier,
        snapshot_id=outcome.snapshot_id,
        log_entry=tier.log_entry or 0,
        uploaded_bytes=tier.uploaded_bytes,
        objects=tier.objects,
        seconds=tier.seconds,
        room=tier.room,
    )


def error_of(failed: TierOutcome) -> PlatformError:
    """What ends a run that cannot do without this tier."""
    code = _code(failed.code)
    told = [TierFailure(failed.tier, code.code, failed.hint)]
    return PlatformError(code, "a tier does not have the snapshot", hint=failed.hint, tier=failed.tier, failures=told)


def judged(tier: TierOutcome, damage: str | None) -> TierOutcome:
    """The outcome once the tier was read back. `damage`: the code of what was found, or None."""
    if damage is None:
        return tier
    return msgspec.structs.replace(tier, code=damage, hint=at_location(_code(damage).hint, tier.location))


def _code(code: str | None) -> ErrorCode:
    return errors.catalogue().get(code or "", errors.INTERNAL)
