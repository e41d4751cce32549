"""The platform's API as a command uses it: requests, and the WebSocket, as any client would."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from chassis.life.patience import patiently
from contracts import errors
from contracts.errors import PlatformError, catalogue

POLL_SECONDS = 0.2
RECONNECT_SECONDS = 0.5
PATIENCE_SECONDS = 20.0
"""For how long a request is made again while the API does not answer, or answers that a part of it is away."""
Document = dict[str, Any]


class ApiClient:
    """One person's access to the API, which is known to be up. `token`: makes a current bearer token.

    A connection that drops, or a service that starts again, costs a moment: the same request is made again, a write
    with the same key, for `patience_seconds`; then UNAVAILABLE is raised.
    """

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        *,
        new_key: Callable[[], str],
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._url = url
        self._token = token
        self._new_key = new_key
        self._patience_seconds = patience_seconds
        self.pending: str | None = None
        """The id of a write that was taken down and that its owner has not answered yet."""
        # The platform is on this machine: a proxy of the environment has no part in it.
        self._http = httpx.AsyncClient(base_url=url, timeout=30.0, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str) -> Document:
        """What there is at a path."""
        return _document(await self._send("GET", path))

    async def status(self) -> Document:
        """The state of everything."""
        return await self.get("/api/backup/status")

    async def execution(self, execution_id: str) -> Document:
        """A run as the read model shows it."""
        return await self.get(f"/api/backup/executions/{execution_id}")

    async def write(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, version: str | None = None
    ) -> Document:
        """A write with a key of its own, unless one is given; one that is pending is followed until it is answered.

        `version`: of the thing that it changes, as `ETag` has it. What an answer without content stands for is {}.
        Of a write that was made before and has been changed since, the request is the answer, with `supersededBy`.
        """
        headers = {"Idempotency-Key": key or self._new_key(), **({"If-Match": version} if version else {})}
        answer = await self._send(method, path, headers=headers, **({} if body is None else {"json": body}))
        location = answer.headers.get("Location", "")
        document = _document(answer) if answer.content else {}
        if answer.status_code != 202 or "/requests/" not in location or document.get("supersededBy") is not None:
            return document
        self.pending = location.rpartition("/")[2]
        try:
            while True:
                request = await self.get(location)
                if request["state"] == "refused":
                    raise _error(request["problem"])
                if request["state"] == "accepted":
                    return await self.get(request["resource"]) if request.get("resource") else request
                await asyncio.sleep(POLL_SECONDS)
        finally:
            self.pending = None

    async def follow(self, execution_id: str) -> AsyncIterator[Document]:
        """Every message of the WebSocket about a run. After a drop it goes on where it stopped, without an end."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        address = self._url.replace("http", "ws", 1) + "/api/backup/monitoring"
        resume: str | None = None
        while True:
            try:
                headers = {"Authorization": f"Bearer {self._token()}"}
                async with connect(
                    address, additional_headers=headers, max_size=16 * 1024 * 1024, proxy=None
                ) as socket:
                    subscription: Document = {"type": "subscribe", "executions": [execution_id]}
                    if resume is not None:
                        subscription["resume"] = resume
                    await socket.send(json.dumps(subscription))
                    async for text in socket:
                        message: Document = json.loads(text)
                        resume = message.get("resume", resume)
                        yield message
            except (WebSocketException, OSError):
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        failures = 0

        async def once() -> httpx.Response:
            nonlocal failures
            try:
                return await self._send_once(method, path, **more)
            except PlatformError as error:
                failures += 1
                if error.code is errors.UNAVAILABLE and failures == 2:
                    # A single drop is not worth a word.
                    # To standard error: what a command answers on the other one is a shell's value.
                    words = f"{error.message}; it is asked again for up to {self._patience_seconds:.0f} s"
                    print(words, file=sys.stderr, flush=True)
                raise

        return await patiently(once, seconds=self._patience_seconds)

    async def _send_once(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token()}", **more.pop("headers", {})}
        try:
            answer = await self._http.request(method, path, headers=headers, **more)
        except httpx.HTTPError as error:
            raise PlatformError(
                errors.UNAVAILABLE, f"the API does not answer: {type(error).__name__}", path=path
            ) from error
        if answer.is_error:
            raise _error(_document(answer))
        return answer


def _document(answer: httpx.Response) -> Document:
    try:
        document: Document = answer.json()
    except ValueError as error:
        raise PlatformError(errors.INTERNAL, f"the API answers {answer.status_code} without JSON") from error
    return document


def _error(problem: Document) -> PlatformError:
    """The error that a problem document stands for. What is wrong beside it is in the hint, a line for each field."""
    code = catalogue().get(problem.get("code", ""), errors.INTERNAL)
    beside = [f"{each['field']}: {each['hint']} [{each['code']}]" for each in problem.get("errors", ())[1:]]
    hint = "\n  ".join([problem.get("hint") or code.hint, *beside])
    return PlatformError(code, problem.get("detail") or code.title, field=problem.get("field"), hint=hint)
