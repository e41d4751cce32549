"""`repo kit`: the key in shares on paper, and back."""

import argparse
import os
from datetime import UTC, datetime

from cli.exit_codes import ExitCode
from cli.output import say, say_json
from cli.repo_key_options import KIT_PASSPHRASE_VARIABLE
from cli.repo_secret import provider_of, typed
from cli.repo_session import opened, say_tiers, stores, tier_states
from repository.errors import KeyNotGiven, KeysNotOpened, WrongKey
from repository.keys.key_file import KeyFile, write_keys
from repository.keys.kit import Share, key_of, make_shares, read_share, write_shares
from repository.opened.repository import Repository
from repository.opened.wrappings import keys_of
from repository.ports import SYSTEM_CLOCK
from repository.tiers.port import ObjectStore
from repository.upkeep.read_back import read_back


def export(arguments: argparse.Namespace) -> int:
    """The present key of the key file as shares, each in a file to be printed."""
    provider = provider_of(arguments)
    if not isinstance(provider, KeyFile):
        hint = "Make a key file beside the passphrase (`repo key add --new-key-file FILE`) and export that."
        raise KeyNotGiven("a kit is made of a key file's key", hint=hint)
    with opened(arguments, only_reads=True) as repository:
        _refuse_unopened(repository, KeyFile([provider.present_kek]))
        made = datetime.fromtimestamp(SYSTEM_CLOCK.now_ns() // 10**9, UTC).date().isoformat()
        texts = make_shares(
            provider.present_kek,
            repository.id,
            threshold=arguments.threshold,
            count=arguments.shares,
            made=made,
            tiers=arguments.tiers,
            root=repository.keys.root.key_id,
            passphrase=_passphrase(arguments, twice=True),
        )
    paths = write_shares(arguments.out, texts)
    # What was written is what gives the key back, or nobody was helped.
    key_of([read_share(path) for path in paths[-arguments.threshold :]], _passphrase(arguments))
    key = provider.kek_id().hex()
    if arguments.json:
        say_json({"files": list(map(str, paths)), "threshold": arguments.threshold, "key": key})
    else:
        for path in paths:
            say(str(path))
        say(
            f"any {arguments.threshold} of these {len(paths)} give back the key {key}; print each, keep them apart from"
        )
        say("each other and from the tiers, try them (`repo kit check`), and remove the files")
    return ExitCode.OK


def check(arguments: argparse.Namespace) -> int:
    """Whether the shares open the repository; nothing is written anywhere."""
    shares = _shares(arguments)
    key = KeyFile([key_of(shares, _passphrase(arguments))])
    with stores(arguments) as tiers, _opened_by(tiers, key) as repository:
        shut = _shut(repository)
        newest = repository.snapshots()[-1:]
        proven = [tier for tier in repository.ready_tiers() for each in newest if each.id in tier.snapshots()]
        for tier in [] if shut else proven:
            read_back(repository, tier, newest[0].id)
        read = [] if shut else [tier.name for tier in proven]
        states = tier_states(repository)
        root = repository.keys.root.key_id.hex()
        if not arguments.json:
            say_tiers(repository)
    is_well = not shut and all(each["state"] == "ready" for each in states)
    if arguments.json:
        made_for = shares[0].root or None
        roots = {"root": made_for, "root_in_force": root}
        say_json(
            {"opens": True, "keys_not_opened": shut, "tiers": states, "read_back": read, "shares": len(shares), **roots}
        )
    elif shut:
        say(
            f"the kit opens the repository, and NOT {len(shut)} of its keys: export a new one with the present key file"
        )
    else:
        say("the kit opens the repository and every key of it")
    if not arguments.json:
        _say_root(shares[0].root, root)
    if shut:
        return ExitCode.WRONG_KEY
    return ExitCode.OK if is_well else ExitCode.DEGRADED


def _opened_by(tiers: list[ObjectStore], key: KeyFile) -> Repository:
    try:
        return Repository.open(tiers, key)
    except WrongKey as error:
        error.hint = (
            "The kit is of another repository, or of a key that was removed since (`repo key remove`): export a new one"
            " with the present key file (`repo kit export`), and put it where this one is."
        )
        raise


def _say_root(made_for: str, in_force: str) -> None:
    if not made_for:
        say(f"the kit does not say which root it was made for; {in_force} is in force")
    elif made_for == in_force:
        say(f"it was made for the root {in_force}, which is in force")
    else:
        say(
            f"it was made for the root {made_for}; another one took its place since, {in_force}, which it opens as well"
        )


def restore(arguments: argparse.Namespace) -> int:
    """A key file from shares. No tier is needed."""
    kek = key_of(_shares(arguments), _passphrase(arguments))
    write_keys(arguments.out, [kek])
    key = KeyFile([kek]).kek_id().hex()
    if arguments.json:
        say_json({"key_file": arguments.out, "key": key})
    else:
        say(f"{arguments.out} holds the key {key}: its owner alone may read it")
    return ExitCode.OK


def _shares(arguments: argparse.Namespace) -> list[Share]:
    return [read_share(path) for path in arguments.files]


def _passphrase(arguments: argparse.Namespace, *, twice: bool = False) -> str:
    """That of the kit, where one was asked for; typed once for each command."""
    if not arguments.kit_passphrase:
        return ""
    options = vars(arguments)
    if "_kit_passphrase" not in options:
        given = os.environ.get(KIT_PASSPHRASE_VARIABLE)
        options["_kit_passphrase"] = given or typed("kit's passphrase: ", KIT_PASSPHRASE_VARIABLE, twice=twice)
    text: str = options["_kit_passphrase"]
    return text


def _shut(repository: Repository) -> list[str]:
    return [each.key_id for each in keys_of(repository) if each.domain is None and not each.is_destroyed]


def _refuse_unopened(repository: Repository, alone: KeyFile) -> None:
    """Raises `KeysNotOpened` where the present key alone does not open every key on every tier that is there."""
    kek = alone.kek_id().hex()
    shut = [each.key_id for each in keys_of(repository) if kek not in each.wrapped_under and not each.is_destroyed]
    if shut:
        hint = "`repo key rotate --new-key-file FILE` makes one that wraps all; export the kit with that."
        raise KeysNotOpened("the key file's present key does not open every key", hint=hint, keys=len(shut))
