"""Which use case deals with which event of the bus."""

from typing import Any

import pytest

from chassis.bus.use_cases import handlers_of
from chassis.context import Context
from chassis.handling import TRIES, Handled, Handling, UseCase, deal_with
from chassis.record.unanswered import RefusedAs, Unanswered
from contracts import errors
from contracts.config_events import ConfigurationCreated, ConfigurationRefused
from contracts.errors import PlatformError
from contracts.event import Event, pinned_events
from contracts.gateway_events import BackupRequested, ConfigurationSubmitted
from contracts.streams import consumer_named
from services.config.domain import Configuration
from tests.support.messages import backup_requested

HANDLING = Handling(
    context=Context(organisation="acme", actor="user:u1", correlation_id="c"), handled=Handled("consumer", "event")
)


def _refusing(*requests: type[Event]) -> Unanswered:
    store: Any = None
    return Unanswered(store, "config", Configuration, dict.fromkeys(requests, RefusedAs(ConfigurationRefused)))


async def _nothing(_event: object, _handling: Handling) -> None:
    """Deals with everything."""


def test_use_case_is_bound_to_the_consumer_that_its_event_declares() -> None:
    """Name and filter follow from the event."""
    taken = [event for event in pinned_events().values() if any(name.startswith("config--") for name in event.TAKEN_BY)]
    consumers = {
        consumer.durable_name: consumer
        for consumer, _, _ in handlers_of("config", dict.fromkeys(taken, _nothing), _refusing(*taken))
    }
    consumer = consumers["config--create-configuration"]
    assert consumer == consumer_named("config--create-configuration")
    assert (consumer.stream, consumer.subjects) == (
        "BACKUP_GATEWAY",
        ("backup.gateway.*.configuration-submitted.*",),
    )


@pytest.mark.parametrize(
    ("events", "named"),
    [
        ([], "config--create-configuration"),
        ([ConfigurationSubmitted, BackupRequested], BackupRequested.NAME),
        ([ConfigurationSubmitted, ConfigurationCreated], ConfigurationCreated.NAME),
    ],
)
def test_service_does_not_start_with_an_event_left_out_or_one_that_it_is_never_given(
    events: list[type[Event]], named: str
) -> None:
    """What nobody deals with would lie in its queue, and what is not taken would never come."""
    use_cases: dict[type[Event], UseCase] = dict.fromkeys(events, _nothing)
    with pytest.raises(ValueError, match=named):
        list(handlers_of("config", use_cases, _refusing(*events)))


def test_service_does_not_start_with_a_request_that_nothing_refuses_where_it_is_given_up() -> None:
    """Whoever asked would wait for ever."""
    taken = [event for event in pinned_events().values() if any(name.startswith("config--") for name in event.TAKEN_BY)]
    left_out = _refusing(*(event for event in taken if event is not ConfigurationSubmitted))
    with pytest.raises(ValueError, match=ConfigurationSubmitted.NAME):
        list(handlers_of("config", dict.fromkeys(taken, _nothing), left_out))


@pytest.mark.parametrize(("changes", "calls"), [(TRIES - 1, TRIES), (TRIES, TRIES)])
async def test_decision_is_made_anew_where_something_changed_meanwhile_but_not_for_ever(
    changes: int, calls: int
) -> None:
    """Who goes on meeting changes is asked again later."""
    called = 0

    async def decide(event: BackupRequested, handling: Handling) -> None:
        nonlocal called
        called += 1
        assert (event, handling) == (backup_requested(), HANDLING)
        if called <= changes:
            raise PlatformError(errors.CONCURRENT_CHANGE, "changed meanwhile")

    if changes < TRIES:
        await deal_with(decide, backup_requested(), HANDLING)
    else:
        with pytest.raises(PlatformError):
            await deal_with(decide, backup_requested(), HANDLING)
    assert called == calls


async def test_refusal_that_nothing_changes_is_told_at_once() -> None:
    """Another try is for changes alone."""
    called = 0

    async def decide(_event: object, _handling: Handling) -> None:
        nonlocal called
        called += 1
        raise PlatformError(errors.NOT_FOUND, "there is none")

    with pytest.raises(PlatformError):
        await deal_with(decide, backup_requested(), HANDLING)
    assert called == 1
