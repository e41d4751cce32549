"""What is wrong with one tier, as those who may see the run are told; no event of its own."""

import msgspec

from contracts.configuration import Tier


class TierFailure(msgspec.Struct, frozen=True):
    """What is wrong with a tier that ended a run, or took no part in it. An error has them as `failures`."""

    tier: Tier
    code: str
    hint: str
