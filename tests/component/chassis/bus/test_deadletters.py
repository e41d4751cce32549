"""Dead letters: kept, listed, shown, replayed; as library calls and from the command line."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from nats.js import JetStreamContext

from chassis.bus import deadletters, topology
from chassis.bus.consumer_watch import ConsumerWatch
from chassis.bus.deadletters import Burial, bury, list_letters, replay, show
from chassis.bus.lost_letters import ACCEPTED
from chassis.bus.subscriptions import Received
from chassis.life.health import DEGRADED, Finding, Health
from chassis.telemetry.instruments import Telemetry
from cli.exit_codes import ExitCode
from cli.main import main
from contracts import errors
from contracts.envelope import encode
from contracts.errors import PlatformError
from contracts.streams import DEAD_LETTER_STREAM, consumer_named, stream_of
from deploy.nats.permissions import TOPOLOGY
from deploy.stack.layout import Layout
from deploy.stack.state import HomeLock
from tests.support.bus_process import BusProcess, letters
from tests.support.eventually import eventually
from tests.support.messages import backup_requested, envelope_of, publish
from tests.support.nats_server import NatsServer

pytest_plugins = ["tests.support.nats_server"]
pytestmark = pytest.mark.stack

ACCEPT = consumer_named("executor--accept-backup")
MAX = 1024 * 1024


def _burial(sequence: int = 1, **changes: object) -> Burial:
    burial = Burial(
        version=1,
        service="executor",
        handler="accept-backup",
        code="handler-failed",
        cause="ValueError at services.executor.handlers.accept:1",
        deliveries=12,
        time=datetime(2026, 6, 13, 9, 30, tzinfo=UTC),
        stream=ACCEPT.stream,
        sequence=sequence,
        subject="backup.gateway.studio-a.backup-requested.v1",
        headers={"ce-id": f"event-{sequence}", "Nats-Msg-Id": "log:1"},
    )
    return msgspec.structs.replace(burial, **changes)


async def test_dead_letter_is_found_again_as_it_was_buried(own_nats: NatsServer) -> None:
    """Bytes, cause, place and headers come back, whatever they hold."""
    await own_nats.apply()
    async with own_nats.connected("executor") as client:
        js = client.jetstream()
        cause = 'Größe ← ö: "quoted" \\ 🎂\nsecond line'
        await bury(js, _burial(cause=cause), b"\x00\xff", max_payload=MAX)
    async with own_nats.connected(TOPOLOGY) as client:
        (letter,) = await letters(client.jetstream())
        assert letter.body == b"\x00\xff"
        assert letter.burial == _burial(cause=cause)


async def test_same_delivery_is_buried_once(own_nats: NatsServer) -> None:
    """A crash between the burial and taking the message from its queue leaves one dead letter."""
    await own_nats.apply()
    async with own_nats.connected("executor") as client:
        js = client.jetstream()
        for deliveries in (12, 13):
            await bury(js, _burial(deliveries=deliveries), b"{}", max_payload=MAX)
        await bury(js, _burial(2), b"{}", max_payload=MAX)
    async with own_nats.connected(TOPOLOGY) as client:
        assert [letter.burial.sequence for letter in await letters(client.jetstream())] == [1, 2]


async def test_list_filters_by_service_handler_and_replay(own_nats: NatsServer) -> None:
    """An operator sees what is still to be looked at, of one service or handler."""
    await own_nats.apply()
    async with own_nats.connected() as client:
        js = client.jetstream()
        await bury(js, _burial(1), b"1", max_payload=MAX)
        await bury(js, _burial(2, handler="replicate-configuration"), b"2", max_payload=MAX)
        await bury(js, _burial(3, service="config", handler="create-configuration"), b"3", max_payload=MAX)

        async def bodies(**filters: object) -> list[bytes]:
            return [letter.body async for letter in list_letters(js, **filters)]  # type: ignore[arg-type]

        assert await bodies() == [b"1", b"2", b"3"]
        assert await bodies(service="executor") == [b"1", b"2"]
        assert await bodies(handler="create-configuration") == [b"3"]
        assert await bodies(after=1) == [b"2", b"3"]
        await replay(js, await show(js, 2))
        assert await bodies() == [b"1", b"3"]
        assert await bodies(include_replayed=True) == [b"1", b"2", b"3"]
        assert (await show(js, 2)).replays == 1
        for number in (4, 5, 99):  # by hand, a replay, nothing
            with pytest.raises(PlatformError) as caught:
                await show(js, number)
            assert caught.value.code is errors.NOT_FOUND


async def test_dead_letter_of_another_service_cannot_be_written(own_nats: NatsServer) -> None:
    """A service that writes in another's name gets nothing replayed, and hides nothing: its own name stands there."""
    await own_nats.apply()
    async with own_nats.connected("config") as client:
        forged = {deadletters.HEADER: deadletters._header(_burial())}
        unreadable = {deadletters.HEADER: "{"}
        for headers in (forged, unreadable):
            await client.jetstream().publish("deadletter.config.create-configuration", b"{}", headers=headers)
    async with own_nats.connected("executor") as client:
        await bury(client.jetstream(), _burial(2), b"2", max_payload=MAX)
    async with own_nats.connected(TOPOLOGY) as client:
        js = client.jetstream()
        found = await letters(js)
        assert [(letter.burial.service, letter.unreadable is None) for letter in found] == [
            ("config", False),
            ("config", False),
            ("executor", True),
        ]
        for letter in found[:2]:
            with pytest.raises(PlatformError) as caught:
                await replay(js, letter)
            assert caught.value.code is errors.MALFORMED_MESSAGE


async def test_replay_reaches_the_handler_that_gave_up_and_nothing_else(own_nats: NatsServer) -> None:
    """After the cause is mended the same message succeeds; the stream that mirrors a record gets nothing added."""
    await own_nats.apply()
    is_mended = False
    got: list[Received] = []

    async def accept(received: Received) -> None:
        if not is_mended:
            raise PlatformError(errors.RUN_FINISHED, "the run has ended")
        got.append(received)

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, accept)):
        js = client.jetstream()
        envelope = envelope_of(backup_requested())
        await publish(js, envelope)
        (letter,) = await eventually(lambda: letters(js))
        is_mended = True
        await replay(js, letter)
        await replay(js, letter)  # a slip of the finger
        await eventually(lambda: got)
        assert got[0].envelope == envelope
        # The inbox knows the message under the name of the first delivery's consumer.
        assert got[0].consumer == ACCEPT.durable_name
        assert (await js.stream_info(ACCEPT.stream)).state.messages == 1
        assert await letters(js, include_replayed=False) == []
        await eventually(lambda: _is_read(js))
        assert len(got) == 1


async def _is_read(js: JetStreamContext) -> bool:
    info = await js.consumer_info(DEAD_LETTER_STREAM, f"{ACCEPT.durable_name}--replay")
    return info.num_pending == 0 and info.num_ack_pending == 0


async def test_replay_that_fails_is_a_new_dead_letter_that_names_the_first(own_nats: NatsServer) -> None:
    """Nothing is lost by replaying too early, and the chain can be followed."""
    await own_nats.apply()

    async def accept(_: Received) -> None:
        raise PlatformError(errors.RUN_FINISHED, "the run has ended")

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, accept)):
        js = client.jetstream()
        await publish(js, envelope_of(backup_requested()))
        (first,) = await eventually(lambda: letters(js))
        await replay(js, first)
        (second,) = await eventually(lambda: letters(js, include_replayed=False))
        assert second.burial.replay_of == first.number
        assert (second.burial.service, second.burial.handler) == ("executor", "accept-backup")
        assert second.body == first.body
        assert deadletters.REPLAY_HEADER not in second.burial.headers


async def test_large_message_is_kept_by_reference_and_replayed_from_its_stream(own_nats: NatsServer) -> None:
    """A message that fits the server, but not together with its cause, is not a reason to lose either."""
    await own_nats.apply()
    got: list[int] = []
    fails = True

    async def accept(received: Received) -> None:
        if fails:
            raise PlatformError(errors.RUN_FINISHED, "the run has ended")
        got.append(len(encode(received.envelope)))

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, accept)):
        js = client.jetstream()
        envelope = envelope_of(msgspec.structs.replace(backup_requested(), configuration_id="x" * (MAX - 1500)))
        await publish(js, envelope)
        (letter,) = await eventually(lambda: letters(js))
        assert (letter.body, letter.burial.body_omitted) == (b"", True)
        fails = False
        await replay(js, letter)
        await eventually(lambda: got == [len(encode(envelope))])
        await js.delete_stream(ACCEPT.stream)
        await own_nats.apply()
        with pytest.raises(PlatformError, match="is gone") as caught:
            await replay(js, letter)
        assert caught.value.code is errors.NOT_FOUND


async def test_headers_that_are_too_large_are_left_out(own_nats: NatsServer) -> None:
    """Headers as large as a message do not keep a dead letter from being written."""
    await own_nats.apply()
    async with own_nats.connected("executor") as client:
        js = client.jetstream()
        await bury(js, _burial(headers={"Weird": "y" * (MAX - 100)}, cause="c" * 5000), b"{}", max_payload=MAX)
    async with own_nats.connected(TOPOLOGY) as client:
        (letter,) = await letters(client.jetstream())
        assert letter.burial.headers == {}
        assert letter.burial.body_omitted
        assert len(letter.burial.cause) == 2000


async def test_missing_stream_and_silent_server_have_codes(own_nats: NatsServer) -> None:
    """An operator is told whether to apply the topology or to start the server."""
    async with own_nats.connected() as client:
        js = client.jetstream(timeout=0.3)
        with pytest.raises(PlatformError) as caught:
            await letters(js)
        assert caught.value.code is errors.STREAM_MISSING
        with pytest.raises(PlatformError) as caught:
            await bury(js, _burial(), b"", max_payload=MAX)
        assert caught.value.code is errors.UNAVAILABLE
        await own_nats.apply()
        await bury(js, _burial(), b"", max_payload=MAX)
        (letter,) = await letters(js)
        await js.delete_stream(DEAD_LETTER_STREAM)
        with pytest.raises(PlatformError) as caught:
            await replay(js, letter)
        assert caught.value.code is errors.UNAVAILABLE
        own_nats.kill()
        with pytest.raises(PlatformError) as caught:
            await letters(js)
        assert caught.value.code is errors.UNAVAILABLE


# The command line


@pytest.fixture
def home(own_nats: NatsServer, tmp_path: Path) -> Iterator[Path]:
    """A home that points at the test's server, with three dead letters in it, held as if by a supervisor."""
    layout = Layout.create(tmp_path / "home")
    layout.remembered.ports["nats"] = own_nats.port
    layout.remember()
    (layout.nats_seeds / f"{TOPOLOGY}.seed").write_bytes(own_nats.seed_file(TOPOLOGY).read_bytes())

    async def fill() -> None:
        await own_nats.apply()
        async with own_nats.connected() as client:
            js = client.jetstream()
            await bury(js, _burial(1), encode(envelope_of(backup_requested())), max_payload=MAX)
            await bury(js, _burial(2, code="malformed-message"), b"\x00\xffbytes", max_payload=MAX)
            await bury(
                js, _burial(3, service="config", handler="create-configuration"), b"bell \x07 rings\n", max_payload=MAX
            )
            await bury(js, _burial(4, body_omitted=True, replay_of=1), b"", max_payload=MAX)

    asyncio.run(fill())
    lock = HomeLock(layout.lock_file)
    assert lock.acquire()
    yield layout.home
    lock.release()


def _cli(home: Path, capsys: pytest.CaptureFixture[str], words: Sequence[str]) -> tuple[int, str]:
    code = main(["deadletters", words[0], "--home", str(home), *words[1:]])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_command_lists_and_filters(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One look shows number, time, handler, code and cause."""
    code, text = _cli(home, capsys, ["list"])
    assert code == 0
    assert "     1  2026-06-13 09:30:00Z  executor/accept-backup  handler-failed" in text
    assert "ValueError at services.executor.handlers.accept:1" in text
    assert len(text.splitlines()) == 8
    assert len(_cli(home, capsys, ["list", "--service", "config"])[1].splitlines()) == 2
    assert len(_cli(home, capsys, ["list", "--code", "malformed-message"])[1].splitlines()) == 2
    assert _cli(home, capsys, ["list", "--handler", "nobody"])[1] == "There are no dead letters.\n"
    lines = _cli(home, capsys, ["list", "--json"])[1].splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2, 3, 4]
    assert json.loads(lines[0])["headers"]["ce-id"] == "event-1"


def test_command_shows_any_message_safely(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON is indented, bytes are hex, and no control code reaches the terminal."""
    code, text = _cli(home, capsys, ["show", "1"])
    assert code == 0
    assert '"requestId": "request-1"' in text
    assert f"message 1 of {stream_of('gateway')}" in text
    assert "ce-id: event-1" in text
    assert "00 ff 62 79 74 65 73" in _cli(home, capsys, ["show", "2"])[1]
    assert "bell \\x07 rings" in _cli(home, capsys, ["show", "3"])[1]
    omitted = _cli(home, capsys, ["show", "4"])[1]
    assert "too large to be kept" in omitted
    assert "replay of 1" in omitted
    body = json.loads(_cli(home, capsys, ["show", "1", "--json"])[1])
    assert json.loads(body["body"])["id"] == "event-gateway-1"
    code, text = _cli(home, capsys, ["show", "99"])
    assert code != 0
    assert "not-found" in text


def test_command_replays_some_or_all(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was replayed leaves the list, and a wrong number replays nothing."""
    assert _cli(home, capsys, ["replay", "1", "99"])[0] != 0
    assert _cli(home, capsys, ["replay"])[0] != 0
    assert _cli(home, capsys, ["replay", "1", "--all"])[0] != 0
    assert len(_cli(home, capsys, ["list", "--json"])[1].splitlines()) == 4
    code, text = _cli(home, capsys, ["replay", "1"])
    assert (code, text.splitlines()[0]) == (0, "replayed 1 to executor/accept-backup")
    assert _cli(home, capsys, ["replay", "--all", "--service", "config", "--json"]) == (0, '{"replayed": 3}\n')
    assert len(_cli(home, capsys, ["list", "--json"])[1].splitlines()) == 2
    assert len(_cli(home, capsys, ["list", "--all"])[1].splitlines()) == 8
    assert (
        "replayed 1×"
        in _cli(home, capsys, ["show", "1"])[1].replace("  ", " ") + _cli(home, capsys, ["list", "--all"])[1]
    )
    assert _cli(home, capsys, ["replay", "--all", "--service", "config"]) == (0, "There was nothing to replay.\n")


def test_command_dismisses_and_keeps_the_reason(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What needs no replay is no longer in the list; the letter stays, with what an operator said of it."""
    reason = ["--reason", "the studio has deleted it"]
    code, text = _cli(home, capsys, ["dismiss", "2", "99", *reason])
    assert code != 0
    assert "there is no dead letter 99" in text
    assert "dismissed" not in _cli(home, capsys, ["list"])[1], "a wrong number dismisses nothing"
    assert _cli(home, capsys, ["dismiss", "2", *reason]) == (0, "dismissed 2 of executor/accept-backup; it is kept\n")
    assert len(_cli(home, capsys, ["list"])[1].splitlines()) == 6
    assert "malformed-message, dismissed" in _cli(home, capsys, ["list", "--all"])[1]
    text = _cli(home, capsys, ["show", "2"])[1]
    assert "Z: the studio has deleted it" in text
    assert "00 ff 62 79" in text
    assert json.loads(_cli(home, capsys, ["show", "2", "--json"])[1])["dismissal"]["reason"] == reason[1]
    for words in (["dismiss", "2", *reason], ["replay", "2"]):
        code, text = _cli(home, capsys, words)
        assert code != 0, "what is left would be counted too low"
        assert "was dismissed" in text
        assert "Correct the named field" not in text
    code, text = _cli(home, capsys, ["replay", "1"])
    assert code == 0
    assert "told not-handled, the replay does nothing" in text
    assert "was replayed before" in _cli(home, capsys, ["dismiss", "1", *reason])[1]


def test_dead_letter_that_cannot_be_read_is_listed_and_can_be_dismissed(
    own_nats: NatsServer, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It keeps its service degraded as any other: an operator finds it by its number, and settles it with a reason."""
    watch = ConsumerWatch(
        connection := own_nats.connection("executor", Telemetry("executor"), health := Health("executor")),
        "executor",
        telemetry=Telemetry("executor"),
        health=health,
    )
    watch.add(ACCEPT, is_replay=False)

    async def bury_unreadable() -> None:
        async with own_nats.connected("executor") as client:
            for headers in ({deadletters.HEADER: "{}", "Nats-Msg-Id": "log:7\x1b"}, None):
                await client.jetstream().publish("deadletter.executor.accept-backup", b"\x07", headers=headers)

    async def is_told_of() -> bool:
        await connection.start()
        try:
            await watch._count_dead_letters()
        finally:
            await connection.stop()
        return (await health.report()).status == DEGRADED

    asyncio.run(bury_unreadable())
    code, text = _cli(home, capsys, ["list"])
    assert code == 0
    assert text.count("unreadable: its header cannot be read") == 2
    text = _cli(home, capsys, ["show", "5"])[1]
    assert "deadletter.executor.accept-backup" in text
    assert "log:7\\x1b" in text
    assert "\x1b" not in text
    assert "malformed-message" in _cli(home, capsys, ["replay", "1", "5"])[1]
    assert len(_cli(home, capsys, ["list", "--json"])[1].splitlines()) == 6, "nothing was replayed"
    text = _cli(home, capsys, ["replay", "--all"])[1]
    assert "5 is left: its header cannot be read" in text
    assert "replayed 1 to" in text
    assert _cli(home, capsys, ["dismiss", "4", "5", "6", "--reason", "a broken build"])[0] == 0
    assert _cli(home, capsys, ["list"])[1] == "There are no dead letters.\n"
    assert not asyncio.run(is_told_of()), "what the list shows and what the report counts is the same"


def test_letters_that_went_with_their_stream_are_told_until_that_is_accepted(
    own_nats: NatsServer, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody else has them: readiness, the list and what makes the stream anew say so, and the reason is kept."""
    health = Health("executor")

    async def used() -> bool:
        return True

    async def made_anew() -> list[topology.Change]:
        async with own_nats.connected() as client:
            await client.jetstream().delete_stream(DEAD_LETTER_STREAM)
        async with own_nats.connected(TOPOLOGY) as client:
            return await topology.apply(client.jetstream(), was_used=used)

    async def finding() -> Finding:
        connection = own_nats.connection("executor", Telemetry("executor"), health)
        watch = ConsumerWatch(connection, "executor", telemetry=Telemetry("executor"), health=health)
        await connection.start()
        try:
            await watch._count_dead_letters()
        finally:
            await connection.stop()
        return next(iter((await health.report()).checks), Finding(name="", status="ready"))

    async def metadata() -> dict[str, str]:
        async with own_nats.connected(TOPOLOGY) as client:
            js = client.jetstream()
            assert await topology.apply(js, was_used=used) == [], "what is there is not made anew"
            assert await topology.compare(js) == []
            return (await js.stream_info(DEAD_LETTER_STREAM)).config.metadata or {}

    assert _cli(home, capsys, ["accept-loss", "--reason", "none"])[1] == "No dead letters were lost.\n"
    changes = asyncio.run(made_anew())
    assert "dead letters of before are gone" in str(changes[0])
    assert topology.LETTERS_LOST in asyncio.run(metadata())
    found = asyncio.run(finding())
    assert (found.status, found.code) == (DEGRADED, "dead-letters-lost")
    code, text = _cli(home, capsys, ["list"])
    assert code == ExitCode.DEGRADED
    assert "since the last were lost" in text
    assert "wedsync-backup deadletters accept-loss --reason TEXT" in text
    assert _cli(home, capsys, ["accept-loss", "--reason", "they were of a test"])[0] == 0
    assert _cli(home, capsys, ["list"]) == (0, "There are no dead letters.\n")
    kept = asyncio.run(metadata())
    assert topology.LETTERS_LOST not in kept
    assert "they were of a test" in kept[ACCEPTED]
    assert asyncio.run(finding()).status == "ready"


@pytest.mark.parametrize(
    "words",
    [
        ["dismiss", "1"],
        ["accept-loss"],
        ["dismiss", "1", "--reason", " "],
        ["dismiss", "--reason", "x"],
        ["show", "x"],
        ["show", "0"],
        ["list", "--service", "a.b"],
        ["list", "--handler", ">"],
    ],
)
def test_command_refuses_what_is_no_number_and_no_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """A wild card is no service: it would show what was not asked for."""
    with pytest.raises(SystemExit) as caught:
        main(["deadletters", words[0], "--home", str(tmp_path), *words[1:]])
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err
