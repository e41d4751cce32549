"""`repo check`, `repair` and `rebuild-index`: keeping every tier whole."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from cli.exit_codes import ExitCode, exit_code_of
from cli.options import HEADS_UNKNOWN
from cli.output import say, say_json, size
from cli.progress import Display, Reading, display
from cli.repo_accept import Accepted, accept
from cli.repo_pins import say_unpinned, unreadable_pins
from cli.repo_session import chosen, opened, replayed, say_hint, stoppable, tier_states
from repository.errors import BackupCancelled, NoUsableTier, RepositoryError
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.retention.pins import pinned
from repository.stored.log_entry import entry_object_key
from repository.upkeep.catch_up import lag
from repository.upkeep.check import check as check_repository
from repository.upkeep.check_report import CheckProgress, CheckReport, Finding, Problem, TierCounts, why_not
from repository.upkeep.rebuild import RebuildResult
from repository.upkeep.rebuild import rebuild_index as rebuild
from repository.upkeep.repair import repair as repair_tier
from repository.upkeep.repair_result import RepairResult

_NO_DAMAGE: Final = (Problem.TIER, Problem.HIDDEN, Problem.UNLOCKED, Problem.UNHELD)


def check(arguments: argparse.Namespace) -> int:
    """Structure of all tiers, and stored bytes if they are asked for."""
    with (
        opened(arguments, only_reads=True, needed=arguments.only, judges=True) as repository,
        stoppable() as check_cancelled,
        display(for_machines=arguments.json) as bars,
    ):
        report = _checked(repository, arguments, bars, check_cancelled)
        behind = _behind(repository)
        unread = unreadable_pins(repository, arguments.only)
        states = tier_states(repository)
    if arguments.json:
        findings = [_finding_document(each) for each in report.findings]
        counts = {name: _counts_document(report, name) for name in report.tiers}
        looked = {"ok": report.is_ok, "findings": findings, "harmed": report.harmed, "tiers": counts}
        say_json({**looked, "behind": behind, "unreadable_pins": unread, "states": states})
    else:
        _say_report(report, behind, reads_data=arguments.read_data > 0)
        for line in [*(f"{name}: {hint}" for name, hint in replayed(repository)), *unread]:
            say(line)
    if any(each.problem not in _NO_DAMAGE for each in report.damage):
        return ExitCode.DAMAGED
    return ExitCode.DEGRADED if report.damage or behind or unread else ExitCode.OK


def repair(arguments: argparse.Namespace) -> int:
    """Check, then make whole what is damaged, tier by tier. Exit code 5 where damage is left."""
    results: dict[str, RepairResult] = {}
    left_out: dict[str, str] = {}
    failed: dict[str, RepositoryError] = {}
    copies = [arguments.accept_history] if arguments.accept_history is not None else []
    with opened(arguments, copies=copies) as repository, stoppable() as check_cancelled:
        accepted = None
        if arguments.accept_history is not None:
            accepted = accept(repository, arguments.accept_history)
            if accepted is not None and not arguments.json:
                accepted.say()
            elif not arguments.json and getattr(arguments, HEADS_UNKNOWN, False):
                unknown = "whether it shows what was seen of it is not known"
                say(f"{arguments.accept_history}: {unknown}, and nothing is accepted")
            elif not arguments.json:
                say(f"{arguments.accept_history}: shows what was seen of it; there is no older history to accept")
        with display(for_machines=arguments.json) as bars:
            report = _checked(repository, arguments, bars, check_cancelled)
            giving_up = [repository.tier(arguments.give_up_streams)] if arguments.give_up_streams is not None else []
            for tier in dict.fromkeys([*giving_up, *chosen(repository, arguments.only)]):
                if not tier.is_readable:
                    left_out[tier.name] = why_not(tier)
                    continue
                try:
                    results[tier.name] = repair_tier(
                        repository,
                        tier,
                        report,
                        bridge=arguments.bridge,
                        gives_up_streams=tier in giving_up,
                        check_cancelled=check_cancelled,
                    )
                except BackupCancelled:
                    raise
                except RepositoryError as error:
                    # The others are repaired all the same.
                    if tier.state is TierState.REPLAYED:
                        left_out[tier.name] = why_not(tier)
                    else:
                        failed[tier.name] = error
        behind = {name: owing for name, owing in _behind(repository).items() if name in results}
        left = [each for each in report.damage if each.tier in failed and each.problem not in _NO_DAMAGE]
        if arguments.json:
            tiers = {name: _repair_document(result, report) for name, result in results.items()}
            reasons = {name: str(error) for name, error in failed.items()}
            documents = [_finding_document(each) for each in left]
            looked = {"tiers": tiers, "failed": reasons, "damage_left": documents}
            taken = accepted._asdict() if accepted is not None else None
            say_json({**looked, "left_out": left_out, "behind": behind, "accepted": taken})
        else:
            _say_repairs(results, left_out, report, accepted)
            _say_not_repaired(failed, left, report)
            _say_behind(behind)
    if left:
        return ExitCode.DAMAGED
    if not results and failed:
        return exit_code_of(NoUsableTier.because("no tier is repaired", failed.values()))
    codes = {exit_code_of(failure) for failure in failed.values()}
    is_unknown = any(each.problem is Problem.TIER for result in results.values() for each in result.unrepaired)
    if ExitCode.DAMAGED in codes or any(
        result.is_interrupted or any(each.problem is not Problem.TIER for each in result.unrepaired)
        for result in results.values()
    ):
        return ExitCode.DAMAGED
    return (
        ExitCode.DEGRADED
        if codes
        or left_out
        or is_unknown
        or behind
        or (accepted is not None and accepted.seen)
        or any(result.given_up for result in results.values())
        else ExitCode.OK
    )


def _say_not_repaired(failed: dict[str, RepositoryError], left: list[Finding], report: CheckReport) -> None:
    for name, failure in failed.items():
        say(f"{name}: not repaired: {failure} [{failure.code}]")
        say_hint(failure)
        for each in left:
            if each.tier == name:
                say(f"{name}: NOT repaired: {each.problem} {each.object_key}: {each.detail}")
        for snapshot_id in report.harmed.get(name, ()):
            say(f"{name} alone does not restore snapshot {snapshot_id} whole")


def rebuild_index(arguments: argparse.Namespace) -> int:
    """A new index for each tier, out of the packs that are there. Exit code 5 where one is gone or unreadable."""
    results: list[RebuildResult] = []
    failed: dict[str, RepositoryError] = {}
    with (
        opened(arguments) as repository,
        stoppable() as check_cancelled,
        display(for_machines=arguments.json) as bars,
    ):
        for tier in chosen(repository, arguments.only):
            try:
                results.append(rebuild(repository, tier, on_progress=_shower(bars), check_cancelled=check_cancelled))
            except BackupCancelled:
                raise
            except RepositoryError as error:
                failed[tier.name] = error
    if not results:
        states = {name: str(failure) for name, failure in failed.items()}
        raise NoUsableTier.because("no tier's index was made anew", failed.values(), tiers=states)
    if arguments.json:
        say_json(
            {
                "tiers": {
                    each.tier: {
                        "packs": each.packs,
                        "rows": each.rows,
                        "segments": each.segments,
                        "damaged_packs": [pack_id.hex() for pack_id in each.damaged],
                        "missing_packs": [pack_id.hex() for pack_id in each.missing],
                        "left_out_packs": [pack_id.hex() for pack_id in each.left_out],
                    }
                    for each in results
                },
                "failed": {name: str(failure) for name, failure in failed.items()},
            }
        )
    else:
        for each in results:
            say(f"{each.tier}: {each.rows:,} chunks of {each.packs:,} packs in {each.segments} segments")
            for pack_id in each.damaged:
                say(f"  cannot be read: {pack_id.hex()}")
            for pack_id in each.left_out:
                say(f"  left out: {pack_id.hex()} is no whole pack, and nothing that is needed lies in it alone")
            for pack_id in each.missing:
                say(f"  was in the index and is gone: {pack_id.hex()} (`repo catch-up` copies it from another tier)")
        for name, failure in failed.items():
            say(f"{name}: not rebuilt: {failure} [{failure.code}]")
            say_hint(failure)
    if any(each.damaged or each.missing for each in results):
        return ExitCode.DAMAGED
    return ExitCode.DEGRADED if failed else ExitCode.OK


def _shower(bars: Display) -> Callable[[CheckProgress], None]:
    def show(progress: CheckProgress) -> None:
        words = f"{progress.packs_done:,} of {progress.packs_total:,} packs"
        bars.show({progress.tier: Reading(progress.bytes_done, None, words)})

    return show


def _checked(
    repository: Repository, arguments: argparse.Namespace, bars: Display, check_cancelled: Callable[[], None]
) -> CheckReport:
    def check() -> CheckReport:
        return check_repository(
            repository,
            read_percent=arguments.read_data,
            tiers=arguments.only or None,
            on_progress=_shower(bars),
            check_cancelled=check_cancelled,
        )

    if not arguments.read_data:
        return check()
    # What a prune deletes meanwhile would be called lost.
    with pinned(repository, arguments.subcommand, everything=True, only=arguments.only) as pinning:
        report = check()
        if report.damage:
            pinning.look_again()
        say_unpinned(pinning.words())
    return report


def _behind(repository: Repository) -> dict[str, dict[str, int]]:
    """What ready tiers lack of what the others have."""
    behind: dict[str, dict[str, int]] = {}
    for tier in repository.ready_tiers():
        each = lag(repository, tier)
        if each.is_behind:
            counts = {"packs": len(each.packs), "snapshots": len(each.snapshots), "keys": len(each.keys)}
            owed = {"pieces": sum(each.streams.values()), "streams": len(each.streams), "orders": len(each.orders)}
            behind[tier.name] = {**counts, **owed}
    return behind


def _finding_document(finding: Finding) -> dict[str, object]:
    return {
        "tier": finding.tier,
        "problem": str(finding.kind),
        "is_unknown": finding.is_unknown,
        "object": finding.object_key,
        "detail": finding.detail,
        "is_damage": finding.is_damage,
        "repairable_from": list(finding.repairable_from),
        "not_read_on": list(finding.not_read_on),
    }


def _counts_document(report: CheckReport, name: str) -> dict[str, int]:
    return asdict(report.tiers[name])


def _say_report(report: CheckReport, behind: dict[str, dict[str, int]], *, reads_data: bool) -> None:
    for name, counts in report.tiers.items():
        read = f", {counts.packs_read:,} of them read back ({size(counts.bytes_read)})" if reads_data else ""
        say(f"{name}: {counts.snapshots:,} snapshots, {counts.packs:,} packs ({size(counts.pack_bytes)}){read}")
        if counts.streams:
            pieces = f"{counts.pieces:,} pieces, {counts.pieces_read:,} of them read back"
            say(f"{name}: {counts.streams:,} streams ({pieces})")
    for finding in report.findings:
        # Of a tier that could not be looked at nobody knows whether it is damaged.
        mark = "UNKNOWN" if finding.is_unknown else "DAMAGE" if finding.is_damage else "note"
        whole = [name for name in finding.repairable_from if name not in finding.not_read_on]
        others = [name for name in whole if name != finding.tier]
        where = f"; whole on: {', '.join(others)}" if others else ""
        where += f"; to be looked for in other copies on {finding.tier} itself" if finding.tier in whole else ""
        where += f"; there, not read, on: {', '.join(finding.not_read_on)}" if finding.not_read_on else ""
        say(f"{mark} on {finding.tier}: {finding.kind} {finding.object_key}: {finding.detail}{where}")
    for name, harmed in report.harmed.items():
        for snapshot_id in harmed:
            say(f"{name} alone does not restore snapshot {snapshot_id} whole")
    _say_behind(behind)
    if any(finding.is_damage and finding.repairable_from for finding in report.findings):
        say(f"`repo repair{' --read-data' if reads_data else ''}` makes whole what is whole elsewhere")
    if report.is_ok:
        looked = report.tiers.values()
        is_sample = any(each.packs_read < each.packs or each.pieces_read < each.pieces for each in looked)
        where = " in the structure; --read-data reads stored bytes too"
        if reads_data:
            where = " in the structure and in the sample that was read" if is_sample else ""
        say(f"no damage found{where}")


def _say_behind(behind: dict[str, dict[str, int]]) -> None:
    for name, owing in behind.items():
        keys = f" and {owing['keys']:,} keys" if owing["keys"] else ""
        streams = f" and {owing['pieces']:,} pieces of {owing['streams']:,} streams" if owing["streams"] else ""
        orders = f" and {owing['orders']:,} orders (forgotten snapshots, holds)" if owing["orders"] else ""
        owed = f"{owing['packs']:,} packs and {owing['snapshots']:,} snapshots{keys}{streams}{orders}"
        say(f"{name} is behind by {owed} (`repo catch-up`)")


def _repair_document(result: RepairResult, report: CheckReport) -> dict[str, object]:
    return {
        "packs": report.tiers[result.tier].packs,
        "packs_read": report.tiers[result.tier].packs_read,
        "interrupted": result.is_interrupted,
        "set_aside": result.set_aside,
        "given_up": [entry_object_key(number) for number in result.given_up],
        "actions": [{"object": each.object_key, "source": each.source} for each in result.actions],
        "bad_orphans": result.bad_orphans,
        "harmed": result.harmed,
        "unrepaired": [_finding_document(each) for each in result.unrepaired],
    }


def _say_repairs(
    results: dict[str, RepairResult], left_out: dict[str, str], report: CheckReport, accepted: Accepted | None
) -> None:
    for name, result in results.items():
        given_up = {entry_object_key(number) for number in result.given_up}
        for action in result.actions:
            if action.object_key in given_up:
                say(f"{name}: {action.object_key} GIVEN UP: what it said is lost, a snapshot perhaps")
            else:
                say(f"{name}: {action.object_key} made whole ({action.source})")
        for object_key, aside in result.set_aside.items():
            say(f"{name}: what lay at {object_key} is kept as {aside}")
        for object_key in result.bad_orphans:
            say(f"{name}: {object_key} cannot be read as the pack of its name; it stays there, and nobody counts on it")
        for finding in result.unrepaired:
            say(f"{name}: NOT repaired: {finding.kind} {finding.object_key}: {finding.detail}")
        for snapshot_id in result.harmed:
            say(f"{name} alone does not restore snapshot {snapshot_id} whole; `repo restore` names the files")
        if any(finding.problem in (Problem.LOG_ENTRY, Problem.LOG_LOST) for finding in result.unrepaired):
            also = "" if accepted is None else f"--accept-history {accepted.tier} "
            say(f"  Give the command every tier that there is. {also}--bridge gives up the entries of which none has a")
            say("  whole copy, and with each a snapshot, perhaps; what another tier has is committed again.")
        if any(finding.problem is Problem.STREAM_FORKED for finding in result.unrepaired):
            say("  Find out on which tier the bytes are that count; --give-up-streams and the name of the other one")
            say("  sets aside what that one has.")
        if result.is_interrupted:
            say(f"{name}: interrupted: not all was looked at")
        elif not result.actions and not result.unrepaired:
            say(f"{name}: {_nothing_found(report.tiers[name])}")
    for name, why in left_out.items():
        say(f"{name}: left out, {why}")


def _nothing_found(counts: TierCounts) -> str:
    """What was looked at, and what was not."""
    if not counts.packs:
        return "nothing to repair; there are no packs"
    if counts.packs_read == counts.packs:
        return f"nothing to repair; all {counts.packs:,} packs were read"
    read = f"{counts.packs_read:,} of {counts.packs:,} packs were read" if counts.packs_read else "packs were not read"
    return f"found nothing by listing and in the structure; {read}: --read-data finds damage within them"
