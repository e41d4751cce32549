"""`wedsync-backup call METHOD PATH`: a request to the API of the platform on this machine, with a token of its own.

A write that is pending is followed until its owner has answered, with `--until-ended` also the run or the recovery that
it asked for.
What the API answers goes to standard output; a refusal to standard error, with its code, field and hint.
"""

import argparse
import asyncio
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple

from cli.exit_codes import ExitCode
from cli.given_file import read_given
from cli.home import add_home, home_of, home_option
from cli.options import given, organisation, positive, subject
from cli.output import say, say_json
from cli.status import troubles_now
from cli.token import ROLES

if TYPE_CHECKING:
    from cli.api import ApiClient, Document

METHODS = ("GET", "POST", "PUT", "DELETE")
BASE = "/api/backup/"
LOOK_SECONDS = 1.0
FIRST_SAY_SECONDS = 5.0
SAY_SECONDS = 20.0
"""How soon, and how often from then on, it is said that an answer has not come."""
_BEFORE = ("initializing", "preparing")
_ENDED = ("completed", "failed", "cancelled")
_LATER = ("blocked", "waiting")
"""In these an erasure may be for years: it is told, and not waited for."""
_VERDICTS = {"pass": ExitCode.OK, "fail": ExitCode.FAILED, "unknown": ExitCode.DEGRADED, "untested": ExitCode.DEGRADED}


class _Kind(NamedTuple):
    """What has an end: the fields by which it is known, where it is found, and what it is called."""

    fields: frozenset[str]
    path: str
    noun: str


_WITH_AN_END = (
    _Kind(frozenset({"state", "recoveryPointId", "depth"}), "recovery/validations", "validation"),
    _Kind(frozenset({"state", "recoveryPointId"}), "recovery/operations", "recovery"),
    _Kind(frozenset({"state", "dryRun", "went"}), "retention/cleanups", "cleanup"),
    _Kind(frozenset({"state", "dryRun", "readPercent"}), "storage/repairs", "repair"),
    _Kind(frozenset({"state", "dryRun", "attempts", "result"}), "storage/optimizations", "optimisation"),
    _Kind(frozenset({"state", "dataSubject", "receivedAt"}), "compliance/erasures", "erasure"),
    _Kind(frozenset({"state", "configurationId", "executionType"}), "executions", "run"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("method", metavar="METHOD", type=str.upper, choices=METHODS, help=", ".join(METHODS))
    parser.add_argument("path", metavar="PATH", type=_visible, help=f"as docs/api.md has it, without {BASE}")
    parser.add_argument(
        "-d", "--data", metavar="JSON", help="the body, @FILE for what is in a file, - for standard input"
    )
    parser.add_argument("--if-match", metavar="ETAG", type=_etag, help="the version that a change is of")
    parser.add_argument(
        "--key", metavar="TEXT", type=_visible, help="the Idempotency-Key of a write (default: a new one)"
    )
    parser.add_argument("--field", metavar="NAME", type=given, help="print this field of the answer alone")
    parser.add_argument(
        "--until-ended",
        action="store_true",
        help="wait for the run or recovery: 0 whole (of a cancellation: cancelled), 4 degraded, 1 failed or cancelled",
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
    parser.add_argument(
        "--subject", metavar="ID", type=subject, help="as whom (default: cli- and the number of this machine's user)"
    )
    parser.add_argument("--second-factor", action="store_true", help="as signed in with two factors just now (aal2)")
    add_home(parser)


def _visible(text: str) -> str:
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not printable ASCII without spaces")
    return text


def _etag(text: str) -> str:
    """A version as `ETag` has it, or its number alone."""
    return f'"{text}"' if text.isascii() and text.isdigit() else _visible(text)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print what is answered. Raises what the API refuses with, STACK_NOT_RUNNING and UNAVAILABLE."""
    from chassis.ids import new_id
    from cli.api import ApiClient
    from cli.organisation import require_known
    from deploy.stack.identity_provider import IdentityProvider
    from deploy.stack.layout import Layout
    from deploy.stack.state import running_state

    layout = Layout.find(home_of(arguments))
    asked = Call(arguments, key=new_id(), troubles=lambda: troubles_now(layout))
    running_state(layout.lock_file, layout.state_file)
    if arguments.organisation:
        require_known(layout, arguments.organisation)
    provider = IdentityProvider.of(layout)

    def token() -> str:
        return provider.token(
            organisation=arguments.organisation or layout.remembered.organisation,
            roles=arguments.role or ["owner"],
            # The same person with each call: a key that is sent again is that person's alone.
            subject=arguments.subject or f"cli-{os.getuid()}",
            second_factor=arguments.second_factor,
        )

    async def ask() -> int:
        client = ApiClient(layout.gateway_url, token, new_key=new_id)
        try:
            return await asked.of(client)
        finally:
            await client.close()

    return asyncio.run(ask())


class Call:
    """One request, as the command line has it. `key`: by what it is recognised that has been given no key.

    `troubles`: what of the platform is not well, for whoever waits.
    """

    def __init__(self, arguments: argparse.Namespace, *, key: str, troubles: Callable[[], str] = str) -> None:
        """Raises USAGE_INVALID and INVALID_FIELD for what cannot be meant."""
        self._arguments = arguments
        self._troubles = troubles
        self._key = arguments.key or key
        self._body = _body(arguments.data)
        self._path = arguments.path if arguments.path.startswith("/") else BASE + arguments.path
        useless = [name for name in ("data", "key", "if_match") if getattr(arguments, name) is not None]
        if arguments.method == "GET" and useless:
            raise _invalid(f"--{useless[0].replace('_', '-')}", "a GET changes nothing, and takes none")

    async def of(self, client: "ApiClient") -> int:
        """Ask a client; print, and give the exit code. What was done is told whatever else is wrong."""
        if self._arguments.method == "GET":
            answer = await self._awaited(client, client.get(self._path))
        else:
            answer = await self._awaited(client, self._written(client))
        code = ExitCode.OK
        if (since := answer.get("supersededBy")) is not None:
            _tell(f"this was done before, and what it made was changed since: it is version {since} now")
            code = ExitCode.DEGRADED
        elif refused := answer.get("refusedItems"):
            _tell(f"{refused} of {len(answer['items'])} are refused: items has the problem of each")
            code = ExitCode.DEGRADED
        elif "findings" in answer and (said := answer.get("verdict")) in _VERDICTS:
            code = _VERDICTS[said]
            if code is not ExitCode.OK:
                _tell(f"the test says {said}: findings has why")
        elif self._arguments.until_ended:
            answer, code = await self._ended(client, answer)
        field = self._arguments.field
        if field is None:
            say_json(answer)
        elif field in answer:
            value = answer[field]
            say(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        else:
            raise _beside(answer, "--field", f"the answer has no field {field}")
        return code

    async def _written(self, client: "ApiClient") -> "Document":
        from contracts import errors
        from contracts.errors import PlatformError

        arguments = self._arguments
        try:
            async with asyncio.timeout(arguments.patience):
                return await client.write(
                    arguments.method, self._path, self._body, key=self._key, version=arguments.if_match
                )
        except PlatformError as error:
            if error.code is not errors.SECOND_FACTOR_NEEDED or arguments.second_factor:
                raise
            new_key = " and another --key" if arguments.key is not None else ""
            hint = f"Here that is the same command with --second-factor{new_key}. {error.hint}"
            raise PlatformError(error.code, error.message, field=error.field, hint=hint) from error
        except TimeoutError as error:
            raise PlatformError(
                errors.UNAVAILABLE,
                f"the write was not answered within {arguments.patience} s, and may be carried out yet",
                hint="What keeps it: wedsync-backup status. The same command with"
                f" --key {shlex.quote(self._key)} makes it once.",
            ) from error

    async def _awaited(self, client: "ApiClient", answer: "Coroutine[Any, Any, Document]") -> "Document":
        """An answer; while it does not come, it is said that it is waited for, and what is not well."""
        from chassis.life.tasks import end

        telling = asyncio.create_task(self._tell_on(client))
        try:
            return await answer
        finally:
            await end(telling)

    async def _tell_on(self, client: "ApiClient") -> None:
        begun = time.monotonic()
        await asyncio.sleep(FIRST_SAY_SECONDS)
        while True:
            what = f"the request {client.pending} is pending" if client.pending else "the API has not answered"
            troubles = self._troubles()
            why = f"Not well is {troubles}" if troubles else "All parts are told to be well: wedsync-backup status"
            _tell(f"{what} for {time.monotonic() - begun:.0f} s. {why}")
            await asyncio.sleep(SAY_SECONDS)

    async def _ended(self, client: "ApiClient", run: "Document") -> "tuple[Document, ExitCode]":
        """The run, recovery, validation, cleanup, repair, optimisation or erasure when it is over; how it ended."""
        kind = next((each for each in _WITH_AN_END if each.fields <= run.keys()), None)
        if kind is None:
            raise _beside(
                run,
                "--until-ended",
                "what was answered is no run, recovery, validation, cleanup, repair, optimisation or erasure",
            )
        path = f"{kind.path}/{run['id']}"
        try:
            run = await self._followed(client, run, path, kind.noun)
        except BaseException:
            _tell(f"the {kind.noun} {run['id']} goes on. To follow it: {self._again(path)}")
            raise
        if run["state"] in _LATER:
            _tell(f"the {kind.noun} is {run['state']}, and goes on by itself: the answer says why, and until when")
            return run, ExitCode.DEGRADED
        wanted = "cancelled" if self._path.endswith("/cancel") else "completed"
        if run["state"] != wanted or (run.get("result") or {}).get("verdict") == "damaged":
            return run, ExitCode.FAILED
        return run, ExitCode.DEGRADED if run.get("degraded") else ExitCode.OK

    async def _followed(self, client: "ApiClient", run: "Document", path: str, noun: str) -> "Document":
        from contracts import errors
        from contracts.errors import PlatformError

        begun = told = time.monotonic()
        while run["state"] not in (*_ENDED, *_LATER):
            now = time.monotonic()
            waits = (run.get("waiting") or {}).get("code")
            words = f"the {noun} is not over: {run['state']}" + (f", waits for {waits}" if waits else "")
            if run["state"] not in _BEFORE:
                begun = now
            elif now - begun > self._arguments.patience:
                raise PlatformError(
                    errors.UNAVAILABLE,
                    f"{words}. It has not begun within {self._arguments.patience} s, and may yet",
                    hint="What keeps it: wedsync-backup status.",
                )
            if now - told >= SAY_SECONDS:
                told = now
                _tell(words)
            await asyncio.sleep(LOOK_SECONDS)
            run = await self._awaited(client, client.get(BASE + path))
        return run

    def _again(self, path: str) -> str:
        whose = self._arguments.organisation
        option = f" --organisation {whose}" if whose else ""
        return f"wedsync-backup call GET {path} --until-ended{option}{home_option(home_of(self._arguments))}"


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _beside(answer: "Document", option: str, fault: str) -> Exception:
    """An option that does not fit what was answered, which is told all the same: a write was made."""
    _tell(json.dumps(answer, ensure_ascii=False))
    return _invalid(option, f"{fault}. It is written above, and has: {', '.join(answer)}")


def _invalid(option: str, fault: str) -> Exception:
    from contracts import errors
    from contracts.errors import PlatformError

    return PlatformError(errors.INVALID_FIELD, fault, field=option)


def _body(text: str | None) -> Any:
    if text is None:
        return None
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = read_given(text[1:]).decode()
        body = json.loads(text, parse_constant=_no_number)
        json.dumps(body, ensure_ascii=False).encode()
    except OSError as error:
        raise _invalid("--data", f"{text} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _invalid("--data", f"the body is no JSON in UTF-8 (in the shell: -d '{{…}}'): {error}") from error
    return body


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")
