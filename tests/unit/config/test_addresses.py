"""Where a receiver's name leads: what was judged is what is connected to."""

import asyncio
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpcore
import pytest

from contracts import errors
from contracts.errors import PlatformError
from services.config.adapters.addresses import JudgedNetwork, addresses_of
from services.config.adapters.webhook import post
from services.config.telling.ports import Message
from tests.support.receiver import Receiver

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def _lookup(monkeypatch: pytest.MonkeyPatch, *answers: Sequence[str]) -> list[str]:
    """Let each look-up of a name give the next of some answers; the names that were looked up."""
    asked: list[str] = []

    async def getaddrinfo(_: Any, host: str, port: int, **__: Any) -> list[Any]:
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        if not found:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("found", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::ffff:192.168.1.1"]])
async def test_name_that_leads_to_a_closed_network_is_refused(
    found: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with one such address among others: which of them is taken is chance."""
    _lookup(monkeypatch, found)
    with pytest.raises(PlatformError) as caught:
        await addresses_of("alarms.example.com", 443, private=False)
    assert caught.value.code is errors.RECEIVER_NOT_PUBLIC
    assert await addresses_of("alarms.example.com", 443, private=True) == found


async def test_name_that_leads_elsewhere_at_the_second_look_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes to an address that was judged, not to the name."""
    asked = _lookup(monkeypatch, ["93.184.216.34", "93.184.216.35"], ["127.0.0.1"])
    connected: list[str] = []

    class Network(httpcore.AnyIOBackend):
        async def connect_tcp(self, host: str, *_: Any, **__: Any) -> Any:
            connected.append(host)
            raise httpcore.ConnectError

    network = JudgedNetwork(private=False)
    network._network = Network()
    with pytest.raises(httpcore.ConnectError):
        await network.connect_tcp("alarms.example.com", 443)
    assert asked == ["alarms.example.com"]
    assert connected == ["93.184.216.34", "93.184.216.35"]
    with pytest.raises(PlatformError):
        await network.connect_tcp("alarms.example.com", 443)


async def test_nothing_is_sent_where_a_name_leads_to_a_closed_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """However it was written: the rule holds for each connection."""
    receiver = await Receiver().start()
    _lookup(monkeypatch, ["127.0.0.1"])
    message = Message(id="1", organisation="studio-a", type="backup.test", body=b"{}", title="", text="")
    url = f"http://alarms.example.com:{receiver.port}/"
    refused = await post(url, [b"k" * 32], message, NOW, private=False)
    assert (refused.code, receiver.came) == (errors.RECEIVER_NOT_PUBLIC, [])
    sent = await post(url, [b"k" * 32], message, NOW, private=True)
    assert (sent.code, len(receiver.came)) == (None, 1)
    await receiver.stop()


async def test_name_that_leads_nowhere_is_no_fault_of_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lead somewhere later."""
    _lookup(monkeypatch, [])
    with pytest.raises(socket.gaierror):
        await addresses_of("alarms.example.com", 443, private=False)
