"""From a delivered event to the use case that deals with it: the same for every service and every event."""

from collections.abc import Iterator, Mapping
from functools import partial

from chassis.bus.subscriptions import Handler, Received
from chassis.context import Context
from chassis.handling import Handled, Handling, UseCase, deal_with
from chassis.record.unanswered import GiveUp, Unanswered
from contracts.event import Event
from contracts.streams import CONSUMERS, ConsumerSpec

REQUESTS = "gateway"
"""Whose events ask for something, each of them."""


def handlers_of(
    service: str, use_cases: Mapping[type[Event], UseCase], unanswered: Unanswered
) -> Iterator[tuple[ConsumerSpec, Handler, GiveUp | None]]:
    """For each consumer of a service what the bus is to call (`Bus.handle`), by the events that the use cases take.

    Raises ValueError where nothing deals with an event that the service takes, or one is given that it does not take,
    or nothing refuses a request whose message is given up.
    """
    consumers = {spec.durable_name: spec for spec in CONSUMERS if spec.service == service}
    taken = {name: event for event in use_cases for name in event.TAKEN_BY if name in consumers}
    strange = [event.NAME for event in use_cases if event not in taken.values()]
    if strange or taken.keys() != consumers.keys():
        left_out = sorted(consumers.keys() - taken.keys())
        raise ValueError(f"of {service} nothing deals with {left_out}, and it does not take {strange}")
    for name, event in taken.items():
        give_up = unanswered.giving_up(event)
        if give_up is None and event.NAME.startswith(f"{REQUESTS}."):
            raise ValueError(f"of {service} nothing refuses {event.NAME} where its message is given up")
        yield consumers[name], partial(_call, service, event, use_cases[event]), give_up


async def _call(service: str, event: type[Event], use_case: UseCase, received: Received) -> None:
    assert isinstance(received.event, event)  # noqa: S101  # the consumer's filter lets nothing else through
    envelope = received.envelope
    handling = Handling(
        context=Context.caused_by(envelope, actor=f"service:{service}", traceparent=received.traceparent),
        handled=Handled(received.consumer, envelope.id),
        deliveries=received.deliveries,
        actor=envelope.actor,
    )
    await deal_with(use_case, received.event, handling)
