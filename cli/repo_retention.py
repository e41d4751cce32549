"""`repo forget`, `hold`, `release`, `holds` and `tag`: which snapshots stay, and how they are found."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

from cli.exit_codes import ExitCode
from cli.options import UsageInvalid
from cli.output import columns, moment, say, say_json, shown, timestamp
from cli.repo_owed import way_to_catch_up
from cli.repo_session import opened
from cli.repo_snapshots import completeness_of
from repository.errors import RulesInvalid, SnapshotNotFound
from repository.opened.repository import Repository
from repository.retention.orders import Ordered, give_tags, holds_of, owed_orders
from repository.retention.orders import forget as forget_snapshots
from repository.retention.rules import Judgement, Rules, judge, span_of
from repository.retention.tags import tags_of
from repository.stored.snapshot import Snapshot, host_of
from repository.upkeep import store_holds
from repository.upkeep.store_holds import StoreHolds


def forget(arguments: argparse.Namespace) -> int:
    """Judge the snapshots by the rules, or take those named, and let go what is to go; say of each why."""
    rules = _rules(arguments)
    with opened(arguments, only_reads=arguments.dry_run) as repository:
        judged = _judged(repository, arguments, rules)
        code = completeness_of(repository)
        going = [each.snapshot for each in judged if not each.is_kept]
        locked = _locks(repository, going)
        emptied = _emptied(repository, going)
        done, untold = None, {tier.name: len(owed_orders(repository, tier)) for tier in repository.ready_tiers()}
        if not arguments.dry_run and (going or any(untold.values())):
            # Also where nothing goes: a tier that was not told of the last time has what went then, and shows it.
            done = forget_snapshots(repository, [each.id for each in going], arguments.reason)
            done.owed = done.owed if going else {}
    if arguments.json:
        say_json(
            {
                **_judgements_document(judged, locked),
                "dry_run": arguments.dry_run,
                "emptied": emptied,
                "taken_over": done.taken_over if done is not None else {},
                **_tiers_document(done),
            }
        )
    else:
        _say_judgements(judged, locked, is_named=bool(arguments.snapshots))
        is_done = "would go" if arguments.dry_run else "forgotten"
        say(f"\n{len(going):,} {is_done}, {len(judged) - len(going):,} kept")
        for name, count in done.taken_over.items() if done is not None else ():
            say(f"{name}: told {count:,} orders that other tiers had been given before")
        _say_owed(done)
    for name, count in untold.items() if arguments.dry_run else ():
        if count:
            words = "orders that other tiers have: without --dry-run it is"
            print(f"{name} was not told {count:,} {words}", file=sys.stderr)
    for name in emptied:
        words = "has none of what is kept, and a prune takes away all that it has"
        print(f"{name}: {words}; `repo catch-up` first, then `repo prune`", file=sys.stderr)
    return ExitCode.DEGRADED if emptied or (done is not None and not done.is_everywhere) else code


def tag(arguments: argparse.Namespace) -> int:
    """Give snapshots other tags than they have."""
    if not (arguments.add or arguments.remove or arguments.set):
        raise UsageInvalid("it is not said which tags", "Give --add, --remove or --set.")
    with opened(arguments) as repository:
        chosen = {each.id: each for each in map(repository.find_snapshot, arguments.snapshots)}
        tags: dict[str, tuple[str, ...]] = {}
        for identity, snapshot in chosen.items():
            before = arguments.set if arguments.set is not None else tags_of(repository, snapshot)
            wanted = dict.fromkeys((*before, *arguments.add))
            tags[identity] = tuple(word for word in wanted if word and word not in arguments.remove)
        done = give_tags(repository, tags)
    if arguments.json:
        listed = [{"id": identity, "tags": list(words)} for identity, words in tags.items()]
        say_json({"snapshots": listed, **_tiers_document(done)})
    else:
        for identity, words in tags.items():
            say(f"{identity[:12]}  {', '.join(map(_text, words)) or 'has no tags'}")
        _say_owed(done)
    return ExitCode.OK if done.is_everywhere else ExitCode.DEGRADED


def _text(word: str) -> str:
    return shown(word.encode("utf-8", "surrogatepass"))


def hold(arguments: argparse.Namespace) -> int:
    """Place a hold on the snapshots named, or on all."""
    if bool(arguments.snapshots) == arguments.all:
        raise RulesInvalid("it is not said what is to be held", hint="Name the snapshots, or give --all; not both.")
    with opened(arguments) as repository:
        ids = [repository.find_snapshot(name).id for name in arguments.snapshots]
        done, stores = store_holds.place(repository, arguments.name, ids, arguments.reason)
    document = {"hold": arguments.name, "snapshots": ids}
    return _ordered(arguments, done, stores, document, f"hold {arguments.name} is placed", "are under legal hold now")


def release(arguments: argparse.Namespace) -> int:
    """End a hold."""
    with opened(arguments) as repository:
        done, stores = store_holds.release(repository, arguments.name)
    document = {"hold": arguments.name}
    return _ordered(
        arguments, done, stores, document, f"hold {arguments.name} is released", "are under legal hold no longer"
    )


def holds(arguments: argparse.Namespace) -> int:
    """What is held."""
    with opened(arguments, only_reads=True) as repository:
        found = holds_of(repository)
        code = completeness_of(repository)
    if arguments.json:
        say_json({"holds": [{"name": name, "snapshots": list(held)} for name, held in sorted(found.items())]})
        return code
    for name, held in sorted(found.items()):
        say(f"{shown(name.encode())}: {', '.join(each[:12] for each in held) or 'every snapshot'}")
    if not found:
        say("nothing is held")
    return code


def _rules(arguments: argparse.Namespace) -> Rules | None:
    """What the options ask for; None where snapshots are named. Raises `RulesInvalid`."""
    words = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
    last, hourly, daily, weekly, monthly, yearly = (getattr(arguments, f"keep_{word}") for word in words)
    has_counts = last or hourly or daily or weekly or monthly or yearly
    has_rules = has_counts or arguments.keep_within is not None or bool(arguments.keep_tag)
    if arguments.snapshots:
        if has_rules or arguments.label is not None or arguments.host is not None:
            raise RulesInvalid("snapshots are named, and rules given", hint="Give the one or the other.")
        return None
    within = span_of(arguments.keep_within) if arguments.keep_within is not None else None
    tags, zone = tuple(arguments.keep_tag), _zone(arguments.time_zone)
    return Rules(last, hourly, daily, weekly, monthly, yearly, within=within, tags=tags, zone=zone)


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = "Name it as Europe/Berlin; the system's list of time zones has to have it."
        raise RulesInvalid("no time zone has this name", hint=hint, zone=name) from None


def _judged(repository: Repository, arguments: argparse.Namespace, rules: Rules | None) -> list[Judgement]:
    if rules is None:
        chosen = {each.id: each for each in (_named(repository, name) for name in arguments.snapshots)}
        return [Judgement(each, ()) for each in chosen.values()]
    found = repository.snapshots(arguments.label)
    if arguments.host is not None:
        found = [each for each in found if host_of(each.manifest) == arguments.host]
    if (arguments.label is not None or arguments.host is not None) and not found:
        raise SnapshotNotFound("no snapshot is of this label and host", label=arguments.label, host=arguments.host)
    tags = {each.id: tags_of(repository, each) for each in found} if rules.tags else {}
    unknown = sorted(set(rules.tags) - {word for words in tags.values() for word in words})
    if unknown and rules == Rules(tags=rules.tags, zone=rules.zone):
        hint = "`repo snapshots` shows the tags; without one that is had nearly everything would be forgotten."
        raise SnapshotNotFound("no snapshot has the tag that is to be kept", hint=hint, tag=unknown[0])
    for tag in unknown:
        print(f"no snapshot has the tag {_text(tag)}: --keep-tag keeps nothing by it", file=sys.stderr)
    return judge(found, rules, repository.clock.now_ns(), holds_of(repository), tags)


def _named(repository: Repository, name: str) -> Snapshot:
    """The snapshot; also one that some tiers have forgotten, and that another one has still, since it was not told."""
    try:
        return repository.find_snapshot(name)
    except SnapshotNotFound:
        everywhere = [each for tier in repository.ready_tiers() for each in tier.snapshots().values()]
        found = {each.id: each for each in everywhere if name and each.id.startswith(name.lower())}
        if len(found) != 1:
            raise
        return next(iter(found.values()))


def _emptied(repository: Repository, going: Sequence[Snapshot]) -> list[str]:
    """The tiers of which all that they have is to go, though something is kept: elsewhere."""
    gone = {each.id for each in going}
    kept = {each.id for each in repository.snapshots()} - gone
    readable = [tier for tier in repository.readable_tiers() if kept and not gone.isdisjoint(tier.snapshots())]
    return [tier.name for tier in readable if kept.isdisjoint(tier.snapshots())]


def _locks(repository: Repository, going: Sequence[Snapshot]) -> dict[str, dict[str, int]]:
    """By snapshot and tier, seconds of Unix time until which a lock keeps it, as far as it lies ahead."""
    now = repository.clock.now_ns() // 10**9
    found: dict[str, dict[str, int]] = {}
    for each in going:
        for tier in repository.tiers_with(each):
            until = tier.log.state.locked_until.get(each.id, 0)
            if until > now:
                found.setdefault(each.id, {})[tier.name] = until
    return found


def _judgements_document(judged: Sequence[Judgement], locked: dict[str, dict[str, int]]) -> dict[str, object]:
    def listed(each: Judgement) -> dict[str, object]:
        snapshot = each.snapshot
        return {"id": snapshot.id, "time": timestamp(snapshot.brief.time_ns), "label": snapshot.brief.label}

    return {
        "kept": [{**listed(each), "kept_by": list(each.kept_by)} for each in judged if each.is_kept],
        "forgotten": [
            {**listed(each), "locked_until": {name: _date(at) for name, at in locked.get(each.snapshot.id, {}).items()}}
            for each in judged
            if not each.is_kept
        ],
    }


def _date(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _say_judgements(judged: Sequence[Judgement], locked: dict[str, dict[str, int]], *, is_named: bool) -> None:
    rows = [("ID", "TIME (UTC)", "", "WHY", "LABEL")]
    for each in judged:
        brief = each.snapshot.brief
        label = shown(brief.label.encode("utf-8", "surrogatepass"))
        why = ", ".join(each.kept_by) or ("it was named" if is_named else "nothing keeps it")
        rows.append((each.snapshot.id[:12], moment(brief.time_ns), "keep" if each.is_kept else "GO", why, label))
    for line in columns(rows):
        say(line)
    for identity, tiers in locked.items():
        dates = ", ".join(f"{name} until {_date(at)}" for name, at in tiers.items())
        say(f"{identity[:12]} is locked on {dates}: it takes its space there until then")


def _tiers_document(done: Ordered | None) -> dict[str, object]:
    if done is None:
        return {"tiers": [], "owed": {}}
    owed = {name: str(error) for name, error in {**done.owed, **done.failed}.items()}
    return {"tiers": list(done.tiers), "owed": owed}


def _say_owed(done: Ordered | None) -> None:
    if done is None:
        return
    for name, error in {**done.owed, **done.failed}.items():
        if isinstance(error, SnapshotNotFound):
            print(f"{name} does not keep it: {error}", file=sys.stderr)
        else:
            print(f"{name} was not told ({error}); {way_to_catch_up(error)} tells it", file=sys.stderr)


def _ordered(
    arguments: argparse.Namespace,
    done: Ordered,
    stores: StoreHolds,
    document: dict[str, object],
    words: str,
    on_objects: str,
) -> int:
    if arguments.json:
        say_json({**document, **_tiers_document(done), "stores": _stores_document(stores)})
    else:
        say(f"{words} on {', '.join(done.tiers)}")
        for name, count in stores.objects.items():
            say(f"{name}: {count:,} objects {on_objects}")
        for name in stores.without:
            say(f"{name}: has no object lock; whoever may delete there can, whatever the log says")
        for name, error in stores.failed.items():
            print(f"{name}: the store does not follow: {error} [{error.code}]\n  {error.hint}", file=sys.stderr)
        _say_owed(done)
    return ExitCode.OK if done.is_everywhere and not stores.failed else ExitCode.DEGRADED


def _stores_document(stores: StoreHolds) -> dict[str, object]:
    followed = {name: {"objects": count, "code": None} for name, count in stores.objects.items()}
    without = {name: {"objects": 0, "code": "no-object-lock"} for name in stores.without}
    failed = {name: {"objects": 0, "code": error.code} for name, error in stores.failed.items()}
    return {**followed, **without, **failed}
