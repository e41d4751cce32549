"""The aggregate: what a configuration is after its events."""

import pytest

from contracts import errors
from contracts.config_events import ConfigurationCreated, ConfigurationRefused
from contracts.gateway_events import ConfigurationChangeSubmitted, ConfigurationSubmitted, Evidence
from contracts.refusal import Objection
from contracts.schedule import Schedule, Window
from services.config.domain import Configuration
from services.config.errors import SecondFactorNeeded
from tests.support.configurations import body


def test_created_configuration_is_in_force_as_version_1() -> None:
    """A creation carries the whole body and the request that it answers."""
    configuration = Configuration("configuration-1")
    configuration.create(request_id="request-1", body=body())
    assert configuration.pending == (
        ConfigurationCreated(request_id="request-1", configuration_id="configuration-1", version=1, body=body()),
    )
    assert (configuration.body, configuration.body_version, configuration.is_refused) == (body(), 1, False)


def test_refused_configuration_exists_as_its_refusal_alone() -> None:
    """A refusal says code, field and what to do, and leaves no body."""
    configuration = Configuration("configuration-1")
    request = ConfigurationSubmitted(
        request_id="request-1", configuration_id="configuration-1", body=body(), evidence=Evidence(assurance="aal1")
    )
    objection = Objection(errors.NO_DESTINATION, "storageDestinations", "Name one.")
    configuration.record(ConfigurationRefused.of(request, objection))
    assert configuration.pending == (
        ConfigurationRefused(
            request_id="request-1",
            configuration_id="configuration-1",
            code="no-destination",
            field="storageDestinations",
            hint="Name one.",
        ),
    )
    assert (configuration.body, configuration.is_refused) == (None, True)


def test_schedule_is_not_thinned_unproven_by_many_small_changes() -> None:
    """Each may widen by half, of where they began; what a second factor has proven counts from there."""
    steps = ("0 0,6,12,18 * * *", "0 0,5,10,15 * * *", "0 0,4,8,11 * * *", "0 0,2,4,6 * * *", "0,1,2,3 0 * * *")
    configuration = Configuration("configuration-1")
    configuration.create(request_id="request-1", body=body(schedule=Schedule(cron=steps[0])))
    _change(configuration, steps[1])
    for step in steps[2:]:
        with pytest.raises(SecondFactorNeeded) as refused:
            _change(configuration, step)
        assert refused.value.field == "schedule.cron"
    _change(configuration, steps[0])
    _change(configuration, steps[4], second_factor=True)
    _change(configuration, "0,1,2,4 0 * * *")
    with pytest.raises(SecondFactorNeeded):
        _change(configuration, "0 0 * * *")
    with pytest.raises(SecondFactorNeeded):
        _change(configuration, "0,1,2,3 0 * * *", is_later=True)


@pytest.mark.parametrize(
    ("is_critical", "window", "is_refused"),
    [
        (True, Window(start="02:00", end="04:00"), True),
        (False, Window(start="02:00", end="04:00"), False),
        (True, Window(start="22:00", end="05:00"), True),
        (True, None, False),
    ],
)
def test_window_of_a_critical_wedding_is_not_narrowed_unproven(
    is_critical: bool, window: Window | None, is_refused: bool
) -> None:
    """Near its date there are runs beyond those of the schedule, and a window takes most of them."""
    before = Schedule(cron="0 3 * * *", window=None if window else Window(start="02:00", end="04:00"))
    configuration = Configuration("configuration-1")
    configuration.create(request_id="request-1", body=body(schedule=before, is_wedding_critical=is_critical))
    request = ConfigurationChangeSubmitted(
        request_id="request",
        configuration_id=configuration.id,
        expected_version=1,
        body=body(schedule=Schedule(cron="0 3 * * *", window=window), is_wedding_critical=is_critical),
        evidence=Evidence(assurance="aal1"),
    )
    if not is_refused:
        configuration.change(request, None)
        return
    with pytest.raises(SecondFactorNeeded) as refused:
        configuration.change(request, None)
    assert refused.value.field == "schedule.window"


@pytest.mark.parametrize("is_critical", [True, False])
def test_zone_of_a_critical_wedding_is_not_changed_unproven(is_critical: bool) -> None:
    """By another zone the same window keeps out other hours, and the days with more runs are others."""
    window = Window(start="08:00", end="20:00")
    configuration = Configuration("configuration-1")
    before, after = (Schedule(cron="0 9 * * *", window=window, time_zone=zone) for zone in ("UTC", "Etc/GMT-12"))
    configuration.create(request_id="request-1", body=body(schedule=before, is_wedding_critical=is_critical))
    request = ConfigurationChangeSubmitted(
        request_id="request",
        configuration_id=configuration.id,
        expected_version=1,
        body=body(schedule=after, is_wedding_critical=is_critical),
        evidence=Evidence(assurance="aal1"),
    )
    if not is_critical:
        configuration.change(request, None)
        return
    with pytest.raises(SecondFactorNeeded) as refused:
        configuration.change(request, None)
    assert refused.value.field == "schedule.timeZone"


def _change(configuration: Configuration, cron: str, *, second_factor: bool = False, is_later: bool = False) -> None:
    request = ConfigurationChangeSubmitted(
        request_id="request",
        configuration_id=configuration.id,
        expected_version=configuration.body_version,
        body=body(schedule=Schedule(cron=cron)),
        evidence=Evidence(assurance="aal2" if second_factor else "aal1", second_factor=second_factor),
    )
    configuration.change(request, None, is_later=is_later)
