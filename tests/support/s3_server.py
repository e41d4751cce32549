"""A real S3 server for tests: SeaweedFS in one process, on free loopback ports, with data in a folder of its own."""

import atexit
import ctypes
import json
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from benchmarks.bucket import answers, until_writable
from deploy.stack.ports import LOOPBACK, Reserved, choose_ports
from deploy.stack.s3 import PORTS, remove_sockets_of, server_command

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ACCESS_KEY = "WEDSYNCTESTS00000000"
SECRET_KEY = "a-secret-that-only-tests-use-0123456789"
READER_KEY = "WEDSYNCREADER0000000"
REGION = "eu-test-1"

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class S3Server:
    """One server; use as a context manager, or `start` and `stop`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="wedsync-s3-")
        self._server: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._ports: Mapping[str, int] = {}
        self._reserved = Reserved()
        self._buckets = 0
        self._shared: dict[tuple[bool, bool], str] = {}

    def __enter__(self) -> "S3Server":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables from which a tier takes the credentials that may do everything."""
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}

    @property
    def reader_environment(self) -> Mapping[str, str]:
        """The same for an identity that may only read and list."""
        return {"AWS_ACCESS_KEY_ID": READER_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}

    def start(self) -> None:
        """Start, and wait until it answers. A port that somebody took in between costs another attempt."""
        for _ in range(3):
            ports = choose_ports(PORTS, {}, paired=("admin",), is_free=self._reserved.take)
            self.port, self._ports = ports["s3"], ports
            self._server = self._launch(ports)
            if answers(self.endpoint, self._server):
                return
            self.stop(keep=True)
        raise AssertionError(f"the S3 server does not start: {(self._root / 'out.log').read_text()[-2000:]}")

    def stop(self, *, keep: bool = False) -> None:
        """Stop it, and remove its data unless it is to be started again."""
        if self._server is not None:
            self._server.terminate()
            try:
                self._server.wait(60)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None
            remove_sockets_of(self._ports)
        if not keep:
            self._reserved.__exit__()
            self._folder.cleanup()

    def client(self, endpoint: str | None = None) -> "S3Client":
        """A plain client, for looking at what a tier did and for doing what an attacker would."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=endpoint or self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )

    def new_bucket(self, *, versions: bool = False, locks: bool = False) -> str:
        """The name of a new, empty bucket; one with locks keeps versions."""
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        client = self.client()
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locks)
        if versions or locks:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        until_writable(client, name)
        return name

    def shared_bucket(self, *, versions: bool = False, locks: bool = False) -> str:
        """One bucket of each kind for all tests, each below a prefix of its own.

        The server gives every bucket volumes of its own, and has none left after some dozens.
        """
        if (versions, locks) not in self._shared:
            self._shared[versions, locks] = self.new_bucket(versions=versions, locks=locks)
        return self._shared[versions, locks]

    def url(self, bucket: str, prefix: str = "", **options: str) -> str:
        """The address of a tier in the bucket."""
        query = "&".join(
            f"{name}={quote(value, safe='')}"
            for name, value in {"endpoint": self.endpoint, "region": REGION, **options}.items()
        )
        return f"s3://{bucket}/{prefix}?{query}"

    @property
    def _root(self) -> Path:
        return Path(self._folder.name)

    def _launch(self, ports: Mapping[str, int]) -> subprocess.Popen[bytes]:
        root = self._root
        # It remembers the ports of the last start, and they may be others' by now.
        (root / "mini.options").unlink(missing_ok=True)
        everything = ["Admin", "Read", "Write", "List", "Tagging"]
        identities: list[dict[str, Any]] = [
            {"name": name, "credentials": [{"accessKey": key, "secretKey": SECRET_KEY}], "actions": actions}
            for name, key, actions in (("all", ACCESS_KEY, everything), ("reader", READER_KEY, ["Read", "List"]))
        ]
        (root / "s3.json").write_text(json.dumps({"identities": identities}))
        with (root / "out.log").open("wb") as log:
            return subprocess.Popen(
                server_command(root / "s3.json", ports),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=root,
                env={"PATH": "/usr/bin:/bin", "HOME": str(root)},
                preexec_fn=_die_with_parent,  # one system call
            )


@cache
def _shared_server() -> S3Server:
    """One server for the whole test run, however many folders of tests use it."""
    server = S3Server()
    server.start()
    atexit.register(server.stop)
    return server


@pytest.fixture(scope="session")
def s3_server() -> S3Server:
    """A running S3 server; each test makes buckets of its own."""
    return _shared_server()
