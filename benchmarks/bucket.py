"""An S3 server for a benchmark: the platform's own, on free loopback ports, with data in a folder of the run."""

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from deploy.stack.ports import LOOPBACK, choose_ports
from deploy.stack.s3 import PORTS, server_command

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ACCESS_KEY = "WEDSYNCBENCHMARK0000"
SECRET_KEY = "a-secret-of-this-run-alone-0123456789"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
"""The credentials, as a tier takes them."""
_BUCKET = "benchmark"
_REGION = "eu-bench-1"
_START_SECONDS = 60.0
_AGAIN_SECONDS = 0.02


@contextmanager
def bucket(folder: Path) -> Iterator[str]:
    """The beginning of an address, to which a prefix and `options` are added; the server stops at the end."""
    ports = choose_ports(PORTS, {}, paired=("admin",))
    identity = {
        "name": "all",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    endpoint = f"http://{LOOPBACK}:{ports['s3']}"
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            server_command(folder / "s3.json", ports),
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        )
    try:
        if not answers(endpoint, server):
            raise RuntimeError("the S3 server does not answer")
        _make_bucket(endpoint)
        yield endpoint
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def address(endpoint: str, prefix: str) -> str:
    """The tier below a prefix of the bucket."""
    return f"s3://{_BUCKET}/{prefix}?endpoint={quote(endpoint, safe='')}&region={_REGION}"


def answers(endpoint: str, server: "subprocess.Popen[bytes]") -> bool:
    """Wait until a server answers; False where it ended, or took too long."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{endpoint}/healthz", timeout=1) as answer:
                if answer.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            time.sleep(_AGAIN_SECONDS)
    return False


def _make_bucket(endpoint: str) -> None:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=_REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )
    client.create_bucket(Bucket=_BUCKET)
    until_writable(client, _BUCKET)


def until_writable(client: "S3Client", bucket: str) -> None:
    """Wait for the bucket's volumes: the server makes them at the first write, which fails meanwhile."""
    from botocore.exceptions import ClientError

    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            client.put_object(Bucket=bucket, Key="first", Body=b"1")
        except ClientError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            client.delete_object(Bucket=bucket, Key="first")
            return
