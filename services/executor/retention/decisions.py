"""Which requested cleanups are taken on, and which policies are known."""

from chassis.handling import Handling
from contracts import errors
from contracts.cleanup_events import RetentionCleanupRefused
from contracts.config_events import RetentionPolicyFact
from contracts.gateway_events import RetentionCleanupRequested
from contracts.recovery_events import RecoveryFact
from contracts.refusal import Objection
from services.executor.errors import CleanupBusy, ConfigurationNotSeenYet
from services.executor.policies import DELIVERIES_BEFORE_REFUSAL
from services.executor.retention.domain import RetentionCleanup
from services.executor.retention.ports import Cleanups, Knowing


class CleanupDecisions:
    """Takes requested cleanups on, or refuses them."""

    def __init__(self, cleanups: Cleanups, knowing: Knowing) -> None:
        self._cleanups = cleanups
        self._knowing = knowing

    async def decide(self, request: RetentionCleanupRequested, handling: Handling) -> None:
        """Accept or refuse a request. Raises CONFIGURATION_NOT_SEEN_YET to be asked again later."""
        organisation = handling.context.organisation
        if not request.evidence.second_factor:
            code = errors.SECOND_FACTOR_NEEDED
            await self._refuse(request, Objection(code, hint=code.hint), handling)
            return
        lacking = await self._knowing.lacking(organisation, request.configuration_ids)
        if lacking is not None:
            if handling.deliveries < DELIVERIES_BEFORE_REFUSAL:
                raise ConfigurationNotSeenYet(lacking, version=1, seen=0)
            field = f"configurationIds[{request.configuration_ids.index(lacking)}]"
            code = errors.CONFIGURATION_UNKNOWN
            await self._refuse(request, Objection(code, field, code.hint), handling)
            return
        behind = await self._knowing.behind(organisation, request.seen)
        if behind is not None:
            # By what was superseded nothing may go: the newer version is on its way.
            if handling.deliveries < DELIVERIES_BEFORE_REFUSAL:
                raise ConfigurationNotSeenYet(behind, version=0, seen=0)
            code = errors.CONCURRENT_CHANGE
            hint = (
                f"The newest version of {behind} is not known to the executor: look at its readiness, then ask again."
            )
            await self._refuse(request, Objection(code, hint=hint), handling)
            return
        cleanup = RetentionCleanup(request.cleanup_id)
        cleanup.accept(request)
        try:
            await self._cleanups.record_accepted(cleanup, handling)
        except CleanupBusy as busy:
            if await self._cleanups.find(request.cleanup_id, organisation) is None:
                await self._refuse(request, Objection(busy.code, busy.field, busy.hint), handling)

    async def remember_policy(self, fact: RetentionPolicyFact, handling: Handling) -> None:
        """Take note of what a policy says."""
        await self._knowing.remember_policy(fact, handling)

    async def remember_reader(self, fact: RecoveryFact, handling: Handling) -> None:
        """Take note of what is to be restored, and of what is over: it is not let go meanwhile."""
        await self._knowing.remember_reader(fact, handling)

    async def _refuse(self, request: RetentionCleanupRequested, objection: Objection, handling: Handling) -> None:
        cleanup = RetentionCleanup(request.cleanup_id)
        cleanup.record(RetentionCleanupRefused.of(request, objection))
        await self._cleanups.record_answer(cleanup, handling)
