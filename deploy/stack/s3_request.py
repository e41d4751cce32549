"""One request to an S3 server, signed with AWS Signature Version 4.

For the few requests that install a bucket and ask a server how it is: the usual client takes a second of processor
time to be imported, which is a quarter of the whole start, and it would need a thread that cannot be cancelled.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime

import msgspec

from deploy.stack.ports import LOOPBACK
from deploy.stack.probes import TIMEOUT_SECONDS, http_ask
from deploy.stack.secrets import S3Credentials

_ALGORITHM = "AWS4-HMAC-SHA256"


class Answer(msgspec.Struct, frozen=True):
    """What the server said. `code`: S3's own code of an error, empty where there is none."""

    status: int
    body: str

    @property
    def is_success(self) -> bool:
        """Whether it was done."""
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        """S3's own name of the error."""
        return self.body.partition("<Code>")[2].partition("</Code>")[0]


class ServerSilent(Exception):
    """The server does not answer, or not with HTTP."""


async def request(
    port: int,
    method: str,
    path: str,
    *,
    credentials: S3Credentials,
    region: str,
    now: datetime,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Answer:
    """Send a request to a loopback server. `query` is in canonical form. Raises `ServerSilent`."""
    given = {name.lower(): value for name, value in (headers or {}).items()}
    signed = _signed(method, path, query, {**given, "host": f"{LOOPBACK}:{port}"}, credentials, region, now, body)
    target = f"{path}?{query}" if query else path
    try:
        status, answer = await http_ask(
            port, method, target, headers=signed, body=body, timeout_seconds=timeout_seconds
        )
    except (OSError, TimeoutError, ValueError) as error:
        raise ServerSilent(str(error) or type(error).__name__) from error
    return Answer(status, answer.decode(errors="replace"))


def _signed(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    credentials: S3Credentials,
    region: str,
    now: datetime,
    body: bytes = b"",
) -> dict[str, str]:
    """The headers with the signature over all of them (AWS, "Signature Version 4 signing process")."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    every = dict(sorted({**headers, "x-amz-content-sha256": digest, "x-amz-date": stamp}.items()))
    names = ";".join(every)
    lines = "".join(f"{name}:{value.strip()}\n" for name, value in every.items())
    canonical = "\n".join((method, path, query, lines, names, digest))
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_access_key}".encode()
    for step in (stamp[:8], region, "s3", "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    every["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return every
