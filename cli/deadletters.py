"""`wedsync-backup deadletters`: look at messages that could not be handled, and put them before their handlers again.

`list` shows those that were neither replayed nor dismissed (`--all`: every one), `show` one with its cause and its
message, `replay` puts some before the handler that gave them up, `dismiss` says why some need no replay. A dead letter
stays after either; when a replay fails again, it becomes a new one, which says whose replay it was. `list` ends with 4
where letters were lost with their stream, until `accept-loss` says that this is known.
"""

import argparse
import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of

if TYPE_CHECKING:
    from nats.js import JetStreamContext

    from chassis.bus.deadletters import DeadLetter
    from deploy.stack.layout import Layout

_TOKEN = re.compile(r"[a-z0-9-]+")
_SHOWN_BYTES = 64 * 1024
_REASON_MAX = 500


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what could not be handled", description="What could not be handled.")
    showing = actions.add_parser("show", help="one, with its cause", description="One dead letter, with its cause.")
    replaying = actions.add_parser(
        "replay", help="let the handler try again", description="Put dead letters before their handlers again."
    )
    dismissing = actions.add_parser(
        "dismiss", help="they need no replay: keep them, with the reason", description="Say why some need no replay."
    )
    accepting = actions.add_parser(
        "accept-loss",
        help="they went with their stream: known, for this reason",
        description="Say that a loss is known.",
    )
    accepting.add_argument("--reason", type=_reason, required=True, metavar="TEXT", help="it is kept with the stream")
    for each in (listing, showing, replaying, dismissing, accepting):
        add_home(each)
        each.add_argument("--json", action="store_true", help="for machines: one JSON object a line")
    for each in (listing, replaying):
        each.add_argument("--service", type=_token, help="only of this service")
        each.add_argument("--handler", type=_token, help="only of this handler")
        each.add_argument("--code", type=_token, help="only with this error code")
    listing.add_argument("--all", action="store_true", help="also those that were replayed or dismissed")
    showing.add_argument("number", type=_number, help="its number in the list")
    replaying.add_argument("number", type=_number, nargs="*", help="their numbers in the list")
    replaying.add_argument("--all", action="store_true", help="all that are left and fit the options")
    dismissing.add_argument("number", type=_number, nargs="+", help="their numbers in the list")
    dismissing.add_argument("--reason", type=_reason, required=True, metavar="TEXT", help="why; it is kept beside them")


def _token(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise argparse.ArgumentTypeError("lower-case letters, digits and '-' only")
    return text


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("a number from the list")
    return int(text)


def _reason(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > _REASON_MAX:
        raise argparse.ArgumentTypeError(f"one line of 1 to {_REASON_MAX} characters")
    return text


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for."""
    from deploy.stack.layout import Layout

    return asyncio.run(_run(Layout.find(home_of(arguments)), arguments))


async def _run(layout: "Layout", arguments: argparse.Namespace) -> int:
    from deploy.stack.nats import operator_connection

    async with operator_connection(layout) as client:
        js = client.jetstream()
        match arguments.action:
            case "list":
                return await _list(js, arguments)
            case "show":
                return await _show(js, arguments)
            case "dismiss":
                return await _dismiss(js, arguments)
            case "accept-loss":
                return await _accept_loss(js, arguments)
            case _:
                return await _replay(js, arguments)


async def _chosen(
    js: "JetStreamContext", arguments: argparse.Namespace, *, replayed: bool
) -> "AsyncIterator[DeadLetter]":
    from chassis.bus.deadletters import list_letters

    found = list_letters(js, service=arguments.service, handler=arguments.handler, include_replayed=replayed)
    async for letter in found:
        if arguments.code in (None, letter.burial.code):
            yield letter


async def _list(js: "JetStreamContext", arguments: argparse.Namespace) -> int:
    from chassis.bus.deadletters import as_builtins
    from chassis.bus.lost_letters import letters_info, loss_of

    count = 0
    async for letter in _chosen(js, arguments, replayed=arguments.all):
        count += 1
        if arguments.json:
            print(json.dumps(as_builtins(letter), ensure_ascii=False))
            continue
        burial = letter.burial
        again = f", replayed {letter.replays}×" if letter.replays else ", dismissed" if letter.dismissal else ""
        place = f"{burial.service}/{burial.handler}"
        print(f"{letter.number:>6}  {burial.time:%Y-%m-%d %H:%M:%S}Z  {place}  {burial.code}{again}")
        print(f"        {burial.cause}")
    loss = loss_of(await letters_info(js))
    if count == 0 and not arguments.json:
        print("There are no dead letters." if loss is None else "There are no dead letters since the last were lost.")
    if loss is None:
        return ExitCode.OK
    print(f"wedsync-backup: {loss.message} [{loss.code.code}]\n  {loss.hint}", file=sys.stderr)
    return ExitCode.DEGRADED


async def _show(js: "JetStreamContext", arguments: argparse.Namespace) -> int:
    from chassis.bus.deadletters import as_builtins, show

    letter = await show(js, arguments.number)
    if arguments.json:
        print(json.dumps({**as_builtins(letter), "body": _text(letter.body)}, ensure_ascii=False))
        return ExitCode.OK
    burial = letter.burial
    for name, value in (
        ("number", letter.number),
        ("buried", f"{burial.time:%Y-%m-%d %H:%M:%S}Z after {burial.deliveries} deliveries"),
        ("handler", f"{burial.service}/{burial.handler}"),
        ("code", burial.code),
        ("cause", burial.cause),
        ("original", f"message {burial.sequence} of {burial.stream}, {burial.subject}"),
        ("replay of", burial.replay_of),
        ("replayed", f"{letter.replays}×" if letter.replays else "never"),
        ("dismissed", letter.dismissal and f"{letter.dismissal.time:%Y-%m-%d %H:%M:%S}Z: {letter.dismissal.reason}"),
    ):
        if value is not None:
            print(f"{name:<10}{value}")
    for name, value in burial.headers.items():
        print(f"{'':<10}{name}: {value}")
    print()
    if burial.body_omitted:
        print("(too large to be kept here; it is read from its stream when it is replayed)")
    else:
        print(_text(letter.body))
    return ExitCode.OK


def _text(body: bytes) -> str:
    """A message as a person reads it: JSON indented, other text as it is, anything else in hex; control codes shown."""
    shown = body[:_SHOWN_BYTES]
    try:
        text = shown.decode()
    except UnicodeDecodeError:
        return shown.hex(" ", 1)
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        # A terminal obeys control codes; a message is for reading.
        return "".join(
            each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode() for each in text
        )


async def _replay(js: "JetStreamContext", arguments: argparse.Namespace) -> int:
    from chassis.bus.deadletters import check_replayable, replay, show
    from contracts import errors
    from contracts.errors import PlatformError
    from contracts.streams import stream_of

    if bool(arguments.number) == arguments.all:
        raise PlatformError(
            errors.INVALID_FIELD, "name the dead letters to replay, or --all", hint="wedsync-backup deadletters list"
        )
    if arguments.all:
        left = [letter async for letter in _chosen(js, arguments, replayed=False)]
        chosen = [letter for letter in left if letter.unreadable is None]
        if not arguments.json:
            for letter in left:
                if letter.unreadable is not None:
                    print(f"{letter.number} is left: {letter.unreadable}; dismiss it, with the reason")
    else:
        # All are looked up before the first is replayed, so that a wrong number replays nothing.
        chosen = [await show(js, number) for number in arguments.number]
        check_replayable(chosen)
    for letter in chosen:
        await replay(js, letter)
        if arguments.json:
            print(json.dumps({"replayed": letter.number}))
        else:
            print(f"replayed {letter.number} to {letter.burial.service}/{letter.burial.handler}")
            if letter.burial.stream == stream_of("gateway"):
                print(
                    "  It was a request. Where whoever asked was told not-handled, the replay does nothing: let them "
                    "ask again."
                )
    if not chosen and not arguments.json:
        print("There was nothing to replay.")
    return ExitCode.OK


async def _dismiss(js: "JetStreamContext", arguments: argparse.Namespace) -> int:
    from chassis.bus.deadletters import Dismissal, dismiss, show
    from chassis.clock import SystemClock

    # All are looked up before the first is dismissed, so that a wrong number dismisses nothing.
    chosen = [await show(js, number) for number in dict.fromkeys(arguments.number)]
    for letter in chosen:
        await dismiss(js, letter, Dismissal(time=SystemClock().now(), reason=arguments.reason))
        if arguments.json:
            print(json.dumps({"dismissed": letter.number}))
        else:
            print(f"dismissed {letter.number} of {letter.burial.service}/{letter.burial.handler}; it is kept")
    return ExitCode.OK


async def _accept_loss(js: "JetStreamContext", arguments: argparse.Namespace) -> int:
    from chassis.bus.lost_letters import accept_loss
    from chassis.clock import SystemClock

    is_accepted = await accept_loss(js, reason=arguments.reason, time=SystemClock().now())
    if arguments.json:
        print(json.dumps({"accepted": is_accepted}))
    else:
        print("The loss is known from now on." if is_accepted else "No dead letters were lost.")
    return ExitCode.OK
