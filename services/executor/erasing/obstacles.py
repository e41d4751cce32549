"""What stands against an erasure, by what the record knows. Pure.

A hold beats an erasure (GDPR 17(3)(e)), so does a legal obligation to keep (17(3)(b)): a policy that says that this is
its legal basis keeps what its `minimumDays` keep. Any other policy does not: it says how long is enough, not how long
must be. What writes or reads at this moment is waited for.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta

import msgspec

from contracts import errors
from contracts.cleanup_events import GoingPoint
from contracts.configuration import ConfigurationState
from contracts.erasure_events import ERASED_RULE, Obstacle
from contracts.retention import LegalBasis
from services.executor.retention.plans import Knowledge


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a data subject. `states`: of their configurations; `running`: those with an open run.

    `knowledge`: of their recovery points; empty where there is no configuration.
    """

    states: Mapping[str, ConfigurationState]
    running: Collection[str]
    knowledge: Knowledge

    @property
    def configuration_ids(self) -> Sequence[str]:
        """The subject's configurations."""
        return sorted(self.states)

    @property
    def points(self) -> Sequence[GoingPoint]:
        """The subject's recovery points that are there."""
        return [
            GoingPoint(recovery_point_id=each.id, configuration_id=each.configuration_id, rules=(ERASED_RULE,))
            for each in sorted(self.knowledge.points, key=lambda point: point.id)
        ]


def against(standing: Standing) -> list[Obstacle]:
    """All that stands against it, in an order that does not change by itself."""
    return [*_of_configurations(standing), *_of_points(standing.knowledge)]


def _of_configurations(standing: Standing) -> Iterator[Obstacle]:
    for each, state in sorted(standing.states.items()):
        if state is not ConfigurationState.RETIRED:
            yield Obstacle(code=errors.CONFIGURATION_IN_FORCE.code, about=each)
        if each in standing.running:
            yield Obstacle(code=errors.BACKUP_UNDER_WAY.code, about=each)


def _of_points(known: Knowledge) -> Iterator[Obstacle]:
    for hold in sorted({hold for point in known.points for hold in point.holds}):
        yield Obstacle(code=errors.POINT_HELD.code, about=hold)
    for point in sorted({point.id for point in known.points if point.readers}):
        yield Obstacle(code=errors.RECOVERY_UNDER_WAY.code, about=point)
    for each, body in sorted(known.configurations.items()):
        rules = known.rules.get(body.retention_policy_id or "")
        if rules is None or rules.legal_basis is not LegalBasis.LEGAL_OBLIGATION:
            continue
        kept = timedelta(days=rules.minimum_days)
        ends = [point.at + kept for point in known.points if point.configuration_id == each]
        if ends and max(ends) > known.now:
            yield Obstacle(code=errors.RETENTION_OBLIGED.code, about=body.retention_policy_id or "", until=max(ends))
