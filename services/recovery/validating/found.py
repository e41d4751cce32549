"""What is read, and what is found by that. Plain values."""

from collections.abc import Sequence

import msgspec

from contracts.reading import decoder_of, read_json
from contracts.validation_events import ObjectDamaged, PointAffected, TierValidated, ValidationDepth
from services.recovery.kept import KeptPlace


class ValidationOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to read, as it was accepted: it goes with the claim."""

    snapshot_id: str
    places: tuple[KeptPlace, ...]
    depth: ValidationDepth


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What tiers have shown. `harmed`: snapshots that tiers cannot give back whole by themselves, and which tiers."""

    tiers: Sequence[TierValidated]
    objects: Sequence[ObjectDamaged] = ()
    harmed: Sequence[tuple[str, tuple[str, ...]]] = ()


class Affected(msgspec.Struct, frozen=True):
    """Recovery points that are harmed. `unnamed`: snapshots of which nobody here knows the point."""

    points: Sequence[PointAffected] = ()
    unnamed: int = 0

    @classmethod
    def of(cls, named: Sequence[tuple[str, tuple[str, ...]]], *, unnamed: int) -> "Affected":
        """Of points by their ids, each with its tiers."""
        return cls([PointAffected(recovery_point_id=point, tiers=tiers) for point, tiers in named], unnamed)


_ORDER = decoder_of(ValidationOrder)


def validation_order_of(body: bytes) -> ValidationOrder:
    """An order as a claim has it. A depth that a newer build has written is `unknown`."""
    return read_json(body, _ORDER)
