"""`repo erase` and `repo verify-receipt`: a key domain destroyed in two steps, and the proof of it."""

import argparse
import os
import sys

from cli.exit_codes import ExitCode
from cli.options import UsageInvalid
from cli.output import say, say_json
from cli.repo_session import opened, places_not_given
from repository.errors import ReceiptNotFound, ReceiptUnreadable, RestoreRefused
from repository.regular_file import open_regular
from repository.retention.erasure import Erasure, ErasurePlan, erase, plan_erasure
from repository.retention.receipt import LENGTH_MAX, NOT_PROMISED, receipt_of, verified

_NOT_GIVEN = (
    "what it has opens with its own wrapped keys until it is caught up, so give it as well (`--tier`); "
    "is it gone for good, destroy what lies there"
)


def erase_domain(arguments: argparse.Namespace) -> int:
    """Say what would be destroyed; with the word that this gives, destroy it."""
    if arguments.receipt is not None and os.path.lexists(arguments.receipt):
        hint = "Name a file that is not there: nothing is overwritten, and nothing was erased."
        raise RestoreRefused("the receipt's file exists already", hint=hint, file=arguments.receipt)
    with opened(arguments) as repository:
        if arguments.confirm is None:
            return _planned(
                arguments, plan_erasure(repository, arguments.domain), places_not_given(repository, arguments)
            )
        done = erase(repository, arguments.domain, arguments.confirm)
        not_given = places_not_given(repository, arguments)
        document = receipt_of(repository, done, not_given)
    is_kept = _kept(arguments.receipt, document)
    if arguments.json:
        import json

        say_json(
            {
                **json.loads(document),
                "complete": done.is_complete and not not_given,
                "receipt_file": arguments.receipt,
                "not_given": not_given,
            }
        )
    else:
        _say_done(done)
        say(f"the receipt is in {arguments.receipt}" if arguments.receipt and is_kept else document.decode())
    if not done.is_complete:
        print("the erasure is NOT complete: say it again when what is left can go", file=sys.stderr)
    for place in not_given:
        print(
            f"a tier that was seen at {place} was not given, and of it nothing is erased: {_NOT_GIVEN}", file=sys.stderr
        )
    return ExitCode.OK if done.is_complete and is_kept and not not_given else ExitCode.DEGRADED


def verify_receipt(arguments: argparse.Namespace) -> int:
    """Whether the repository's key signed a receipt, and what it says; without repository, key or network."""
    try:
        with open_regular(arguments.file) as file:
            document = file.read(LENGTH_MAX)
        public_key = bytes.fromhex(arguments.public_key)
    except FileNotFoundError:
        raise ReceiptNotFound("there is no such receipt", file=arguments.file) from None
    except OSError as error:
        raise ReceiptUnreadable("the receipt cannot be read", reason=error.strerror, file=arguments.file) from None
    except ValueError:
        public_key = b""
    if len(public_key) != 32:
        raise UsageInvalid(
            "a public key has 64 hexadecimal digits", hint="`repo key list --json` and each tier's `config` show it."
        )
    receipt = verified(document, public_key)
    if arguments.json:
        import json

        say_json({"genuine": True, "receipt": json.loads(document)["receipt"]})
    else:
        say(f"genuine: signed by the key of repository {receipt.repository_id} on {receipt.time}")
        say(f"domain {receipt.domain}: keys {', '.join(receipt.key_ids)}, {len(receipt.snapshots)} snapshots")
        for tier in receipt.tiers:
            say(f"  {tier.name}: {tier.state}, {len(tier.removed)} wrapped keys removed{_because(tier.why)}")
            for object_key, why in tier.left.items():
                say(f"    LEFT {object_key}: {why}")
        say("complete" if receipt.is_complete else "NOT complete")
        for sentence in receipt.not_promised:
            say(f"- {sentence}")
    return ExitCode.OK if receipt.is_complete else ExitCode.DEGRADED


def _planned(arguments: argparse.Namespace, plan: ErasurePlan, not_given: list[str]) -> int:
    code = ExitCode.DEGRADED if not_given else ExitCode.OK
    if arguments.json:
        copies = {
            name: {each.object_key: each.locked_until and each.locked_until.isoformat() for each in found}
            for name, found in plan.copies.items()
        }
        say_json(
            {
                "domain": plan.domain,
                "key_ids": plan.key_ids,
                "snapshots": plan.snapshots,
                "held_by": plan.holds,
                "wrapped_keys": copies,
                "away": {name: str(error or "") for name, error in plan.away.items()},
                "opened_by": plan.keks,
                "not_given": not_given,
                "not_promised": NOT_PROMISED,
                "confirm": plan.word,
            }
        )
        return code
    say(f"domain {plan.domain}: {len(plan.key_ids)} keys, {len(plan.snapshots)} snapshots would be unreadable for ever")
    for identity in plan.snapshots:
        say(f"  snapshot {identity}")
    for name, found in plan.copies.items():
        say(f"  {name}: {len(found)} wrapped keys would be deleted")
        for each in found:
            if each.locked_until is not None:
                say(f"    LOCKED until {each.locked_until.isoformat()}, and stays: {each.object_key}")
    for name, error in plan.away.items():
        say(f"  {name} is away, and keeps what it has until it is caught up{_because(str(error or ''))}")
    for place in not_given:
        say(f"  a tier that was seen at {place} is not given: {_NOT_GIVEN}")
    for hold in plan.holds:
        say(f"  HELD by {hold}: nothing is erased before `repo release {hold}`")
    say("what is not promised:")
    for sentence in NOT_PROMISED:
        say(f"- {sentence}")
    say(f"nothing was erased. To do it: the same command with --confirm {plan.word} --receipt FILE")
    return code


def _say_done(done: Erasure) -> None:
    for name, each in done.tiers.items():
        if each.failed is not None:
            say(f"{name}: NOT erased: {each.failed} [{each.failed.code}]")
            continue
        say(f"{name}: {len(each.removed)} wrapped keys deleted")
        for object_key, why in each.left.items():
            say(f"  LEFT {object_key}: {why}")
    for name, error in done.away.items():
        say(f"{name} is away, and keeps what it has until it is caught up{_because(str(error or ''))}")


def _kept(path: str | None, document: bytes) -> bool:
    if path is None:
        return True
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(document)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        print(f"the receipt could not be written: {error.strerror}; it follows on standard output", file=sys.stderr)
        return False
    return True


def _because(why: str) -> str:
    return f": {why}" if why else ""
