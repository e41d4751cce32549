"""What speaks against a disaster recovery plan: every wrong field at once. Pure.

Fields are JSON paths of the plan as it is sent.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from contracts import errors
from contracts.disaster import PlanRules, StepKind, StepRules
from contracts.refusal import Objection

_OWN = {
    "configuration_id": StepKind.RESTORE,
    "recovery_point_id": StepKind.RESTORE,
    "moment": StepKind.RESTORE,
    "target_location": StepKind.RESTORE,
    "of_step": StepKind.CHECK,
    "wait_minutes": StepKind.WAIT,
    "channel_ids": StepKind.NOTIFY,
    "compensates": StepKind.MANUAL,
}
"""Which kind of step has a field."""
EXECUTABLE = frozenset(StepKind)
"""The kinds of steps that an execution can do, or have done: those of a newer build are none."""
_NEEDED = ("configuration_id", "target_location", "of_step", "wait_minutes", "channel_ids")


def plan_objections(rules: PlanRules, steps: Sequence[StepRules]) -> Iterator[Objection]:
    """All that speaks against a plan by its words, in the order of the form."""
    inside = set(rules.scope.configuration_ids)
    restored = {step.configuration_id for step in steps if step.kind is StepKind.RESTORE}
    for place, configuration in enumerate(rules.scope.configuration_ids):
        if configuration not in restored:
            field = f"scope.configurationIds[{place}]"
            yield _wrong(field, "Add a step of the kind restore for it, or take it out of the scope.")
    if (waits := _waits_at_least(steps)) >= rules.recovery_objectives.rto_minutes:
        hint = f"The steps wait {waits} minutes whatever happens: make the waits shorter, or rtoMinutes longer."
        yield _wrong("recoveryObjectives.rtoMinutes", hint)
    seen: set[str] = set()
    for place, source in enumerate(rules.backup_sources):
        field = f"backupSources[{place}].configurationId"
        if source.configuration_id not in inside:
            yield _wrong(field, "Name a configuration of scope.configurationIds.")
        elif source.configuration_id in seen:
            yield _wrong(field, "Say once which recovery point of a configuration is preferred.")
        seen.add(source.configuration_id)
    yield from _against_steps(steps, inside)
    if rules.automated_execution:
        yield _wrong("automatedExecution", "Nothing begins a plan by itself yet: send false, and have people begin it.")


def execution_objections(steps: Sequence[StepRules], points: Collection[str]) -> Iterator[Objection]:
    """Why a plan can not be executed as it stands, all of it. `points`: the steps for which there is a point.

    No step is left out because the platform cannot do it: who executes a plan would take it for done.
    """
    for place, step in enumerate(steps):
        at = f"It is the step {step.id} (procedures[{place}]), of the kind {step.kind.value}."
        if step.kind not in EXECUTABLE:
            yield Objection(errors.DR_STEP_NOT_EXECUTABLE, "planId", f"{at} {errors.DR_STEP_NOT_EXECUTABLE.hint}")
        elif step.kind is StepKind.RESTORE and step.id not in points:
            hint = (
                f"{at} Of the configuration {step.configuration_id} there is no point that it could take: back up now."
            )
            yield Objection(errors.RECOVERY_POINT_UNKNOWN, "planId", hint)


def _against_steps(steps: Sequence[StepRules], inside: set[str]) -> Iterator[Objection]:
    by_id: dict[str, StepRules] = {}
    for place, step in enumerate(steps):
        if step.id in by_id:
            yield _wrong(f"procedures[{place}].id", f"Another step is called {step.id}: each needs a name of its own.")
        by_id.setdefault(step.id, step)
    before = _before(steps)
    for place, step in enumerate(steps):
        at = f"procedures[{place}]."
        for number, name in enumerate(step.after):
            if name == step.id or name not in by_id:
                hint = "No step waits for itself." if name == step.id else f"There is no step {name}."
                yield _wrong(f"{at}after[{number}]", f"{hint} Name another step of procedures.")
        yield from _against_kind(at, step)
        yield from _against_compensation(at, step, by_id)
        if step.configuration_id is not None and step.configuration_id not in inside:
            yield _wrong(f"{at}configurationId", "Name a configuration of scope.configurationIds.")
        if step.of_step is not None and step.kind is StepKind.CHECK:
            looked = by_id.get(step.of_step)
            if looked is None or looked.kind is not StepKind.RESTORE or step.of_step not in before[step.id]:
                yield _wrong(f"{at}ofStep", "Name a restore that ends before: one that after leads to.")
    for place, step in enumerate(steps if len(by_id) == len(steps) else ()):
        # A step that names itself, or has another's name, is told above.
        if step.id in before[step.id] and step.id not in step.after:
            hint = f"{step.id} waits for itself by way of {', '.join(step.after)}. {errors.DR_PLAN_CIRCLE.hint}"
            yield Objection(errors.DR_PLAN_CIRCLE, f"procedures[{place}].after", hint)
            return


def _against_compensation(at: str, step: StepRules, by_id: Mapping[str, StepRules]) -> Iterator[Objection]:
    for number, name in enumerate(step.after):
        if name in by_id and by_id[name].compensates is not None:
            yield _wrong(f"{at}after[{number}]", f"{name} is done only where the plan fails: name another step.")
    if step.compensates is None:
        return
    if step.after:
        yield _wrong(f"{at}after", "Leave it out: what undoes a step begins where the plan fails.")
    undone = by_id.get(step.compensates)
    if undone is None or undone.compensates is not None:
        yield _wrong(f"{at}compensates", "Name another step of procedures, one that undoes none itself.")


def _against_kind(at: str, step: StepRules) -> Iterator[Objection]:
    if step.kind not in set(StepKind):
        yield Objection(errors.EVENT_UNREADABLE, f"{at}kind", errors.EVENT_UNREADABLE.hint)
        return
    for field, kind in _OWN.items():
        is_said = getattr(step, field) not in (None, ())
        if is_said and step.kind is not kind:
            yield _wrong(f"{at}{_camel(field)}", f"Leave it out: only steps of the kind {kind.value} have it.")
        elif not is_said and step.kind is kind and field in _NEEDED:
            yield _wrong(f"{at}{_camel(field)}", f"Give it: every step of the kind {kind.value} needs it.")
    if step.retries and step.kind is not StepKind.RESTORE:
        yield _wrong(f"{at}retries", f"Leave it out: only steps of the kind {StepKind.RESTORE.value} are tried again.")
    if step.recovery_point_id is not None and step.moment is not None:
        yield _wrong(f"{at}moment", "Name a recovery point or a moment, not both.")
    if step.wait_minutes is not None and step.wait_minutes >= step.time_limit_minutes:
        yield _wrong(f"{at}timeLimitMinutes", "The step waits as long: give it more time than waitMinutes.")


def _before(steps: Sequence[StepRules]) -> Mapping[str, set[str]]:
    """Of each step, all that end before it begins. One that waits for itself is among its own."""
    after = {step.id: set(step.after) for step in steps}
    before: dict[str, set[str]] = {}
    for name, direct in after.items():
        reached: set[str] = set()
        todo = list(direct)
        while todo:
            if (each := todo.pop()) not in reached:
                reached.add(each)
                todo += after.get(each, ())
        before[name] = reached
    return before


def _waits_at_least(steps: Sequence[StepRules]) -> int:
    """The minutes of the longest row of waits; 0 where steps go in a circle, which is told for itself."""
    by_id = {step.id: step for step in steps}
    done: dict[str, int] = {}
    todo = dict(by_id)
    while todo:
        ready = [step for step in todo.values() if all(name in done or name not in by_id for name in step.after)]
        if not ready:
            return 0
        for step in ready:
            own = (step.wait_minutes or 0) if step.kind is StepKind.WAIT else 0
            done[step.id] = own + max((done[name] for name in step.after if name in done), default=0)
            del todo[step.id]
    return max(done.values(), default=0)


def _wrong(field: str, hint: str) -> Objection:
    return Objection(errors.INVALID_FIELD, field, hint)


def _camel(name: str) -> str:
    head, *others = name.split("_")
    return head + "".join(each.capitalize() for each in others)
