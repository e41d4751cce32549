"""The demo's receiver of notifications, on loopback: it judges signatures as any would, and keeps what came."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BODY_BYTES = 64 << 10


class DemoReceiver:
    """`key`: as `wedsync-backup secret` has made it."""

    def __init__(self, key: str) -> None:
        self._key = base64.b64decode(key.removeprefix("whsec_"))
        self._came = threading.Lock()
        self._told: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), BODY_BYTES))
                self.send_response(204 if receiver.take(dict(self.headers), body) else 400)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as the library calls it
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}/notifications"

    @contextmanager
    def listening(self) -> Iterator["DemoReceiver"]:
        """While this lasts."""
        thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def take(self, headers: dict[str, str], body: bytes) -> bool:
        """Keep a notification whose signature is right, once; whether it is."""
        named = {name.lower(): value for name, value in headers.items()}
        signed = f"{named.get('webhook-id')}.{named.get('webhook-timestamp')}.".encode() + body
        expected = base64.b64encode(hmac.new(self._key, signed, hashlib.sha256).digest()).decode()
        if f"v1,{expected}" not in named.get("webhook-signature", "").split(" "):
            return False
        told = {"id": named["webhook-id"], **json.loads(body)}
        with self._came:
            if told["id"] not in [each["id"] for each in self._told]:
                self._told.append(told)
        return True

    def told_of(self, kind: str, execution_id: str) -> dict[str, Any] | None:
        """What was told of a run; None where nothing came yet."""
        with self._came:
            found = (
                told for told in self._told if told["type"] == kind and told["data"]["executionId"] == execution_id
            )
            return next(found, None)

    @property
    def kinds(self) -> list[str]:
        """All that came, in order."""
        with self._came:
            return [told["type"] for told in self._told]
