"""Publishing in a chain: what the server refuses is heard at once, and counts for nothing."""

import time
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from chassis.outbox.chained import ACK_SECONDS, ChainedPublisher, Message
from contracts import errors
from contracts.errors import PlatformError
from contracts.subjects import JETSTREAM_API
from deploy.nats.permissions import Identity
from tests.component.chassis.record_fixtures import SERVICE, STREAM, stored_messages
from tests.support.nats_server import NatsServer

pytestmark = pytest.mark.stack

STRAY = Identity(
    name="stray",
    publish=(
        *(f"{JETSTREAM_API}.STREAM.{verb}.{STREAM}" for verb in ("INFO", "MSG.GET")),
        f"backup.{SERVICE}.>",
        "backup.config.>",
        "nobody.>",
    ),
    subscribe=("_INBOX_stray.>",),
    is_apart=True,
)
"""An account as a service has it, that may also publish what no service may."""


@pytest.fixture
async def stray(own_nats: NatsServer) -> AsyncIterator[ChainedPublisher]:
    """A publisher at the end of the empty stream, who goes astray."""
    own_nats.stop()
    own_nats.also = (STRAY,)
    own_nats.start()
    await own_nats.apply()
    async with own_nats.connected(STRAY.name) as client:
        opened = ChainedPublisher(client, STREAM)
        await opened.look()
        yield opened
        await opened.close()


def _message(number: int, subject: str = f"backup.{SERVICE}.org.x.v1") -> Message:
    return Message(f"log:{number}", subject, b"{}", {"Wedsync-Log": "log", "Wedsync-Position": str(number)})


@pytest.fixture
async def client(own_nats: NatsServer) -> AsyncIterator[Client]:
    """A client with the service's own identity, over an empty stream."""
    await own_nats.apply()
    async with own_nats.connected(SERVICE) as opened:
        yield opened


@pytest.fixture
async def publisher(client: Client) -> AsyncIterator[ChainedPublisher]:
    """A publisher at the end of the empty stream."""
    opened = ChainedPublisher(client, STREAM)
    await opened.look()
    yield opened
    await opened.close()


async def test_chain_goes_on_from_window_to_window(publisher: ChainedPublisher, own_nats: NatsServer) -> None:
    """Messages are in the stream in their order, across calls."""
    assert await publisher.append([_message(1), _message(2)]) == (2, None)
    assert await publisher.append([_message(3)]) == (1, None)
    assert [identity for identity, _ in await stored_messages(own_nats)] == ["log:1", "log:2", "log:3"]


async def test_look_shows_the_end_of_the_stream(publisher: ChainedPublisher) -> None:
    """The last message says how far its log was published."""
    await publisher.append([_message(7)])
    view = await publisher.look()
    assert (view.first_sequence, view.last_sequence, view.lost) == (1, 1, 0)
    assert view.tail is not None
    assert (view.tail.message_id, view.tail.incarnation, view.tail.position) == ("log:7", "log", 7)


async def test_another_publisher_breaks_the_chain_at_once(publisher: ChainedPublisher, own_nats: NatsServer) -> None:
    """Behind a stranger's message nothing is taken until the end was looked at again, and that is known at once."""
    await publisher.append([_message(1)])
    async with own_nats.connected() as stranger:
        await stranger.jetstream().publish(f"backup.{SERVICE}.org.x.v1", b"{}")
    begin = time.monotonic()
    taken, failure = await publisher.append([_message(2), _message(3)])
    assert taken == 0
    assert "10070" in str(failure)
    assert time.monotonic() - begin < ACK_SECONDS
    await publisher.look()
    assert await publisher.append([_message(2), _message(3)]) == (2, None)


async def test_subject_that_no_stream_takes_is_told_at_once(stray: ChainedPublisher) -> None:
    """What was taken before the one that is refused counts; the rest does not."""
    begin = time.monotonic()
    taken, failure = await stray.append([_message(1), _message(2, "nobody.listens.here"), _message(3)])
    assert (taken, str(failure)) == (1, "the stream did not take an event: no stream takes this subject")
    assert time.monotonic() - begin < ACK_SECONDS


async def test_subject_of_another_stream_is_refused(stray: ChainedPublisher) -> None:
    """An event that would land in another service's stream is refused by the server."""
    taken, failure = await stray.append([_message(1, "backup.config.org.x.v1")])
    assert (taken, str(failure)) == (0, "the stream did not take an event: server error 10060")


async def test_answer_that_cannot_be_read_counts_as_none(own_nats: NatsServer, stray: ChainedPublisher) -> None:
    """Whoever answers in the server's place with something else is not believed."""

    async def answer(message: Msg) -> None:
        await message.respond(b"[1]")

    async with own_nats.connected() as anyone:
        await anyone.subscribe("nobody.else", cb=answer)
        await anyone.flush()
        taken, failure = await stray.append([_message(1, "nobody.else")])
        assert (taken, str(failure)) == (0, "the stream did not take an event: the answer cannot be read")


async def test_closed_connection_takes_nothing(own_nats: NatsServer, publisher: ChainedPublisher) -> None:
    """A publisher whose connection was closed says so, for publishing and for looking."""
    client = await own_nats.client(SERVICE)
    closed = ChainedPublisher(client, STREAM)
    await closed.look()
    await closed.append([_message(1)])
    await client.close()
    taken, failure = await closed.append([_message(2)])
    assert (taken, str(failure)) == (0, "the stream did not take an event: ConnectionClosedError")
    with pytest.raises(PlatformError) as refused:
        await closed.look()
    assert refused.value.code is errors.UNAVAILABLE
    await closed.close()


async def test_stream_that_is_not_there_is_missing(own_nats: NatsServer) -> None:
    """A stream that was never declared is told apart from a server that does not answer."""
    async with own_nats.connected(SERVICE) as client:
        with pytest.raises(PlatformError) as refused:
            await ChainedPublisher(client, STREAM).look()
    assert refused.value.code is errors.STREAM_MISSING
