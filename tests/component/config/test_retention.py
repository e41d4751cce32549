"""Retention policies: what the owner records of what is asked."""

import asyncio
from typing import Any

import msgspec
import pytest

from chassis.ids import new_id
from contracts import errors
from contracts.config_events import (
    ConfigurationChangeRefused,
    ConfigurationCreated,
    ConfigurationRefused,
    ConfigurationUpdated,
    RetentionPolicyChangeRefused,
    RetentionPolicyCreated,
    RetentionPolicyRefused,
    RetentionPolicyUpdated,
)
from contracts.event import Event
from contracts.gateway_events import Evidence, RetentionPolicyChangeSubmitted, RetentionPolicySubmitted
from contracts.retention import RetentionPolicyBody
from contracts.sealed import Sealed
from tests.component.config.test_changes import EVIDENCE, OTHER_STUDIO, PROVEN, STUDIO, Desk
from tests.support.configurations import body as configuration

pytestmark = pytest.mark.stack
POLICY = "policy-1"


def _policy(**changes: Any) -> RetentionPolicyBody:
    name = Sealed(key="organisation/studio-a/1", box=b"sealed name")
    whole = RetentionPolicyBody(name=name, keep_daily=30, minimum_days=30, maximum_days=365, lock_days=30)
    return msgspec.structs.replace(whole, **changes)


async def _submit(desk: Desk, body: RetentionPolicyBody, policy: str = POLICY) -> Event:
    request = RetentionPolicySubmitted(request_id=new_id(), retention_policy_id=policy, body=body, evidence=EVIDENCE)
    await desk.hear(request)
    return (await desk.told(policy))[-1]


async def _change(
    desk: Desk,
    body: RetentionPolicyBody,
    *,
    seen: int = 1,
    policy: str = POLICY,
    organisation: str = STUDIO,
    evidence: Evidence = EVIDENCE,
) -> Event:
    request = RetentionPolicyChangeSubmitted(
        request_id=new_id(), retention_policy_id=policy, expected_version=seen, body=body, evidence=evidence
    )
    await desk.hear(request, organisation)
    told = await desk.told(policy) + await desk.told(request.request_id)
    (answer,) = [event for event in told if getattr(event, "request_id", "") == request.request_id]
    return answer


async def test_policy_is_created_changed_and_never_thinned_unproven(desk: Desk) -> None:
    """More needs no second factor, less does, and what would be less is named; each change tells what was before."""
    created = await _submit(desk, _policy())
    assert isinstance(created, RetentionPolicyCreated)
    assert (created.version, created.body) == (1, _policy())
    more = _policy(keep_daily=31, maximum_days=None)
    updated = await _change(desk, more)
    assert isinstance(updated, RetentionPolicyUpdated)
    assert (updated.version, updated.before, updated.body) == (2, _policy(), more)
    refused = await _change(desk, _policy(lock_days=0), seen=2)
    assert isinstance(refused, RetentionPolicyChangeRefused)
    assert (refused.code, refused.field) == (errors.SECOND_FACTOR_NEEDED.code, "keepDaily")
    assert "keepDaily, maximumDays, lockDays" in refused.hint
    assert isinstance(await _change(desk, _policy(lock_days=0), seen=2, evidence=PROVEN), RetentionPolicyUpdated)


async def test_policy_that_contradicts_itself_is_refused_with_every_field(desk: Desk) -> None:
    """New or changed; what was refused is no policy, and another organisation's is none either."""
    wrong = _policy(minimum_days=400, lock_days=366)
    for answer in (await _submit(desk, wrong, "refused"), await _submit(desk, _policy()), await _change(desk, wrong)):
        if isinstance(answer, RetentionPolicyCreated):
            continue
        assert isinstance(answer, RetentionPolicyRefused | RetentionPolicyChangeRefused)
        assert [(each.code, each.field) for each in answer.wrong] == [
            (errors.RETENTION_CONTRADICTION.code, "minimumDays"),
            (errors.RETENTION_CONTRADICTION.code, "lockDays"),
        ]
    for nothing in (
        await _change(desk, _policy(), policy="refused"),
        await _change(desk, _policy(), policy="nothing"),
        await _change(desk, _policy(), policy="configuration-1"),
        await _change(desk, _policy(), organisation=OTHER_STUDIO),
    ):
        assert isinstance(nothing, RetentionPolicyChangeRefused)
        assert nothing.code == errors.RETENTION_POLICY_UNKNOWN.code


async def test_of_two_changes_of_one_version_of_a_policy_one_is_made(desk: Desk) -> None:
    """The other is told which version is in force."""
    await _submit(desk, _policy())
    answers = await asyncio.gather(*(_change(desk, _policy(keep_daily=31 + number)) for number in range(3)))
    refused = [answer for answer in answers if isinstance(answer, RetentionPolicyChangeRefused)]
    assert len(refused) == 2
    assert {(each.code, each.field) for each in refused} == {(errors.VERSION_CONFLICT.code, "If-Match")}


async def test_configuration_names_a_policy_that_is_there_and_none_that_keeps_less_unproven(desk: Desk) -> None:
    """New or changed; without one everything is kept, so that the first one keeps less."""
    await _submit(desk, _policy())
    await _submit(desk, _policy(keep_daily=31), "longer")
    await _submit(desk, _policy(minimum_days=400), "refused")
    for nothing in ("nothing", "refused", "configuration-1"):
        wrong = configuration("jones", retention_policy_id=nothing)
        for answer in (await desk.create(wrong, f"configuration-of-{nothing}"), await desk.change(wrong)):
            assert isinstance(answer, ConfigurationRefused | ConfigurationChangeRefused)
            assert (answer.code, answer.field) == (errors.RETENTION_POLICY_UNKNOWN.code, "retentionPolicyId")
    bound, longer = (configuration("smith", retention_policy_id=each) for each in (POLICY, "longer"))
    new = await desk.create(configuration("new", retention_policy_id=POLICY), "configuration-3")
    assert isinstance(new, ConfigurationCreated)
    steps = (
        (bound, EVIDENCE, False),
        (longer, PROVEN, True),
        (longer, EVIDENCE, True),
        (bound, EVIDENCE, False),
        (bound, PROVEN, True),
        (longer, EVIDENCE, True),
        (configuration("smith"), EVIDENCE, False),
    )
    seen = 1
    for said, evidence, is_made in steps:
        answer = await desk.change(said, seen=seen, evidence=evidence)
        assert isinstance(answer, ConfigurationUpdated) is is_made, answer
        if isinstance(answer, ConfigurationChangeRefused):
            assert (answer.code, answer.field) == (errors.SECOND_FACTOR_NEEDED.code, "retentionPolicyId")
        seen += is_made
