"""Built-in templates of plans: one for each disaster, naming what the organisation has (ADR 0115). Pure.

What is offered passes the rules that a submitted plan is held to. What the organisation lacks is told (`unmet`), and
nothing is made up for it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from contracts.disaster import (
    STEPS_MAX,
    BackupSource,
    PlanScope,
    PlanType,
    RecoveryObjectives,
    SourcePreference,
    StepKind,
    TestingSchedule,
)
from gateway.groups.disaster_recovery.resources import NewPlan, NewStep, PlanTemplate, TemplateNote

CONFIGURATIONS_MAX = 10
"""Each is a restore and a check, and the steps about them have room in a plan."""


class Has(NamedTuple):
    """What an organisation has: active configurations of directories, those for weddings first, and how many others it
    has (of buckets and databases); target locations that are open to it; notification channels that are active.
    """

    configurations: Sequence[str]
    others: int
    targets: Sequence[str]
    channels: Sequence[str]


class BuiltIn(NamedTuple):
    """What is built in. `before`: what a person does first, by step; `after`: what a person does with what is back."""

    plan_type: PlanType
    title: str
    description: str
    hours: int
    before: tuple[tuple[str, str], ...] = ()
    after: tuple[tuple[str, str], ...] = ()
    prefer: SourcePreference = SourcePreference.FRESHEST
    is_of_one: bool = False


TEMPLATES = (
    BuiltIn(
        PlanType.SUPPLIER_LOSS,
        "The disks of one supplier are lost",
        "All that is backed up comes back to another place, once a second person has agreed.",
        hours=4,
    ),
    BuiltIn(
        PlanType.REGION_LOSS,
        "A region is lost",
        "The local tier and the nearest cloud are gone: what comes back is read from the tiers that answer.",
        hours=8,
        before=(("look", "Which tiers answer? GET /api/backup/storage/tiers. Is the target outside of that region?"),),
        prefer=SourcePreference.PROVEN,
    ),
    BuiltIn(
        PlanType.RANSOMWARE,
        "Somebody has encrypted the files",
        "The newest points may hold what was encrypted: a person names the last clean one, and looks through it.",
        hours=24,
        before=(
            ("isolate", "Cut the machines off that are concerned, pause their configurations, change their secrets."),
            (
                "find-clean",
                "Which point is the last clean one? Name it in the restores (moment): change the plan first.",
            ),
        ),
        after=(("scan", "Look through what came back, with a scanner, before anybody opens it."),),
        prefer=SourcePreference.PROVEN,
    ),
    BuiltIn(
        PlanType.PLATFORM_LOSS,
        "The platform itself is lost",
        "With no platform no plan executes itself: print the runbook, which restores with a key file and one tier.",
        hours=24,
        before=(("platform", "Bring the platform back: docs/operations.md, section 6. Until then go by the runbook."),),
    ),
    BuiltIn(
        PlanType.ACCIDENTAL_DELETION,
        "Something was deleted by accident",
        "One configuration comes back beside what there is, and a person takes out of it what is missing.",
        hours=2,
        after=(("put-back", "Copy what is missing to where it was. What came back stays until you remove it."),),
        is_of_one=True,
    ),
)


def offered(template: BuiltIn, has: Has) -> PlanTemplate:
    """A template with what an organisation has."""
    most = 1 if template.is_of_one else CONFIGURATIONS_MAX
    taken = has.configurations[:most]
    plan = _plan(template, taken, has.targets[0], has.channels) if taken and has.targets else None
    return PlanTemplate(
        id=template.plan_type.value,
        title=template.title,
        description=template.description,
        plan=plan,
        unmet=list(_unmet(template, has, len(taken))),
    )


def _plan(template: BuiltIn, taken: Sequence[str], target: str, channels: Sequence[str]) -> NewPlan:
    steps = list(_steps(template, taken, target, channels))
    assert len(steps) <= STEPS_MAX  # noqa: S101  # by CONFIGURATIONS_MAX
    return NewPlan(
        plan_name=template.title,
        plan_type=template.plan_type,
        scope=PlanScope(configuration_ids=tuple(taken)),
        recovery_objectives=RecoveryObjectives(rto_minutes=template.hours * 60, rpo_minutes=24 * 60),
        procedures=tuple(steps),
        backup_sources=tuple(BackupSource(configuration_id=each, prefer=template.prefer) for each in taken),
        testing_schedule=TestingSchedule(every_days=90),
    )


def _steps(template: BuiltIn, taken: Sequence[str], target: str, channels: Sequence[str]) -> Iterator[NewStep]:
    before: tuple[str, ...] = ()
    limit = template.hours * 60
    for name, text in template.before:
        yield _by_hand(name, text, before, limit)
        before = (name,)
    yield NewStep(id="go", kind=StepKind.APPROVE, owner="owner", after=before, time_limit_minutes=limit)
    checked = []
    for number, configuration in enumerate(taken, start=1):
        yield NewStep(
            id=f"restore-{number}",
            kind=StepKind.RESTORE,
            owner="on-call",
            after=("go",),
            time_limit_minutes=limit,
            retries=2,
            configuration_id=configuration,
            target_location=target,
            target_path=f"{template.plan_type.value}/{configuration}",
        )
        checked.append(f"check-{number}")
        yield NewStep(
            id=checked[-1],
            kind=StepKind.CHECK,
            owner="on-call",
            after=(f"restore-{number}",),
            of_step=f"restore-{number}",
        )
    last = tuple(checked)
    for name, text in template.after:
        yield _by_hand(name, text, last, limit)
        last = (name,)
    if channels:
        yield NewStep(id="tell", kind=StepKind.NOTIFY, owner="on-call", after=last, channel_ids=tuple(channels[:5]))


def _by_hand(name: str, text: str, after: tuple[str, ...], limit: int) -> NewStep:
    return NewStep(
        id=name, kind=StepKind.MANUAL, owner="owner", after=after, time_limit_minutes=limit, instructions=text
    )


def _unmet(template: BuiltIn, has: Has, taken: int) -> Iterator[TemplateNote]:
    if not has.configurations:
        yield TemplateNote(field="scope.configurationIds", meaning="There is no active configuration of a directory.")
    elif taken < len(has.configurations):
        left = len(has.configurations) - taken
        what = f"{left} more active configurations of directories are not in it: put in what is to come back as well."
        yield TemplateNote(field="scope.configurationIds", meaning=what)
    if has.others:
        what = f"{has.others} configurations are of buckets or databases, which no plan brings back by itself."
        yield TemplateNote(field="scope.configurationIds", meaning=what)
    if not has.targets:
        what = "No target location is open to the organisation: ask the operator for one."
        yield TemplateNote(field="procedures.targetLocation", meaning=what)
    elif len(has.targets) > 1:
        what = f"It is the first of {', '.join(has.targets)}: it must not be the one in which plans are tested."
        yield TemplateNote(field="procedures.targetLocation", meaning=what)
    if not has.channels:
        yield TemplateNote(field="procedures.channelIds", meaning="There is no notification channel: nobody is told.")
    if template.plan_type is PlanType.RANSOMWARE:
        what = "Nothing finds the last clean point: name it, by moment or recoveryPointId, before you execute the plan."
        yield TemplateNote(field="procedures.moment", meaning=what)
