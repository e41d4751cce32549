"""`wedsync-backup call METHOD PATH`: a request to the API of the platform on this machine, with a token of its own.

A write that is pending is followed until its owner has answered, with `--until-ended` also the run or the recovery that
it asked for.
What the API answers goes to standard output; a refusal to standard error, with its code, field and hint.
"""

import argparse
import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of
from cli.options import given, organisation, positive, subject
from cli.output import say, say_json
from cli.token import ROLES

if TYPE_CHECKING:
    from cli.api import ApiClient, Document

METHODS = ("GET", "POST", "PUT", "DELETE")
BASE = "/api/backup/"
LOOK_SECONDS = 1.0
SAY_SECONDS = 20.0
_BEFORE = ("initializing", "preparing")
_ENDED = ("completed", "failed", "cancelled")


class _Kind(NamedTuple):
    """What has an end: the fields by which it is known, where it is found, and what it is called."""

    fields: frozenset[str]
    path: str
    noun: str


_WITH_AN_END = (
    _Kind(frozenset({"state", "recoveryPointId"}), "recovery/operations", "recovery"),
    _Kind(frozenset({"state", "configurationId", "executionType"}), "executions", "run"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("method", metavar="METHOD", type=str.upper, choices=METHODS, help=", ".join(METHODS))
    parser.add_argument("path", metavar="PATH", type=given, help=f"as docs/api.md has it, without {BASE}")
    parser.add_argument(
        "-d", "--data", metavar="JSON", help="the body, @FILE for what is in a file, - for standard input"
    )
    parser.add_argument("--if-match", metavar="ETAG", type=given, help="the version that a change is of")
    parser.add_argument("--key", metavar="TEXT", type=given, help="the Idempotency-Key (default: a new one)")
    parser.add_argument("--field", metavar="NAME", type=given, help="print this field of the answer alone")
    parser.add_argument(
        "--until-ended",
        action="store_true",
        help="wait for the run or recovery: 0 whole, 4 degraded, 1 failed or cancelled",
    )
    parser.add_argument(
        "--patience",
        metavar="SECONDS",
        type=positive,
        default=900,
        help="how long a run may not begin, or a write be pending, until it is left with exit code 8 (default 900)",
    )
    parser.add_argument("--role", action="append", choices=ROLES, help="in which role (default: owner)")
    parser.add_argument(
        "--organisation", metavar="ID", type=organisation, help="for whom (default: the home's own organisation)"
    )
    parser.add_argument("--subject", metavar="ID", type=subject, help="as whom (default: somebody new)")
    parser.add_argument("--second-factor", action="store_true", help="as signed in with two factors just now (aal2)")
    add_home(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print what is answered. Raises what the API refuses with, STACK_NOT_RUNNING and UNAVAILABLE."""
    from chassis.ids import new_id
    from cli.api import ApiClient
    from cli.organisation import require_known
    from deploy.stack.identity_provider import IdentityProvider
    from deploy.stack.layout import Layout
    from deploy.stack.state import running_state

    body = _body(arguments.data)
    layout = Layout.find(home_of(arguments))
    running_state(layout.lock_file, layout.state_file)
    if arguments.organisation:
        require_known(layout, arguments.organisation)
    provider, person = IdentityProvider.of(layout), arguments.subject or new_id()

    def token() -> str:
        return provider.token(
            organisation=arguments.organisation or layout.remembered.organisation,
            roles=arguments.role or ["owner"],
            subject=person,
            second_factor=arguments.second_factor,
        )

    async def ask() -> int:
        client = ApiClient(layout.gateway_url, token, new_key=new_id)
        try:
            return await _ask(client, arguments, body)
        finally:
            await client.close()

    return asyncio.run(ask())


async def _ask(client: "ApiClient", arguments: argparse.Namespace, body: Any) -> int:
    path = arguments.path if arguments.path.startswith("/") else BASE + arguments.path
    if arguments.method == "GET":
        answer = await client.get(path)
    else:
        answer = await _in_time(client, arguments, path, body)
    code = ExitCode.OK
    if (since := answer.get("supersededBy")) is not None:
        print(f"this was done before, and what it made was changed since: it is version {since} now", file=sys.stderr)
        code = ExitCode.DEGRADED
    elif arguments.until_ended:
        answer, code = await _ended(client, answer, arguments.patience)
    if arguments.field is None:
        say_json(answer)
    else:
        _say_field(answer, arguments.field)
    return code


async def _in_time(client: "ApiClient", arguments: argparse.Namespace, path: str, body: Any) -> "Document":
    from contracts import errors
    from contracts.errors import PlatformError

    try:
        async with asyncio.timeout(arguments.patience):
            return await client.write(arguments.method, path, body, key=arguments.key, version=arguments.if_match)
    except TimeoutError as error:
        raise PlatformError(
            errors.UNAVAILABLE,
            f"the write was not answered within {arguments.patience} s, and may be carried out yet",
            hint="What keeps it: wedsync-backup status. With --key the same request may be sent again.",
        ) from error


async def _ended(client: "ApiClient", run: "Document", patience: float) -> "tuple[Document, ExitCode]":
    """The run or recovery when it is over; how it ended."""
    from contracts import errors
    from contracts.errors import PlatformError

    kind = next((each for each in _WITH_AN_END if each.fields <= run.keys()), None)
    if kind is None:
        raise PlatformError(
            errors.INVALID_FIELD, "what was answered is no run and no recovery, and has no end", field="--until-ended"
        )
    path = f"{kind.path}/{run['id']}"
    begun = told = time.monotonic()
    while run["state"] not in _ENDED:
        now = time.monotonic()
        waits = (run.get("waiting") or {}).get("code")
        words = f"the {kind.noun} is not over: {run['state']}" + (f", waits for {waits}" if waits else "")
        if run["state"] not in _BEFORE:
            begun = now
        elif now - begun > patience:
            raise PlatformError(
                errors.UNAVAILABLE,
                f"{words}. It has not begun within {patience} s, and may yet",
                hint="What keeps it: wedsync-backup status. To go on waiting: wedsync-backup call GET"
                f" {path} --until-ended",
            )
        if now - told >= SAY_SECONDS:
            told = now
            print(words, file=sys.stderr, flush=True)
        await asyncio.sleep(LOOK_SECONDS)
        run = await client.get(BASE + path)
    if run["state"] != "completed":
        return run, ExitCode.FAILED
    return run, ExitCode.DEGRADED if run["degraded"] else ExitCode.OK


def _body(text: str | None) -> Any:
    from contracts import errors
    from contracts.errors import PlatformError

    if text is None:
        return None
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        with open(text[1:], encoding="utf-8") as file:
            text = file.read()
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlatformError(
            errors.INVALID_FIELD, "the body is no JSON", field="--data", hint=f"In the shell: -d '{{…}}'. {error}"
        ) from error


def _say_field(answer: "Document", name: str) -> None:
    from contracts import errors
    from contracts.errors import PlatformError

    if name not in answer:
        known = ", ".join(answer)
        raise PlatformError(errors.NOT_FOUND, f"the answer has no field {name}", field=name, hint=f"It has: {known}.")
    value = answer[name]
    say(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
