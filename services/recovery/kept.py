"""What the recovery service keeps of others' facts, and what a worker is told to do."""

import msgspec

from contracts.reading import decoder_of, read_json
from contracts.recovery_events import ConflictPolicy
from contracts.sealed import Sealed


class KeptPlace(msgspec.Struct, frozen=True):
    """Where a configuration's snapshots lie, or have lain: the name of a tier and of a location."""

    tier: str
    location: str


class KeptPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A recovery point. `places`: of its configuration, in all versions that have arrived, the newest first.

    `is_gone`: a cleanup has let it go.
    """

    recovery_point_id: str
    organisation: str
    configuration_id: str
    snapshot_id: str
    places: tuple[KeptPlace, ...]
    is_gone: bool = False


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to do, as it was accepted: it goes with the claim.

    `is_compared`: once all is written the whole target is compared with the snapshot, as a test of a plan has it.
    """

    snapshot_id: str
    places: tuple[KeptPlace, ...]
    target_location: str
    target_path: Sealed
    conflict_policy: ConflictPolicy
    scope: Sealed | None = None
    is_compared: bool = False


_ORDER = decoder_of(Order)


def order_of(body: bytes) -> Order:
    """An order as a claim has it. A policy that a newer build has written is `unknown`."""
    return read_json(body, _ORDER)
