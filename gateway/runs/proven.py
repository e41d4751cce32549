"""What validations say of the tiers of a recovery point: written where they are told, read where points are shown.

A proof is as good as its depth: damage that was found stays until a validation of at least that depth finds none.
"""

from datetime import datetime
from typing import LiteralString

import msgspec

from contracts.reading import decoder_of, written_as
from contracts.validation_events import TierWholeness, ValidationDepth, ValidationEnd
from gateway.projections.applied import read_view

PROOFS: LiteralString = """
    (SELECT known.view::text FROM recovery_proofs known
        WHERE known.recovery_point_id = p.recovery_point_id AND known.organisation = p.organisation)
"""
"""What is stored of the recovery point `p`; null where it was never validated."""
HARMED: LiteralString = """
    EXISTS (
        SELECT FROM recovery_proofs known
        WHERE known.recovery_point_id = p.recovery_point_id AND known.organisation = p.organisation
            AND EXISTS (SELECT FROM json_each(known.view->'damaged') AS damage
                WHERE coalesce((damage.value->>'harms')::boolean, true))
            AND NOT EXISTS (SELECT FROM json_each(known.view->'damaged') AS damage
                WHERE NOT coalesce((damage.value->>'harms')::boolean, true))
            AND NOT EXISTS (SELECT FROM json_object_keys(known.view->'proven') AS whole(tier)
                WHERE known.view->'damaged'->whole.tier IS NULL)
    )
"""
"""Whether the recovery point `p` was found damaged, and no tier is known that gives it back whole."""
_DEPTHS = [depth.value for depth in ValidationDepth]


class TierProofView(msgspec.Struct, frozen=True, kw_only=True):
    """When a tier was looked at, and how deep. `location`: where the tier was then. `harms`: whether what was found
    there harms the point; null where nobody knows.
    """

    tier: str
    location: str
    at: datetime
    depth: str
    validation_id: str
    harms: bool | None = None

    @property
    def rank(self) -> int:
        """How deep, to be compared; a depth that this build does not know is deeper than all."""
        return _DEPTHS.index(self.depth) if self.depth in _DEPTHS else len(_DEPTHS)


class ProofsView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """By the names of tiers: which were last proven whole for the point, and which have damage, or lack it."""

    proven: dict[str, TierProofView] = msgspec.field(default_factory=dict)
    damaged: dict[str, TierProofView] = msgspec.field(default_factory=dict)

    def take(self, end: ValidationEnd, at: datetime) -> None:
        """Take over what a validation has found. A tier that was not looked at stays as it was."""
        for each in end.tiers:
            if each.verdict is TierWholeness.NOT_LOOKED_AT:
                continue
            found = TierProofView(
                tier=each.tier,
                location=each.location,
                at=at,
                depth=written_as(end.depth),
                validation_id=end.validation_id,
                harms=each.harms_point,
            )
            if each.verdict is TierWholeness.WHOLE and each.harms_point is False:
                self.proven[each.tier] = found
                known = self.damaged.get(each.tier)
                if known is not None and (known.rank <= found.rank or known.location != found.location):
                    del self.damaged[each.tier]
            else:
                known = self.damaged.get(each.tier)
                if known is None or known.rank <= found.rank or known.location != found.location:
                    self.damaged[each.tier] = found


def proofs_decoder() -> msgspec.json.Decoder[ProofsView]:
    """What reads what is stored of a point."""
    return decoder_of(ProofsView)


def proofs_view(stored: str) -> ProofsView:
    """What is stored of a point. Raises ViewUnreadable."""
    return read_view(stored, proofs_decoder(), "recovery-proofs")
