"""`wedsync-backup self-backup`: save the platform itself, write its recovery kit, and try whether both bring it back.

The platform saves itself hourly while it runs; `run` does it now. `rehearse` is a rebuild into a throw-away folder: the
record is started, read, compared with what was saved, and removed. Ends with 4 where it was done and not all is well.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of, home_option
from cli.options import given
from cli.output import say, say_json

if TYPE_CHECKING:
    from deploy.stack.layout import Layout
    from deploy.stack.own_backup.memory import Position


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")

    saving = action("run", "save the platform's record, keys and lists now")
    kit = action("kit", "write the recovery kit, with the tiers and credentials of now")
    kit.add_argument("--out", metavar="DIR", type=given, help="its folder, outside of the home (default: as before)")
    kit.add_argument(
        "--tier",
        metavar="LOCATION",
        dest="tiers",
        action="append",
        default=[],
        type=given,
        help="save the platform there from now on; may be repeated (default: as before)",
    )
    rehearsal = action("rehearse", "bring the platform back into a throw-away folder, and see that its record starts")
    rehearsal.add_argument("--kit", metavar="DIR", required=True, type=given, help="the recovery kit")
    rehearsal.add_argument("--tier", metavar="NAME|URL", type=given, help="from where (default: the kit's first)")
    rehearsal.add_argument(
        "--in",
        metavar="DIR",
        dest="place",
        type=given,
        help="a new folder for it, removed again (default: beside the home)",
    )
    showing = action("show", "how old backup, kit and rehearsal are, and what is not well")
    for each in (saving, rehearsal, showing):
        each.add_argument("--json", action="store_true", help="one JSON document")
    for each in (saving, kit, rehearsal, showing):
        add_home(each)
    saving.set_defaults(gives_way=True)


def run(arguments: argparse.Namespace) -> int:
    """Save, write, rehearse or show."""
    from deploy.stack.layout import Layout

    layout = Layout.find(home_of(arguments))
    actions = {"run": _save, "kit": _write_kit, "rehearse": _rehearse, "show": _show}
    return actions[arguments.action](layout, arguments)


def _save(layout: "Layout", arguments: argparse.Namespace) -> int:
    import msgspec

    from deploy.stack.own_backup.saving import save
    from deploy.stack.state import running_state

    running_state(layout.lock_file, layout.state_file)
    layout.require_changeable()
    outcome = save(layout)
    if arguments.json:
        say_json(msgspec.to_builtins(outcome))
    else:
        say(f"the platform was saved on {', '.join(outcome.on) or 'no tier as a whole'}:")
        for position in outcome.record.positions:
            say(f"  {position.in_words()}")
        for words in outcome.lacking:
            say(f"less than whole: {words}")
    return ExitCode.DEGRADED if outcome.lacking else ExitCode.OK


def _write_kit(layout: "Layout", arguments: argparse.Namespace) -> int:
    from chassis.clock import SystemClock
    from deploy.stack.own_backup.kit import usual_folder, write_kit
    from deploy.stack.own_backup.memory import read_memory
    from deploy.stack.own_backup.places import places_of, refuse_useless

    layout.require_changeable()
    refuse_useless(arguments.tiers)
    memory = read_memory(layout.home)
    before = Path(memory.kit.folder) if memory.kit is not None else usual_folder(layout)
    folder = Path(arguments.out).absolute() if arguments.out else before
    write_kit(layout, folder, SystemClock().now(), tiers=arguments.tiers)
    places = places_of(layout, read_memory(layout.home))
    say(f"the recovery kit was written: {folder}")
    say(f"  opens the platform's own backup on {', '.join(each.name for each in places)}")
    say("  Keep it apart from those and from this machine, in two places: whoever has it and a tier reads everything.")
    say(f"  try it    wedsync-backup self-backup rehearse --kit {folder}{home_option(layout.home)}")
    return ExitCode.OK


def _rehearse(layout: "Layout", arguments: argparse.Namespace) -> int:
    import msgspec

    from chassis.clock import SystemClock
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.stack.own_backup.kit import place_in, read_kit
    from deploy.stack.own_backup.memory import Rehearsal, changed
    from deploy.stack.own_backup.rebuilding import bring_back, remove

    folder = Path(arguments.kit).absolute()
    kit = read_kit(folder)
    if kit.instance != layout.remembered.instance:
        raise PlatformError(errors.INVALID_FIELD, "the kit is another platform's", field="kit", hint="Name its home.")
    tier = arguments.tier or (kit.tiers[0].name if kit.tiers else "")
    place = place_in(kit, folder, tier)
    draft = Path(arguments.place).absolute() if arguments.place else layout.home.with_name(f".{layout.home.name}.tried")
    if arguments.place and draft.exists():
        hint = "Give a folder that is not there yet: it is removed at the end."
        raise PlatformError(errors.INVALID_FIELD, f"{draft} is there already", field="in", hint=hint)
    remove(draft)
    try:
        rebuilt = bring_back(folder, place, draft, snapshot=None, say=lambda _: None)
    finally:
        remove(draft)
    wrong = [*rebuilt.behind, *rebuilt.lists]
    if not wrong:
        with changed(layout) as memory:
            memory.rehearsal = Rehearsal(
                rehearsed=SystemClock().now(), tier=tier, seconds=rebuilt.seconds, positions=rebuilt.positions
            )
    if arguments.json:
        say_json(msgspec.to_builtins(rebuilt))
    else:
        say(f"from {tier} in {rebuilt.seconds:.1f} s:")
        say_rebuilt(rebuilt.positions, wrong, rebuilt.remarks)
    if wrong:
        return ExitCode.DAMAGED
    return ExitCode.DEGRADED if rebuilt.remarks else ExitCode.OK


def say_rebuilt(positions: "list[Position]", wrong: list[str], remarks: list[str]) -> None:
    """For people: up to where each service's record goes, and what is not as it was saved."""
    for position in positions:
        say(f"  {position.in_words()}")
    for words in wrong:
        say(f"NOT WHOLE: {words}")
    for words in remarks:
        say(f"remark: {words}")


def _show(layout: "Layout", arguments: argparse.Namespace) -> int:
    import msgspec

    from chassis.clock import SystemClock
    from deploy.stack.own_backup.findings import findings_of, lines_of
    from deploy.stack.own_backup.memory import read_memory

    now = SystemClock().now()
    found = findings_of(layout, now)
    if arguments.json:
        findings = [{"name": each.name, "reason": each.reason} for each in found]
        say_json({**msgspec.to_builtins(read_memory(layout.home)), "findings": findings})
    else:
        for line in lines_of(layout, now):
            say(line)
        for position in record.positions if (record := read_memory(layout.home).record) else []:
            say(f"  {position.in_words()}")
        for each in found:
            say(f"{each.name}: {each.reason}")
    return ExitCode.DEGRADED if found else ExitCode.OK
