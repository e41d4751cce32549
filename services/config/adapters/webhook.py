"""Signed webhooks, as standardwebhooks.com has them: headers `webhook-id`, `webhook-timestamp`, `webhook-signature`.

Promise: one request, to an address that was judged, without a redirection, within `SEND_SECONDS`, of whose answer
`ANSWER_BYTES` are read at most. The id is the same at each attempt: a receiver knows by it what it has already.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ssl
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from contracts import errors
from contracts.errors import PlatformError
from services.config.telling.ports import Message, Sent

if TYPE_CHECKING:
    import httpcore

SEND_SECONDS = 10.0
ANSWER_BYTES = 4096
PREFIX = "whsec_"
KEYS_MAX = 3


def signing_keys(text: str) -> list[bytes]:
    """The keys of a secret: one a line, with each of which it is signed, so that one can be replaced by the next.

    Raises SECRET_UNUSABLE.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    keys = []
    for line in lines:
        try:
            keys.append(base64.b64decode(line.removeprefix(PREFIX), validate=True))
        except binascii.Error:
            keys.append(b"")
    is_right = all(line.startswith(PREFIX) for line in lines) and all(24 <= len(key) <= 64 for key in keys)
    if not 1 <= len(keys) <= KEYS_MAX or not is_right:
        raise PlatformError(errors.SECRET_UNUSABLE, "the secret is no key for webhooks", field="secret")
    return keys


def signature(keys: list[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one for each key."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


async def post(url: str, keys: list[bytes], message: Message, sent_at: datetime, *, private: bool) -> Sent:
    """Send it once."""
    import httpcore  # most processes never send anything

    from services.config.adapters.addresses import JudgedNetwork  # as above

    timestamp = int(sent_at.timestamp())
    headers: dict[bytes | str, bytes | str] = {
        "content-type": "application/json",
        "user-agent": "wedsync-backup",
        "accept-encoding": "identity",
        "connection": "close",
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(keys, message.id, timestamp, message.body),
    }
    try:
        async with (
            asyncio.timeout(SEND_SECONDS),
            httpcore.AsyncConnectionPool(
                ssl_context=_trust(), network_backend=JudgedNetwork(private=private), retries=0
            ) as pool,
            pool.stream("POST", url, headers=headers, content=message.body) as answer,
        ):
            # A receiver that begins an answer and never ends it has taken the message all the same.
            return _judged(answer)
    except (TimeoutError, httpcore.TimeoutException):
        return Sent(errors.RECEIVER_SLOW)
    except PlatformError as error:
        return Sent(error.code)
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError, ValueError):
        return Sent(errors.RECEIVER_UNREACHABLE)


def _judged(answer: "httpcore.Response") -> Sent:
    status = answer.status
    if 200 <= status < 300:
        return Sent(status=status)
    if status == 410:
        return Sent(errors.RECEIVER_GONE, status, is_final=True)
    if 300 <= status < 400:
        return Sent(errors.RECEIVER_REDIRECTS, status)
    return Sent(errors.RECEIVER_FAILED, status)
