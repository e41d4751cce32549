"""Opening a repository from the command line: the key file, the tiers' addresses, and what each tier answered."""

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from urllib.parse import urlsplit

from cli.interruption import end_soon
from cli.options import HEADS_UNKNOWN, TIER_NAME, home_folder
from cli.output import say
from cli.repo_places import none_is_there, say_what_lies_there, why_absent
from cli.repo_secret import Provider, heads_path, in_words_of, provider_of
from cli.repo_waiting import Waiting
from repository.errors import (
    BackupCancelled,
    LocationInvalid,
    NotARepository,
    RepositoryError,
)
from repository.opened.open_tier import OpenTier, TierState
from repository.opened.opening import Patience
from repository.opened.own_folders import hides_log
from repository.opened.repository import Repository
from repository.opened.seen import HeadsFile
from repository.tiers.local_cache import LocalCache
from repository.tiers.location import open_tier, own_name
from repository.tiers.places import one_place_twice, refuse_one_place_twice
from repository.tiers.port import ObjectStore
from repository.tiers.retry import RetryPolicy
from repository.tiers.s3.credentials import credentials_from
from repository.tiers.s3.options import CredentialsProvider

_NAMED = re.compile(rf"({TIER_NAME})=((?:file|s3)://.*)", re.DOTALL)


def split_name(address: str) -> tuple[str | None, str]:
    """`NAME=URL` as its two parts; the name is None where there is none."""
    named = _NAMED.fullmatch(address)
    return (named[1], named[2]) if named else (None, address)


READING_SECONDS = 10.0
"""How long a command that only reads waits for a tier that does not answer, where there is another one."""
WRITING_SECONDS = 30.0
"""How long opening waits where the command would bring the tier something; then it is owed a catch-up."""


@contextmanager
def stores(
    arguments: argparse.Namespace, *, retry: RetryPolicy | None = None, waiting: Waiting | None = None
) -> Iterator[list[ObjectStore]]:
    """The tiers' stores, closed at the end. `NAME=URL` names a tier; else its folder or bucket does.

    Two tiers that would be called the same are told apart by a number. `retry` holds where an address says nothing;
    `waiting` says for which tiers the command waits, and why.
    Raises `LocationInvalid`, also where credentials are for a tier that is not there.
    """
    addresses: list[str] = arguments.tiers
    refuse_one_place_twice([(name or url, url) for name, url in map(split_name, addresses)])
    urls = _by_name(addresses)
    credentials = _credentials(arguments.credentials, urls)
    waiting = waiting or Waiting(arguments)
    opened: list[ObjectStore] = []
    try:
        for name, url in urls.items():
            own, failed = None if "retry-seconds=" in url else retry, partial(waiting.failed, name)
            opened.append(open_tier(url, name=name, retry=own, credentials=credentials.get(name), on_failure=failed))
        yield opened
    finally:
        for store in opened:
            store.close()


def _by_name(addresses: list[str]) -> dict[str, str]:
    urls: dict[str, str] = {}
    for address in addresses:
        given, url = split_name(address)
        name = given or own_name(url)
        if name in urls:
            name = next(other for number in count(2) if (other := f"{name}-{number}") not in urls)
        urls[name] = url
    return urls


def _credentials(given: Sequence[tuple[str, str]], urls: Mapping[str, str]) -> dict[str, CredentialsProvider]:
    """Each tier's own credentials, as `--credentials` names them; one without a tier is for all S3 tiers."""
    found: dict[str, CredentialsProvider] = {}
    for name, reference in sorted(given):  # those for every tier come first
        if name and name not in urls:
            raise LocationInvalid("credentials are for a tier that is not given", hint=f"There are: {', '.join(urls)}.")
        if name and urlsplit(urls[name]).scheme != "s3":
            raise LocationInvalid("a folder takes no credentials", hint="Leave them out for this tier.", tier=name)
        provider = credentials_from(reference)
        # Said before anything is opened: a tier that cannot be used for a slip of the pen is not one that is away.
        provider()
        wanted = [name] if name else [each for each, url in urls.items() if urlsplit(url).scheme == "s3"]
        found.update(dict.fromkeys(wanted, provider))
    return found


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether the user wants to stop.

    The first Ctrl-C (or SIGTERM) only asks: the work ends in order, and what was stored stays. The second is
    a `KeyboardInterrupt`. What has not ended after a moment, since a tier hangs, is cut off (`cli.interruption`).
    """
    asked = threading.Event()

    def ask(number: int, _frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        end_soon(number)
        with suppress(OSError):  # nobody reads it any more
            os.write(2, b"stopping; press Ctrl-C again to stop at once\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """A function that raises when the user wants to stop. It is called at the end, too: who asked is told."""
    with interruptible() as is_cancelled:

        def check_cancelled() -> None:
            if is_cancelled():
                raise BackupCancelled("stopped", hint="What was done stays; run the command again to go on.")

        yield check_cancelled
        check_cancelled()


@contextmanager
def opened(
    arguments: argparse.Namespace,
    *,
    only_reads: bool = False,
    needed: Sequence[str] = (),
    copies: Collection[str] = (),
    judges: bool = False,
) -> Iterator[Repository]:
    """The repository, with whatever tiers answer. Of the others a line on standard error says why.

    `only_reads`: another tier is as good, so that one which does not answer is not waited for long; but for those
    that are `needed`, by name. `copies`: tiers that may be copies of others, since that is to be mended.
    `judges`: it says what is whole, and has to be able to read all. Raises `KeysNotOpened`.
    """
    key = provider_of(arguments)
    is_hedged = only_reads and len(arguments.tiers) > 1 and not needed
    retry = RetryPolicy(budget_seconds=READING_SECONDS) if is_hedged else None
    waiting = Waiting(arguments)
    patience = Patience(
        seconds=READING_SECONDS if only_reads else WRITING_SECONDS,
        seconds_of=dict.fromkeys(needed, RetryPolicy().budget_seconds),
        on_waiting=waiting.silent,
    )
    with (
        stores(arguments, retry=retry, waiting=waiting) as tiers,
        _open(_named(tiers, arguments), key, patience, arguments) as repository,
    ):
        if not only_reads:
            refuse_one_tier_twice(repository, copies)
        if not only_reads or judges:
            # Here, so that what only lists and restores does not load it.
            from repository.opened.wrappings import refuse_unopened

            with in_words_of(arguments):
                refuse_unopened(repository)
        if not arguments.json:
            for tier in repository.tiers:
                if not tier.is_ready:
                    # Who repairs is told by the repair itself what is left to be done.
                    is_being_mended = tier.state is TierState.DAMAGED and arguments.subcommand == "repair"
                    why = f": {tier.error}" if tier.error else ""
                    why += f"\n    {tier.error.hint}" if tier.error and not is_being_mended else ""
                    print(f"tier {tier.name} is {tier.state}{why}", file=sys.stderr)
        try:
            yield repository
        finally:
            _note_heads(repository, arguments)


def _heads_of(arguments: argparse.Namespace) -> HeadsFile:
    """What was seen of the tiers, beside the key: a tier that is put back as a whole shows by that alone."""
    return HeadsFile(heads_path(arguments), _say_trouble, lambda: setattr(arguments, HEADS_UNKNOWN, True))


def _say_trouble(words: str) -> None:
    print(words, file=sys.stderr)


def places_not_given(repository: Repository, arguments: argparse.Namespace) -> list[str]:
    """Where tiers of this repository were seen from here that the command line does not name."""
    found = [tier.log.state.tier_id for tier in repository.readable_tiers()]
    identities = [each for each in found if each is not None]
    return _heads_of(arguments).not_among(repository.id, identities, list(_by_name(arguments.tiers).values()))


def _note_heads(repository: Repository, arguments: argparse.Namespace) -> None:
    places = _by_name(arguments.tiers)
    accepted = vars(arguments).get("accept_history") or ""
    # What was accepted is so although other damage is left: else the next command calls the tier replayed again.
    noted = [
        tier
        for tier in repository.readable_tiers()
        if tier.is_ready or (tier.name == accepted and tier.state is not TierState.REPLAYED)
    ]
    states = {places[tier.name]: tier.log.state for tier in noted if tier.name in places}
    heads = _heads_of(arguments)
    heads.note(repository.id, states, accepted=places.get(accepted, ""))
    new_key_file = vars(arguments).get("new_key_file")
    if new_key_file is not None and os.path.exists(new_key_file):
        # Whoever goes on with it is to notice as well that a tier went back.
        HeadsFile(f"{new_key_file}.heads", _say_trouble).take_over(heads, repository.id)


def _named(tiers: list[ObjectStore], arguments: argparse.Namespace) -> list[ObjectStore]:
    """The tiers, where all that options name are among them. Raises `LocationInvalid`, before any tier is asked."""
    options = vars(arguments)
    names = [*options.get("only", ()), *options.get("sources", ()), *options.get("require", ())]
    names += [options[each] for each in ("accept_history", "begin_anew") if options.get(each)]
    expect_names(names, {store.name for store in tiers})
    return tiers


def refuse_one_tier_twice(repository: Repository, copies: Collection[str] = ()) -> None:
    """Raise `LocationInvalid` where two tiers have one log: one place by two addresses, or a copy of it."""
    names: dict[bytes, str] = {}
    for tier in repository.readable_tiers():
        identity = tier.log.state.tier_id
        if identity is None or tier.name in copies or hides_log(tier.error):
            continue
        if names.setdefault(identity, tier.name) != tier.name:
            raise one_place_twice(names[identity], tier.name)


def _open(tiers: list[ObjectStore], key: Provider, patience: Patience, arguments: argparse.Namespace) -> Repository:
    heads, places = _heads_of(arguments), _by_name(arguments.tiers)
    with in_words_of(arguments):
        try:
            repository = Repository.open(
                tiers,
                key,
                patience=patience,
                known=lambda repository_id: heads.seen(repository_id, places),
                cache=local_cache(tiers),
            )
        except NotARepository as error:
            refuse_vanished(arguments)
            whys = {name: why for name, url in places.items() if (why := why_absent(name, url)) is not None}
            if isinstance(states := error.context.get("tiers"), dict):
                states.update({name: f"absent: {why}" for name, why in whys.items() if name in states})
            raise
    say_what_lies_there(repository, places)
    return repository


def refuse_vanished(arguments: argparse.Namespace) -> None:
    """Raise `NoUsableTier` where a tier was seen at one of the places, all of which are empty: no disk is mounted."""
    heads, places = _heads_of(arguments), _by_name(arguments.tiers)
    if gone := [name for name, place in places.items() if heads.knows(place)]:
        raise none_is_there(gone, places)


def local_cache(tiers: Sequence[ObjectStore]) -> LocalCache | None:
    """Where what was read of buckets is kept: `WEDSYNC_CACHE`, or the user's cache folder; None where there is none."""
    if all(store.capabilities.local for store in tiers):
        return None
    home = home_folder()
    caches = os.environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
    folder = os.environ.get("WEDSYNC_CACHE", f"{caches}/wedsync-backup/objects" if caches else "")
    return LocalCache(folder) if folder.startswith("/") else None


def lock_days(arguments: argparse.Namespace, repository: Repository) -> dict[str, int]:
    """Days by tier, as `--lock-days` asks for them. Raises `LocationInvalid` where no tier has a name that it gives."""
    known = [tier.name for tier in repository.tiers]
    days: dict[str, int] = {}
    for name, each in sorted(arguments.lock_days):  # those for every tier come first
        expect_names([name] if name else [], known)
        days.update(dict.fromkeys([name] if name else known, each))
    return days


def expect_names(names: Iterable[str], known: Collection[str]) -> None:
    """Raises `LocationInvalid` unless each name is a tier's."""
    if unknown := set(names) - set(known):
        hint = f"There are: {', '.join(sorted(known))}."
        raise LocationInvalid(f"no tier is called {', '.join(sorted(unknown))}", hint=hint)


def tier_states(repository: Repository) -> list[dict[str, object]]:
    """Each tier's state, for JSON."""
    return [
        {"tier": tier.name, "state": str(tier.state), "error": str(tier.error) if tier.error else None}
        for tier in repository.tiers
    ]


def say_tiers(repository: Repository) -> None:
    """Each tier's state, for people."""
    for tier in repository.tiers:
        say(f"  {tier.name}: {tier.state}{f': {tier.error}' if tier.error else ''}")
        say_hint(tier.error)


def say_hint(error: BaseException | None) -> None:
    """What to do about a tier's error, below the line that tells it."""
    if isinstance(error, RepositoryError) and error.hint:
        say(f"    {error.hint}")


def replayed(repository: Repository) -> list[tuple[str, str]]:
    """Tiers that show another history than was seen, and what to do about each."""
    tiers = [tier for tier in repository.tiers if tier.state is TierState.REPLAYED]
    return [(tier.name, tier.error.hint) for tier in tiers if tier.error is not None]


def chosen(repository: Repository, names: list[str]) -> list[OpenTier]:
    """The tiers of these names; all of them where none is given. Raises `NoUsableTier`."""
    return [repository.tier(name) for name in names] if names else repository.tiers
