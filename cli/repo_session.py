"""Opening a repository from the command line: the key file, the tiers' addresses, and what each tier answered."""

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cli.output import say
from repository.key_file import KeyFile
from repository.repository import Repository
from repository.tiers.location import open_tier
from repository.tiers.port import ObjectStore

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62})=((?:file|s3)://.*)", re.DOTALL)


@contextmanager
def stores(addresses: list[str]) -> Iterator[list[ObjectStore]]:
    """The tiers' stores, closed at the end. `NAME=URL` names a tier; else its folder or bucket does.

    Two tiers that would be called the same are told apart by a number.
    """
    opened: list[ObjectStore] = []
    taken: set[str] = set()
    try:
        for address in addresses:
            named = _NAMED.fullmatch(address)
            store = open_tier(named[2], name=named[1]) if named else open_tier(address)
            if store.name in taken:
                base, number = store.name, 2
                while f"{base}-{number}" in taken:
                    number += 1
                store.close()
                store = open_tier(named[2] if named else address, name=f"{base}-{number}")
            taken.add(store.name)
            opened.append(store)
        yield opened
    finally:
        for store in opened:
            store.close()


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
