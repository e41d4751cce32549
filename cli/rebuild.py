"""`wedsync-backup rebuild`: bring the platform back from its recovery kit and one tier, where everything else is gone.

It makes the home, with keys, lists and record, and says up to which event of each service the record is whole; `up` and
`refill` then bring back what is made from it. Ends with 0, with 4 where a tier may have something newer, and with 5
where what came back is less than what was saved: it is named, and the home is there all the same.
"""

import argparse
from pathlib import Path

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of, home_option
from cli.options import given
from cli.output import say, say_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--kit", metavar="DIR", required=True, type=given, help="the recovery kit")
    parser.add_argument(
        "--tier",
        metavar="NAME|URL",
        required=True,
        type=given,
        help="a tier that the kit names, or where a copy lies now",
    )
    parser.add_argument(
        "--credentials", metavar="FILE", type=given, help="what the tier wants to be shown (default: as the kit has it)"
    )
    parser.add_argument("--snapshot", metavar="ID", type=given, help="of an earlier time (default: the newest)")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    add_home(parser)


def run(arguments: argparse.Namespace) -> int:
    """Bring it back, say how far, and how to go on."""
    import msgspec

    from cli.self_backup import say_rebuilt
    from deploy.stack.own_backup.kit import place_in, read_kit
    from deploy.stack.own_backup.rebuilding import rebuild

    home, folder = home_of(arguments), Path(arguments.kit).absolute()
    kit = read_kit(folder)
    credentials = Path(arguments.credentials).absolute() if arguments.credentials else None
    place = place_in(kit, folder, arguments.tier, credentials)
    told = (lambda _: None) if arguments.json else say
    rebuilt = rebuild(folder, place, home, snapshot=arguments.snapshot, say=told)
    wrong = [*rebuilt.behind, *rebuilt.lists]
    if arguments.json:
        say_json(msgspec.to_builtins(rebuilt))
    else:
        say(f"{home} is back after {rebuilt.seconds:.1f} s. Its record is whole, as Postgres reads it:")
        say_rebuilt(rebuilt.positions, wrong, rebuilt.remarks)
        say(f"What was recorded after {rebuilt.record.saved:%Y-%m-%d %H:%M:%S} UTC and does not stand above is lost.")
        _say_next(home, rebuilt.stores)
    if wrong:
        return ExitCode.DAMAGED
    return ExitCode.DEGRADED if rebuilt.remarks else ExitCode.OK


def _say_next(home: Path, stores: list[str]) -> None:
    option = home_option(home)
    if stores:
        say(f"These lay in the home, and its backup has them not: {', '.join(stores)}. Move what is left of them back")
        say("now; of what is gone for good say so: up --begin-anew NAME, then tiers begin-anew LOCATION.")
    say(f"  1. wedsync-backup up --detach{option}")
    say(f"  2. wedsync-backup refill all --new-incarnation{option}")
    say(f"  3. wedsync-backup status{option}   (docs/disaster-recovery.md says what may be left)")
