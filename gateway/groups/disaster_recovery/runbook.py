"""A plan as a document for people who have nothing but paper and a shell: Markdown, of the plan as it stands. Pure."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC

from contracts.disaster import StepKind
from gateway.groups.disaster_recovery.resources import DisasterRecoveryPlan, PlannedStep

_MEANT = re.compile(r"([\\`*_{}\[\]()<>#+|!~-])")
_UNREADABLE = "(cannot be read: its key is missing)"


def runbook_of(plan: DisasterRecoveryPlan) -> str:
    """The runbook. What people wrote is shown as they wrote it: no text of theirs is taken for Markdown."""
    return "\n".join(_lines(plan)) + "\n"


def in_order(steps: Sequence[PlannedStep]) -> list[list[PlannedStep]]:
    """Steps by when they may begin: those of one list beside each other, once all of the lists before have ended."""
    rows: list[list[PlannedStep]] = []
    done: set[str] = set()
    todo = [step for step in steps if step.compensates is None]
    while todo:
        # A plan with a circle is never recorded; one that was all the same is shown whole.
        row = [step for step in todo if done.issuperset(step.after)] or list(todo)
        rows.append(row)
        done |= {step.id for step in row}
        todo = [step for step in todo if step.id not in done]
    undoing = [step for step in reversed(steps) if step.compensates is not None]
    return [*rows, *([step] for step in undoing)]


def _lines(plan: DisasterRecoveryPlan) -> Iterator[str]:
    goals = plan.recovery_objectives
    yield f"# {_text(plan.plan_name)}"
    yield ""
    yield f"Plan `{plan.id}`, version {plan.version} of {plan.changed_at:%Y-%m-%d %H:%M} UTC: {plan.plan_type.value}."
    if plan.is_wedding_critical:
        yield "**Critical for a wedding: before all others.**"
    yield ""
    yield f"- It is to work again within {_minutes(goals.rto_minutes)} (RTO)."
    yield f"- At most the changes of {_minutes(goals.rpo_minutes)} may be lost (RPO)."
    if goals.maximum_data_loss is not None:
        yield f"- At most {goals.maximum_data_loss} bytes may be lost."
    yield (
        f"- It is tested at least every {plan.testing_schedule.every_days} days, by itself."
        if plan.testing_schedule
        else ("- No test of it is planned.")
    )
    yield "- Whether any of this was reached in a test: `wedsync-backup call GET disaster-recovery/status`."
    yield ""
    yield "## Before you begin"
    yield ""
    yield "You need a shell on a machine with `wedsync-backup`; where the platform itself is lost, also the key file of"
    yield "the organisation (or the recovery kit) and the credentials of one tier: `docs/operations.md`, section 6."
    yield "Write down when you began. Each restore has two ways: with the platform, and with key and tier alone."
    prefers = {source.configuration_id: source.prefer.value for source in plan.backup_sources}
    number = 0
    for row in in_order(plan.procedures):
        for step in row:
            number += 1
            yield ""
            yield f"## {number}. {step.id} ({step.kind.value})"
            yield ""
            yield from _step(plan, step, prefers, [each.id for each in row if each is not step])
    yield ""
    yield "## When it is done"
    yield ""
    yield "Write down when all of it worked again, and what is missing. A step that took longer than its limit, or that"
    yield "had to be done otherwise, is to be changed in the plan."


def _step(
    plan: DisasterRecoveryPlan, step: PlannedStep, prefers: dict[str, str], beside: Sequence[str]
) -> Iterator[str]:
    after = f"After {', '.join(step.after)}." if step.after else "At once."
    if step.compensates is not None:
        after = f"Only where the plan fails or is given up after {step.compensates} has begun: it undoes that."
    together = f" May go on beside {', '.join(beside)}." if beside else ""
    yield f"{after}{together} By: {step.owner}. At most {_minutes(step.time_limit_minutes)}; then it has failed."
    yield ""
    place = plan.procedures.index(step)
    if step.instructions or f"procedures[{place}].instructions" in plan.unreadable_fields:
        yield f"> {_text(step.instructions)}"
        yield ""
    match step.kind:
        case StepKind.RESTORE:
            yield from _restore(step, prefers.get(step.configuration_id or "", "freshest"), _path(plan, place, step))
        case StepKind.CHECK:
            yield f"The recovery of the step {step.of_step} is `completed`, and not `degraded`:"
            yield ""
            yield "    wedsync-backup call GET recovery/operations/OPERATION"
            yield ""
            yield "Without the platform: the restore ended with 0. Then open some files."
        case StepKind.WAIT:
            yield f"Wait {_minutes(step.wait_minutes or 0)}."
        case StepKind.NOTIFY:
            yield f"Tell the channels {', '.join(f'`{each}`' for each in step.channel_ids)}."
        case StepKind.APPROVE:
            yield "Somebody else than whoever began it says that it may go on. Write down who, and when."
        case _:
            yield "A person does it; it is over when that person says so."


def _restore(step: PlannedStep, prefer: str, path: str) -> Iterator[str]:
    if step.recovery_point_id is not None:
        point = f"`{step.recovery_point_id}`"
    elif step.moment is not None:
        point = f"the newest that is not younger than {step.moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    else:
        point = "the newest" if prefer == "freshest" else "the newest that was read back and found whole"
    yield f"Configuration `{step.configuration_id}`, recovery point: {point}."
    yield f"Target: the location `{step.target_location}`, path {path}."
    yield ""
    yield "With the platform; BODY has `recoveryPointId`, `targetLocation` and `targetPath`:"
    yield ""
    yield f"    wedsync-backup call GET 'recovery-points?configurationId={step.configuration_id}'"
    yield "    wedsync-backup call POST recovery/initiate --second-factor --until-ended -d BODY"
    yield ""
    yield "Without it; SNAPSHOT is that of the recovery point, by its time:"
    yield ""
    yield '    wedsync-backup repo snapshots --key-file "$KEY" --tier "$TIER"'
    yield '    wedsync-backup repo restore SNAPSHOT --target FOLDER --key-file "$KEY" --tier "$TIER"'


def _path(plan: DisasterRecoveryPlan, place: int, step: PlannedStep) -> str:
    if f"procedures[{place}].targetPath" in plan.unreadable_fields:
        return _UNREADABLE
    return _code(step.target_path) if step.target_path else "of the location itself"


def _code(text: str) -> str:
    """As it is to be typed: without what Markdown would make of it, and nothing put into it."""
    fence = "`" * (max((len(each) for each in re.findall("`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}"


def _text(text: str | None) -> str:
    return _UNREADABLE if text is None else _MEANT.sub(r"\\\1", text)


def _minutes(count: int) -> str:
    if count % 60 == 0:
        return f"{count // 60} h"
    return f"{count} min"
