"""`repo key`: which keys there are, who opens them, and their change."""

import argparse
import os
import re
import sys
from collections.abc import Mapping

from cli.exit_codes import ExitCode, exit_code_of
from cli.output import columns, say, say_json
from cli.repo_owed import way_to_catch_up
from cli.repo_secret import Provider, new_passphrase, provider_of, words_for
from cli.repo_session import opened, say_hint, split_name
from repository.errors import KeyFileNotMade, KeyNotFound, KeysNotOpened, NoUsableTier, RepositoryError
from repository.keys.key_file import KeyFile
from repository.opened.key_change import add_generation, rewrap
from repository.opened.repository import Repository
from repository.opened.wrappings import (
    give_all_keys,
    keks_of,
    keys_of,
    left_of_removed,
    not_opening,
    refuse_if_opens,
    remove_wrappings,
)
from repository.tiers.places import refuse_key_within


def show(arguments: argparse.Namespace) -> int:
    """Every key, and under which key-encryption keys it is wrapped."""
    with opened(arguments, only_reads=True) as repository:
        found = keys_of(repository)
        lost, removed = list(repository.keys.lost), left_of_removed(repository)
        root = repository.keys.root.key_id.hex()
        public_key = repository.keys.root.signer().public_key.hex()
    own = provider_of(arguments).kek_id().hex()
    shut = [each.key_id for each in found if each.domain is None and not each.is_destroyed]
    code = ExitCode.DEGRADED if lost or shut else ExitCode.OK
    if shut:
        told = f"{words_for(arguments)} does not open {', '.join(shut)}: which key is active is not known"
        print(f"{told} [{KeysNotOpened.code}]\n{KeysNotOpened.hint}", file=sys.stderr)
    if arguments.json:
        document = {"keys": [each._asdict() for each in found], "lost": lost, "opened_by": own}
        left = {
            kek: {name: {key: until and until.isoformat() for key, until in copies} for name, copies in on.items()}
            for kek, on in removed.items()
        }
        say_json({**document, "root": root, "public_key": public_key, "removed": left})
        return code
    rows = [("KEY", "DOMAIN", "GENERATION", "STATE", "WRAPPED UNDER")]
    for each in found:
        known = {True: "active", False: "reads older packs", None: "unknown"}
        state = "destroyed" if each.is_destroyed else known[each.is_active]
        keks = (
            f"{kek}{' (this one)' if kek == own else ''} on {','.join(on)}" for kek, on in each.wrapped_under.items()
        )
        generation = "" if each.generation is None else f"{each.generation}"
        rows.append((each.key_id, each.domain or "not opened by this one", generation, state, "; ".join(keks)))
    for line in columns(rows):
        say(line)
    for object_key in lost:
        say(f"LOST: {object_key} is on no tier")
    for kek, on in removed.items():
        for name, copies in on.items():
            dates = [each.locked_until for each in copies if each.locked_until is not None]
            until = f", locked until {max(dates).isoformat()}" if dates else ""
            say(f"{kek} was removed, and still opens what lies on {name}{until}: then `repo key remove {kek}`")
    return code


def add(arguments: argparse.Namespace) -> int:
    """Wrap every key under another key file's key, or another passphrase's, as well."""
    path = arguments.new_key_file
    is_new = path is not None and not os.path.lexists(path)
    _refuse_beside_what_it_opens(arguments)
    with opened(arguments) as repository:
        provider = (
            _other_passphrase(repository) if path is None else KeyFile.create(path) if is_new else KeyFile.load(path)
        )
        stored = _on_every_tier(repository, rewrap(repository, provider))
        away = {tier.name: tier.error for tier in repository.tiers if tier.name not in stored}
    done = f"{path or 'the new passphrase'} {'was made and ' if is_new else ''}opens the repository"
    return _told(arguments, stored, away, done, {"new_key_file": path, "created": is_new})


def rotate(arguments: argparse.Namespace) -> int:
    """A new key-encryption key in a new file, or with --data a new key for what is written from now on."""
    shut_out: list[str] = []
    _refuse_beside_what_it_opens(arguments)
    with opened(arguments) as repository:
        provider = provider_of(arguments)
        if arguments.root:
            from repository.upkeep.root_change import change_root

            is_new, stored = change_root(repository, provider)
            stored = _on_every_tier(repository, stored)
            what = "the root was changed" if is_new else "a change of the root that was begun is finished"
            done = f"{what}: what the one before signs from now on counts nowhere"
            shut_out = not_opening(repository, repository.keys.newest_root.key_id.hex())
        elif arguments.data:
            expect_domain(repository, arguments.domain)
            stored = _on_every_tier(repository, add_generation(repository, provider, arguments.domain))
            done = "what is written from now on is encrypted under a new key; what is stored is recognised as before"
            shut_out = not_opening(repository, repository.keys.active(arguments.domain).key_id.hex())
        else:
            old = keks_of(repository)
            new_provider = _successor(repository, provider, arguments.new_key_file)
            stored = _on_every_tier(repository, rewrap(repository, new_provider))
            new = arguments.new_key_file or "the new passphrase"
            ends = ", ".join(f"`repo key remove {kek}`" for kek in old)
            kept = (
                "keep a copy\napart from the backups"
                if arguments.new_key_file
                else "keep it\nwhere you find it: it is stored nowhere"
            )
            done = f"{new} opens the repository: use it from now on, {kept}, then end the old one with it: {ends}"
        away = {tier.name: tier.error for tier in repository.tiers if tier.name not in stored}
    document = {
        "new_key_file": arguments.new_key_file,
        "data": arguments.data,
        "root": arguments.root,
        "not_opened_by": shut_out,
    }
    code = _told(arguments, stored, away, done, document)
    _say_shut_out(shut_out)
    return code or (ExitCode.DEGRADED if shut_out else ExitCode.OK)


def _refuse_beside_what_it_opens(arguments: argparse.Namespace) -> None:
    if arguments.new_key_file is not None:
        refuse_key_within(arguments.new_key_file, [split_name(each)[1] for each in arguments.tiers])


def _other_passphrase(repository: Repository) -> Provider:
    """Raises `KeyNotGiven`, also of one that opens the repository already."""
    provider = new_passphrase()
    refuse_if_opens(repository, provider)
    return provider


def _on_every_tier(
    repository: Repository, stored: dict[str, RepositoryError | None]
) -> dict[str, RepositoryError | None]:
    """What became of each tier, those included that an earlier call did not come to since it was killed."""
    given = give_all_keys(repository)
    return {name: error if error is not None else given.get(name) for name, error in stored.items()}


def _successor(repository: Repository, provider: Provider, new_key_file: str | None) -> Provider:
    """The key that takes the place of this one."""
    if new_key_file is None:
        return _other_passphrase(repository)
    if isinstance(provider, KeyFile):
        return provider.successor(new_key_file)
    # A file of its own where there was a passphrase: it needs no older key, since it wraps every one.
    try:
        return KeyFile.create(new_key_file)
    except KeyFileNotMade as error:
        error.hint += " If a rotation that made it was stopped: `repo key add --new-key-file` ends that."
        raise


def domain(arguments: argparse.Namespace) -> int:
    """Begin a key domain. One that is there stays as it is."""
    with opened(arguments) as repository:
        is_new = arguments.name not in {keys.domain for keys in repository.keys.all()}
        ready: dict[str, RepositoryError | None] = {tier.name: None for tier in repository.ready_tiers()}
        stored = add_generation(repository, provider_of(arguments), arguments.name) if is_new else ready
        stored = _on_every_tier(repository, stored)
        shut_out = not_opening(repository, repository.keys.active(arguments.name).key_id.hex())
        away = {tier.name: tier.error for tier in repository.tiers if tier.name not in stored}
    done = (
        f"domain {arguments.name} {'begins' if is_new else 'is there already'}: `repo backup --domain` writes into it"
    )
    document = {"domain": arguments.name, "created": is_new, "not_opened_by": shut_out}
    code = _told(arguments, stored, away, done, document)
    _say_shut_out(shut_out)
    return code or (ExitCode.DEGRADED if shut_out else ExitCode.OK)


def expect_domain(repository: Repository, name: str) -> None:
    """Raises `KeyNotFound` unless this key opens a domain of this name, and it is not destroyed."""
    live = {keys.domain for keys in repository.keys.all() if keys.key_id.hex() not in repository.keys.destroyed}
    if name not in live:
        hint = "`repo key list` shows the domains; `repo key domain NAME` begins one."
        raise KeyNotFound("no key domain has this name", hint=hint, domain=name)


def _say_shut_out(keks: list[str]) -> None:
    for kek in keks:
        print(
            f"the key file or passphrase of {kek} does NOT open what is written from now on: "
            "`repo key add` with each of those",
            file=sys.stderr,
        )


def remove(arguments: argparse.Namespace) -> int:
    """End a key-encryption key."""
    kek = arguments.kek.lower()
    if not re.fullmatch("[0-9a-f]+", kek):
        hint = "It is named by its id, as `repo key list` shows it: its file may be gone."
        raise KeyNotFound("this is not the id of a key (hex digits)", hint=hint, kek=arguments.kek)
    with opened(arguments) as repository:
        done = remove_wrappings(repository, kek, provider_of(arguments))
        left = sorted({kek for each in keys_of(repository) if not each.is_destroyed for kek in each.wrapped_under})
        own = keks_of(repository)
    if arguments.json:
        failed = {name: f"{each.failed} [{each.failed.code}]" for name, each in done.items() if each.failed is not None}
        removed = {name: len(each.removed) for name, each in done.items()}
        kept = {name: each.left for name, each in done.items() if each.left}
        say_json({"kek": kek, "removed": removed, "left": kept, "failed": failed, "still_opened_by": left})
    else:
        for name, each in done.items():
            if each.failed is not None:
                say(f"{name}: NOT done: {each.failed} [{each.failed.code}]")
            say(f"{name}: {len(each.removed):,} wrapped keys removed")
            for object_key, why in each.left.items():
                say(f"  LEFT {object_key}: {why}")
        others = ", ".join(f"{kek}{' (this one)' if kek in own else ''}" for kek in left)
        say(f"still wrapped under: {others}")
        say("a key file or passphrase that opens one of these still opens the repository; so does the one that was")
        say("removed, on a tier that was not given")
    if all(each.is_complete for each in done.values()):
        return ExitCode.OK
    told = "the removal is on record: nothing brings these back, or locks them for longer"
    print(f"{told}. Say it again when what is left can go: `repo key remove {kek}`", file=sys.stderr)
    return ExitCode.DEGRADED


def _what_then(error: RepositoryError | None, *, is_done: bool) -> str:
    if is_done:
        return f": {way_to_catch_up(error)} brings it there"
    return f"\n    {error.hint}" if error is not None else ""


def _told(
    arguments: argparse.Namespace,
    stored: dict[str, RepositoryError | None],
    away: Mapping[str, RepositoryError | None],
    done: str,
    document: dict[str, object],
) -> int:
    failed = {name: f"{error} [{error.code}]" for name, error in stored.items() if error is not None}
    tiers = [name for name, error in stored.items() if error is None]
    if arguments.json:
        say_json({**document, "tiers": tiers, "failed": failed, "owed": list(away)})
    else:
        say(done if tiers else "NOTHING was done")
        for name, why in failed.items():
            say(f"{name}: NOT done: {why}")
            say_hint(stored[name])
        for name, error in away.items():
            is_away = error is None or exit_code_of(error) is ExitCode.UNAVAILABLE
            say(f"{name} {'is away' if is_away else f'was left out ({error})'}{_what_then(error, is_done=bool(tiers))}")
    if not tiers:
        errors = [*stored.values(), *away.values()]
        return exit_code_of(NoUsableTier.because("no tier has it", errors))
    return ExitCode.DEGRADED if failed or away else ExitCode.OK
