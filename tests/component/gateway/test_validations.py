"""Validations at the API: what is shown of them and of the points whose tiers they have read, and to whom."""

import msgspec
import pytest

from chassis.ids import new_id
from contracts.samples import sample_event
from contracts.validation_events import (
    RecoveryPointCorrupted,
    RecoveryPointVerified,
    RecoveryValidationPreparing,
    RecoveryValidationStarted,
    TierValidated,
    TierWholeness,
    ValidationDepth,
)
from tests.support.gateway import RunningGateway, problem_code

pytestmark = pytest.mark.stack

LOCAL = TierValidated(tier="local", location="local", verdict=TierWholeness.WHOLE, harms_point=False, read_bytes=7)


async def test_validation_is_shown_to_its_end_and_its_point_says_what_was_proven(gateway: RunningGateway) -> None:
    """What was found is shown by the validation and by the point, and to nobody else; a viewer asks for none."""
    elsewhere, viewer = gateway.http("owner", organisation="another"), gateway.http("viewer")
    async with gateway.http("operator") as http, gateway.http("owner") as owner, elsewhere as other, viewer as reader:
        configuration = (await gateway.create_configuration(owner))["id"]
        point = await gateway.facts.accepted(configuration_id=configuration)
        await gateway.facts.complete(point, configuration)
        shown = await gateway.shows(f"/api/backup/recovery-points/{point}", lambda _: True)
        assert (shown["lastProven"], shown["lastDamaged"]) == ([], [])
        body = {"recoveryPointId": point, "depth": "whole", "tiers": ["local", "local"]}
        path, key = "/api/backup/recovery/validate", {"Idempotency-Key": new_id()}
        assert (await reader.post(path, json=body, headers=key)).status_code == 403
        unknown = await http.post(path, json={"recoveryPointId": new_id()}, headers=key)
        assert (problem_code(unknown), unknown.json()["field"]) == ("recovery-point-unknown", "recoveryPointId")
        strange = await other.post(path, json=body, headers={"Idempotency-Key": new_id()})
        assert problem_code(strange) == "recovery-point-unknown"
        asked = await http.post(path, json=body, headers=key)
        assert (asked.status_code, asked.json()["state"]) == (202, "accepted"), asked.text
        path = asked.json()["resource"]
        validation = path.rpartition("/")[2]

        of = {"validation_id": validation, "recovery_point_id": point, "configuration_id": configuration}
        verified = msgspec.structs.replace(sample_event(RecoveryPointVerified), tiers=(LOCAL,), degraded=False, **of)
        await gateway.facts.publish(RecoveryValidationPreparing(validation_id=validation, fence=1, worker="w"))
        await gateway.facts.publish(RecoveryValidationStarted(validation_id=validation, fence=1))
        await gateway.facts.publish(verified)
        shown = await gateway.shows(path, lambda shown: shown["state"] == "completed")
        assert (shown["result"]["verdict"], shown["degraded"], shown["result"]["readBytes"]) == ("whole", False, 7)
        listed = (await http.get("/api/backup/recovery/validations", params={"recoveryPointId": point})).json()["items"]
        assert [each["id"] for each in listed] == [validation]
        assert (await other.get(path)).status_code == 404
        assert (await other.get("/api/backup/recovery/validations")).json()["items"] == []
        shown = await gateway.shows(f"/api/backup/recovery-points/{point}", lambda shown: shown["lastProven"])
        (proven,) = shown["lastProven"]
        assert (proven["tier"], proven["depth"], proven["validationId"]) == ("local", "whole", validation)

        damaged = msgspec.structs.replace(LOCAL, verdict=TierWholeness.DAMAGED, harms_point=True, damages=1)
        corrupted = msgspec.structs.replace(
            sample_event(RecoveryPointCorrupted), tiers=(damaged,), **{**of, "validation_id": new_id()}
        )
        await gateway.facts.publish(corrupted)
        shallow = msgspec.structs.replace(verified, depth=ValidationDepth.STRUCTURE, validation_id=new_id())
        await gateway.facts.publish(shallow)
        seen = f"/api/backup/recovery-points/{point}"
        # A shallower look does not take back what a deeper one has found.
        shown = await gateway.shows(seen, lambda shown: shown["lastProven"][0]["depth"] == "structure")
        assert [each["validationId"] for each in shown["lastDamaged"]] == [corrupted.validation_id]
        await gateway.facts.publish(msgspec.structs.replace(verified, validation_id=new_id()))
        await gateway.shows(seen, lambda shown: shown["lastDamaged"] == [])
