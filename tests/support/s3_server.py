"""A real S3 server for tests: SeaweedFS in one process, on free loopback ports, with data in a folder of its own."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deploy.stack.ports import GRPC_OFFSET, LOOPBACK, choose_ports

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ACCESS_KEY = "WEDSYNCTESTS00000000"
SECRET_KEY = "a-secret-that-only-tests-use-0123456789"
READER_KEY = "WEDSYNCREADER0000000"
REGION = "eu-test-1"

_PORTS = ("s3", "s3-grpc", "master", "master-grpc", "volume", "volume-grpc", "filer", "filer-grpc", "admin")
_START_SECONDS = 60.0
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
        self._buckets = 0

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
            ports = choose_ports(_PORTS, {}, paired=("admin",))
            self.port = ports["s3"]
            self._server = self._launch(ports)
            if self._is_ready():
                return
            self.stop(keep=True)
        raise AssertionError(f"the S3 server does not start: {(self._root / 'out.log').read_text()[-2000:]}")

    def stop(self, *, keep: bool = False) -> None:
        """Stop it, and remove its data unless it is to be started again."""
        if self._server is not None:
            self._server.terminate()
            try:
                self._server.wait(10)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None
        if not keep:
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
        return name

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
        (root / "logs").mkdir(exist_ok=True)
        everything = ["Admin", "Read", "Write", "List", "Tagging"]
        identities: list[dict[str, Any]] = [
            {"name": name, "credentials": [{"accessKey": key, "secretKey": SECRET_KEY}], "actions": actions}
            for name, key, actions in (("all", ACCESS_KEY, everything), ("reader", READER_KEY, ["Read", "List"]))
        ]
        (root / "s3.json").write_text(json.dumps({"identities": identities}))
        arguments = [
            str(Path(sys.executable).parent / "weed"),
            f"-logdir={root}/logs",
            "mini",
            f"-dir={root}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            f"-master.port={ports['master']}",
            f"-master.port.grpc={ports['master-grpc']}",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=1024",
            f"-volume.port={ports['volume']}",
            f"-volume.port.grpc={ports['volume-grpc']}",
            "-volume.max=0",
            "-volume.preStopSeconds=1",
            f"-filer.port={ports['filer']}",
            f"-filer.port.grpc={ports['filer-grpc']}",
            f"-filer.localSocket={root}/filer.sock",
            "-s3",
            f"-s3.port={ports['s3']}",
            f"-s3.port.grpc={ports['s3-grpc']}",
            f"-s3.config={root}/s3.json",
            f"-s3.localSocket={root}/s3.sock",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-webdav=false",
            "-admin.ui=false",
            f"-admin.port={ports['admin']}",
            f"-admin.port.grpc={ports['admin'] + GRPC_OFFSET}",
        ]
        with (root / "out.log").open("wb") as log:
            return subprocess.Popen(
                arguments,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=root,
                env=dict(os.environ),
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # one system call
            )

    def _is_ready(self) -> bool:
        assert self._server is not None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._server.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=1) as answer:
                    if answer.status == 200:
                        return True
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        return False
