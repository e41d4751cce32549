"""Progress of a run: not history, never stored in the record; the last value per run is kept in memory."""

from datetime import datetime

from contracts.configuration import Tier
from contracts.event import Value


class TierProgress(Value, frozen=True, kw_only=True):
    """How far one tier is. `state` is `uploading`, `behind`, `uploaded` or `failed`."""

    tier: Tier
    state: str
    uploaded_bytes: int
    queued_bytes: int = 0


class Progress(Value, frozen=True, kw_only=True):
    """How far a run is, or a recovery, whose id is the `execution_id` then. Bytes of the source.

    `total` figures are None until the source was counted.

    `fence`: of the claim under which it is performed, higher with each worker; 0 where an older build reports.
    """

    execution_id: str
    organisation: str
    time: datetime
    phase: str
    files_done: int = 0
    files_total: int | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    bytes_per_second: float = 0.0
    eta_seconds: float | None = None
    tiers: tuple[TierProgress, ...] = ()
    fence: int = 0
