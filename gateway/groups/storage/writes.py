"""The writes of the group."""

import msgspec

from contracts import errors
from contracts import optimization_events as optimizations
from contracts import repair_events as repairs
from contracts import storage_requests as requests
from gateway.auth.rights import Right
from gateway.groups.storage import examples
from gateway.groups.storage.resources import NewOptimization, NewRepair
from gateway.writes.declaration import Asked, Draft, Write
from gateway.writes.things import OPTIMIZATION, REPAIR


class RepairStorage(Write[NewRepair]):
    """Have what is damaged or missing on tiers made whole, from other tiers or from what is left on the tier itself.

    202 with the request, whose `resource` is the repair once it is accepted: a worker looks at all locations first,
    then repairs one after the other beside runs, in the words of `wedsync-backup repo repair`. With `dryRun` it tells
    what is damaged, from where it can be had, and what no location has any more, and changes nothing. Nothing whole is
    put over. One repair of an organisation at a time.
    """

    NAME = "repair-storage"
    SUMMARY = "Make damaged tiers whole"
    PATH = "/storage/repair"
    RIGHT = Right.OPTIMISE
    BODY = NewRepair
    EXAMPLE = ("a look at all bytes of a tier", examples.NEW_REPAIR)
    REQUEST, ACCEPTED, REFUSED = (
        requests.StorageRepairRequested,
        repairs.StorageRepairAccepted,
        repairs.StorageRepairRefused,
    )
    OF = REPAIR
    REFUSALS = (errors.TIER_NOT_IN_USE, errors.STORAGE_REPAIR_OPEN)

    async def draft(self, asked: Asked[NewRepair]) -> Draft:
        """Whether something is kept at its locations only the executor knows."""
        data = msgspec.structs.replace(asked.body, locations=tuple(dict.fromkeys(asked.body.locations)))
        return Draft(
            lambda new: requests.StorageRepairRequested(
                request_id=new.request_id,
                repair_id=new.resource_id,
                evidence=new.evidence,
                dry_run=data.dry_run,
                read_percent=data.read_percent,
                locations=data.locations,
            ),
            body=data,
        )


class OptimizeStorage(Write[NewOptimization]):
    """Have tiers brought up to date, and freed of what nothing needs and of packs that are mostly waste.

    202 with the request, whose `resource` is the optimisation once it is accepted. With `dryRun` it says what would be
    brought, freed and stored again at each location, and does nothing; afterwards it says what was saved, as measured.
    No recovery point goes by it. What is stored again is bounded by day. One of an organisation at a time.
    """

    NAME = "optimize-storage"
    SUMMARY = "Free tiers of waste"
    PATH = "/storage/optimize"
    RIGHT = Right.OPTIMISE
    BODY = NewOptimization
    EXAMPLE = ("a plan", examples.NEW_OPTIMIZATION)
    REQUEST, ACCEPTED, REFUSED = (
        requests.StorageOptimizationRequested,
        optimizations.StorageOptimizationAccepted,
        optimizations.StorageOptimizationRefused,
    )
    OF = OPTIMIZATION
    REFUSALS = (errors.TIER_NOT_IN_USE, errors.STORAGE_OPTIMIZATION_OPEN)

    async def draft(self, asked: Asked[NewOptimization]) -> Draft:
        """What there is to be done only a worker sees."""
        return Draft(
            lambda new: requests.StorageOptimizationRequested(
                request_id=new.request_id,
                optimization_id=new.resource_id,
                evidence=new.evidence,
                dry_run=asked.body.dry_run,
            ),
            body=asked.body,
        )
