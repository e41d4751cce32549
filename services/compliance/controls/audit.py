"""An audit: the verdict of each control of some frameworks, by what the audit log tells up to an instant. Pure."""

from collections.abc import Iterable, Iterator

from contracts.compliance_events import ControlFinding
from contracts.controls import CONTROLS, ControlVerdict, Framework
from contracts.event import Event
from services.compliance.controls import attested, configurations, erasures, people, plans, rehearsals, retained, runs
from services.compliance.controls.facts import Evaluator, Facts

_EVERY = (
    *attested.EVALUATORS,
    *configurations.EVALUATORS,
    *erasures.EVALUATORS,
    *people.EVALUATORS,
    *plans.EVALUATORS,
    *rehearsals.EVALUATORS,
    *retained.EVALUATORS,
    *runs.EVALUATORS,
)
EVALUATORS = {each.control: each for each in _EVERY}
_NOT_EVALUATED = "nothing that the platform records decides this yet"


def read_by(frameworks: Iterable[Framework]) -> tuple[type[Event], ...]:
    """The events that an audit looks at."""
    return tuple(dict.fromkeys(kind for each in _evaluators(frameworks) for kind in each.reads))


def checks_log(frameworks: Iterable[Framework]) -> bool:
    """Whether an audit wants to know whether the audit log is whole."""
    return any(each.checks_log for each in _evaluators(frameworks))


def _evaluators(frameworks: Iterable[Framework]) -> Iterator[Evaluator]:
    wanted = set(frameworks)
    return (EVALUATORS[name] for name, each in CONTROLS.items() if each.framework in wanted and name in EVALUATORS)


def audited(frameworks: Iterable[Framework], facts: Facts) -> tuple[ControlFinding, ...]:
    """What is found of each control, in the order in which they are declared."""
    wanted = set(frameworks)
    return tuple(_found(name, facts) for name, control in CONTROLS.items() if control.framework in wanted)


def _found(control: str, facts: Facts) -> ControlFinding:
    evaluator = EVALUATORS.get(control)
    if evaluator is None:
        return ControlFinding(control=control, verdict=ControlVerdict.NO_EVIDENCE, because=_NOT_EVALUATED)
    said = evaluator.judge(facts)
    return ControlFinding(
        control=control,
        verdict=said.verdict,
        because=said.because,
        evaluator=evaluator.version,
        query=evaluator.query,
        examined=said.counted,
        evidence=said.evidence,
    )
