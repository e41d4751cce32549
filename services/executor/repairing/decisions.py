"""Which requested repairs are taken on."""

from chassis.handling import Handling
from contracts import errors
from contracts.refusal import Objection
from contracts.repair_events import StorageRepairRefused
from contracts.storage_requests import StorageRepairRequested
from services.executor.errors import RepairBusy
from services.executor.repairing.domain import StorageRepair
from services.executor.repairing.ports import KeptAt, Repairs


class RepairDecisions:
    """Takes requested repairs on, or refuses them."""

    def __init__(self, repairs: Repairs, kept_at: KeptAt) -> None:
        self._repairs = repairs
        self._kept_at = kept_at

    async def decide(self, request: StorageRepairRequested, handling: Handling) -> None:
        """Accept or refuse a request. One that can find nothing is refused before it is recorded as taken on."""
        organisation = handling.context.organisation
        kept_at = await self._kept_at.locations(organisation)
        strange = next((place for place, each in enumerate(request.locations) if each not in kept_at), None)
        if strange is not None or not kept_at:
            field = None if strange is None else f"locations[{strange}]"
            code = errors.TIER_NOT_IN_USE
            await self._refuse(request, Objection(code, field, code.hint), handling)
            return
        repair = StorageRepair(request.repair_id)
        repair.accept(request)
        try:
            await self._repairs.record_accepted(repair, handling)
        except RepairBusy as busy:
            if await self._repairs.find(request.repair_id, organisation) is None:
                await self._refuse(request, Objection(busy.code, busy.field, busy.hint), handling)

    async def _refuse(self, request: StorageRepairRequested, objection: Objection, handling: Handling) -> None:
        repair = StorageRepair(request.repair_id)
        repair.record(StorageRepairRefused.of(request, objection))
        await self._repairs.record_answer(repair, handling)
