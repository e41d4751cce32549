"""`repo init`."""

import argparse
import os
from collections.abc import Sequence

from cli.exit_codes import ExitCode
from cli.output import name_fields, say, say_json, shown
from cli.repo_places import refuse_no_folder
from cli.repo_secret import provider_of, words_for
from cli.repo_session import refuse_one_tier_twice, refuse_vanished, say_tiers, split_name, stores, tier_states
from cli.repo_waiting import Waiting
from repository.errors import RepositoryExists
from repository.keys.key_file import KeyFile
from repository.opened.opening import Patience
from repository.opened.repository import Repository
from repository.stored.config import CONFIG_KEY
from repository.tiers.places import refuse_among_others, refuse_key_within, refuse_nested, refuse_within_repository
from repository.tiers.port import ObjectStore


def init(arguments: argparse.Namespace) -> int:
    """A new repository on all tiers, under the key file's key or a new one."""
    is_new = arguments.key_file is not None and not os.path.lexists(arguments.key_file)
    addresses = [(name or url, url) for name, url in map(split_name, arguments.tiers)]
    refuse_nested(addresses)
    for name, url in addresses:
        refuse_no_folder(name, url)
        refuse_within_repository(name, url)
    if arguments.key_file is not None:
        refuse_key_within(arguments.key_file, (url for _, url in addresses))
    waiting = Waiting(arguments)
    with stores(arguments, waiting=waiting) as tiers:
        if not arguments.beside_other_files:
            for store, address in zip(tiers, arguments.tiers, strict=True):
                refuse_among_others(store, split_name(address)[1])
        if is_new:
            _refuse_beside_a_repository(tiers)
        elif arguments.key_file is not None and all(tier.head(CONFIG_KEY) is None for tier in tiers):
            refuse_vanished(arguments)
        key = KeyFile.create(arguments.key_file) if is_new else provider_of(arguments, is_new=True)
        with Repository.init(tiers, key, patience=Patience(on_waiting=waiting.silent)) as repository:
            refuse_one_tier_twice(repository)
            if arguments.json:
                made = {"repository": repository.id.hex(), "public_key": repository.config.public_key}
                if arguments.key_file is not None:
                    made |= name_fields("key_file", os.fsencode(arguments.key_file))
                say_json({**made, "key_file_created": is_new, "tiers": tier_states(repository)})
                return ExitCode.OK
            say(f"repository {repository.id.hex()} created on:")
            say_tiers(repository)
    if is_new:
        say(f"\nThe key is in {shown(os.fsencode(arguments.key_file))}. Without it nothing can ever be read again:")
        say("keep copies of it apart from the backups.")
    elif arguments.key_file is None:
        say(f"\nWithout {words_for(arguments)} nothing can ever be read again: it is stored nowhere.")
    return ExitCode.OK


def _refuse_beside_a_repository(tiers: Sequence[ObjectStore]) -> None:
    """Before a key is made that would open nothing of what is there, and be taken for the one that does."""
    for tier in tiers:
        if tier.head(CONFIG_KEY) is not None:
            raise RepositoryExists(
                "there is a repository already, and the key file is not there",
                hint="Put its key file back from its copy: no new key is made for what is there. For a new repository "
                "choose an empty place.",
                tier=tier.name,
            )
