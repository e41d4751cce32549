"""Which requested erasures are taken on, and what stands against them."""

from chassis.handling import Handling
from contracts.erasure_events import ErasureRefused
from contracts.refusal import Objection
from contracts.storage_requests import ErasureRequested
from services.executor.erasing.domain import SubjectErasure
from services.executor.erasing.obstacles import against
from services.executor.erasing.ports import Erasures
from services.executor.errors import ConfigurationNotSeenYet, ErasureBusy
from services.executor.policies import DELIVERIES_BEFORE_REFUSAL


class ErasureDecisions:
    """Takes requested erasures on, or refuses them."""

    def __init__(self, erasures: Erasures) -> None:
        self._erasures = erasures

    async def decide(self, request: ErasureRequested, handling: Handling) -> None:
        """Accept a request, with what stands against it now; refuse a second one about the same subject.

        Raises CONFIGURATION_NOT_SEEN_YET to be asked again later.
        """
        organisation = handling.context.organisation
        standing = await self._erasures.standing(organisation, request.data_subject_id)
        unseen = next((each for each in request.configuration_ids if each not in standing.states), None)
        if unseen is not None and handling.deliveries < DELIVERIES_BEFORE_REFUSAL:
            # One that is in force would stand against it, and nobody would have been told.
            raise ConfigurationNotSeenYet(unseen, version=1, seen=0)
        erasure = SubjectErasure(request.erasure_id)
        erasure.accept(request, configuration_ids=standing.configuration_ids, point_count=len(standing.points))
        if obstacles := against(standing):
            erasure.block(obstacles)
        try:
            await self._erasures.record_accepted(erasure, handling)
        except ErasureBusy as busy:
            if await self._erasures.find(request.erasure_id, organisation) is None:
                refused = SubjectErasure(request.erasure_id)
                refused.record(ErasureRefused.of(request, Objection(busy.code, busy.field, busy.hint)))
                await self._erasures.record_answer(refused, handling)
