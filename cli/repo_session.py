"""Opening a repository from the command line: the key file, the tiers' addresses, and what each tier answered."""

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from cli.output import say
from repository.key_file import KeyFile
from repository.repository import Repository
from repository.tiers.location import open_tier
from repository.tiers.port import ObjectStore

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62})=((?:file|s3)://.*)", re.DOTALL)


def split_name(address: str) -> tuple[str | None, str]:
    """`NAME=URL` as its two parts; the name is None where there is none."""
    named = _NAMED.fullmatch(address)
    return (named[1], named[2]) if named else (None, address)


@contextmanager
def stores(addresses: list[str]) -> Iterator[list[ObjectStore]]:
    """The tiers' stores, closed at the end. `NAME=URL` names a tier; else its folder or bucket does.

    Two tiers that would be called the same are told apart by a number.
    """
    opened: list[ObjectStore] = []
    taken: set[str] = set()
    try:
        for address in addresses:
            name, url = split_name(address)
            store = open_tier(url, name=name)
            if store.name in taken:
                number = next(number for number in count(2) if f"{store.name}-{number}" not in taken)
                store.close()
                store = open_tier(url, name=f"{store.name}-{number}")
            taken.add(store.name)
            opened.append(store)
        yield opened
    finally:
        for store in opened:
            store.close()


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether the user wants to stop.

    The first Ctrl-C (or SIGTERM) only asks: the work ends in order, and what was stored stays. The second is
    a `KeyboardInterrupt`.
    """
    asked = threading.Event()

    def ask(_number: int, _frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        os.write(2, b"stopping; press Ctrl-C again to stop at once\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[Repository]:
    """The repository, with whatever tiers answer. Of the others a line on standard error says why."""
    key = KeyFile.load(arguments.key_file)
    with stores(arguments.tiers) as tiers, Repository.open(tiers, key) as repository:
        if not arguments.json:
            for tier in repository.tiers:
                if not tier.is_ready:
                    print(f"tier {tier.name} is {tier.state}{_because(tier.error)}", file=sys.stderr)
        yield repository


def tier_states(repository: Repository) -> list[dict[str, object]]:
    """Each tier's state, for JSON."""
    return [
        {"tier": tier.name, "state": str(tier.state), "error": str(tier.error) if tier.error else None}
        for tier in repository.tiers
    ]


def say_tiers(repository: Repository) -> None:
    """Each tier's state, for people."""
    for tier in repository.tiers:
        say(f"  {tier.name}: {tier.state}{_because(tier.error)}")


def _because(error: object) -> str:
    return f": {error}" if error else ""
