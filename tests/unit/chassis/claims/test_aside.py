"""What a worker has set aside, as the readiness report tells it."""

from chassis.claims.aside import SetAside
from chassis.life.health import Health
from contracts import errors
from contracts.errors import PlatformError
from tests.support.eventually import eventually


async def test_what_is_not_set_aside_any_more_is_not_told_of_any_more() -> None:
    """When one of two is over, the report names the other alone, with the other's reason."""
    health = Health("executor")
    aside = SetAside(health, noun="run")
    aside.add("run-1", PlatformError(errors.EVENT_UNREADABLE, "the first reason"), seconds=0.5)
    await eventually(lambda: not aside.ids())
    assert (await health.report()).status == "ready"

    patient = SetAside(health, noun="run")
    patient.add("run-2", PlatformError(errors.CONFIGURATION_UNREADABLE, "the second reason"), seconds=0.5)
    patient.add("run-1", PlatformError(errors.EVENT_UNREADABLE, "the first reason"), seconds=3600.0)
    assert "2 runs are set aside" in str((await health.report()).checks[-1].reason)
    await eventually(lambda: patient.ids() == ["run-1"])
    (told,) = (await health.report()).checks
    assert (told.reason or "").startswith("1 runs are set aside, such as run-1. Its attempt at ")
    assert "UTC met: the first reason. The next one is at " in (told.reason or "")
    assert told.code == "event-unreadable"


async def test_what_was_set_aside_for_a_cause_is_due_when_its_check_turns_well() -> None:
    """Whoever put a key back waits for no pause; what has another cause is left alone as long as it was to be."""
    health, trouble = Health("executor"), [PlatformError(errors.KEYS_UNUSABLE, "the key is gone")]

    async def check() -> PlatformError | None:
        return trouble[0] if trouble else None

    health.add("repository-keys", check, worst="degraded")
    aside = SetAside(health, noun="run")
    aside.pause("run-1", trouble[0], troubles=40)
    aside.pause("run-2", PlatformError(errors.KEYS_UNREACHABLE, "the folder hangs"), troubles=40)
    assert max(each.seconds for each in aside._aside.values()) <= 60.0
    await health.report()
    assert aside.ids() == ["run-1", "run-2"]
    trouble.clear()
    await health.report()
    assert aside.ids() == ["run-2"]
