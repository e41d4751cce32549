"""`wedsync-backup`: finds the command that was asked for, imports that command alone, and runs it.

A command is a module of `cli` that offers two functions, and is registered below by its name only:

    def configure(parser: argparse.ArgumentParser) -> None
        Adds the command's own options and sub-commands. `parser` is the command's parser; its
        usage line and summary are set already. Import nothing heavy at module level: the
        start-up of `--help` is part of the promise.

    def run(arguments: argparse.Namespace) -> int
        Does the work, returns an exit code (`cli.exit_codes`). An error with `code`, `retry` and
        `hint` (repository.errors.RepositoryError, contracts.errors.PlatformError) may be raised: it is
        printed as one sentence and the hint, without a traceback, on standard error.

So `wedsync-backup repo` starts in under 0.4 s, and works where `services`, `gateway`, `chassis`,
`contracts` and `deploy` cannot be imported at all. `WEDSYNC_TRACEBACK=1` shows the traceback of
any error.
"""

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from cli.exit_codes import ExitCode, code_of, exit_code_of
from cli.home import home_of
from cli.interruption import exit_code, interruptions
from cli.options import Parser
from cli.streams import output_was_refused, secure_streams
from cli.system_errors import refusal_of

_COLLECT_AFTER = 100_000
"""Objects that are made before the garbage collector looks for circles among them. A command's start makes half of
that, and a restore's plan as many again; all stay. Looked at every 700, as Python does, they take a tenth of the start,
and every 20,000 a hundredth of a restore.
"""
_LEAST_PRIORITY = 19
"""How much is added to the niceness of a command that gives way (`gives_way`): backups and restores beside it keep the
processors. There is no way back, so that it is done to a process of the command's own alone.
"""


class Command(NamedTuple):
    """Where a command lives, and the line that `--help` says about it."""

    module: str
    summary: str


class CommandModule(Protocol):
    """What the module of a command offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's options."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do the work, return an exit code."""


COMMANDS: dict[str, Command] = {
    "repo": Command("cli.repo", "back up, restore, check and repair a repository, with a key and its tiers alone"),
    "up": Command("cli.up", "start the platform on this machine, until Ctrl-C"),
    "down": Command("cli.down", "stop the platform on this machine"),
    "status": Command("cli.status", "what runs, and whether it is well"),
    "logs": Command("cli.logs", "what the platform's processes wrote"),
    "token": Command("cli.token", "make an access token for this machine's platform"),
    "call": Command(
        "cli.call", "send a request to the API of this machine's platform, and wait for what becomes of it"
    ),
    "demo": Command("cli.demo", "back up a directory to four tiers, lose one, restore, compare every byte"),
    "self-backup": Command("cli.self_backup", "save the platform itself, write its recovery kit, rehearse both"),
    "rebuild": Command("cli.rebuild", "bring the platform back from its recovery kit and one tier"),
    "refill": Command("cli.refill", "allow a relay to fill an empty or replaced event stream"),
    "location": Command("cli.location", "register, test and remove the places that are backed up and backed up to"),
    "organisation": Command("cli.organisation", "add an organisation (a tenant), and list them"),
    "secret": Command(
        "cli.secret", "add, list, rotate and remove what notification channels are signed with or sent by"
    ),
    "tiers": Command("cli.tiers", "which tiers are in use, and beginning one anew that is gone for good"),
    "show": Command("cli.show", "what an id of an alert, a log or a figure is of, and which organisation's it is"),
    "run-report": Command("cli.run_report", "what the sealed report of a run that failed, or left something out, says"),
    "topology": Command("cli.topology", "show, compare and apply the declared streams and consumers"),
    "completion": Command("cli.completion", "print what makes a shell complete commands and options"),
    "deadletters": Command("cli.deadletters", "look at messages that could not be handled, replay or dismiss them"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own), return its exit code. Usage errors exit with 2."""
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])
    with interruptions():
        try:
            secure_streams()
            code = _run(list(sys.argv[1:] if argv is None else argv), is_own_process=argv is None)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return exit_code()
        # An error that says that it was interrupted does not say by what.
        return exit_code() if code == ExitCode.INTERRUPTED else code


def _run(words: list[str], *, is_own_process: bool) -> int:
    chosen = next((word for word in words if not word.startswith("-")), None)
    module = _load(chosen) if chosen in COMMANDS else None
    arguments = _parser(chosen, module, words).parse_args(words)
    if module is None:
        raise AssertionError("the parser refuses a command line without a command")
    if is_own_process and getattr(arguments, "gives_way", False):
        os.nice(_LEAST_PRIORITY)
    try:
        code = module.run(arguments)
    except Exception as raised:
        error = refusal_of(raised, _place_of(arguments))
        if os.environ.get("WEDSYNC_TRACEBACK") or (code_of(error) is None and not isinstance(error, OSError)):
            raise
        _explain(error, for_machines=getattr(arguments, "json", False) is True)
        return exit_code_of(error)
    refusal = output_was_refused()
    if refusal is not None:
        print(f"wedsync-backup: the result could not be written: {refusal.strerror}", file=sys.stderr)
        return code or ExitCode.FAILED
    return code


def _place_of(arguments: argparse.Namespace) -> Path | None:
    """What a command works on: its key's folder, or the platform's home."""
    options = vars(arguments)
    if key := options.get("key_file"):
        return Path(key).absolute().parent
    return home_of(arguments) if "home" in options else None


def _load(name: str | None) -> CommandModule:
    module: CommandModule = importlib.import_module(COMMANDS[name or ""].module)
    return module


def command_parser(name: str | None) -> argparse.ArgumentParser:
    """The parser of the program, with the options of this command (None: of none)."""
    return _parser(name, _load(name) if name is not None else None)


def _parser(
    chosen: str | None, module: CommandModule | None, words: Sequence[str] | None = None
) -> argparse.ArgumentParser:
    """The parser of the whole command line, with the options of the chosen command only.

    `words`: what it is to parse; then it has no other command at all, each of which takes time.
    """
    parser = Parser(
        prog="wedsync-backup",
        description="Encrypted, deduplicated backups to up to four tiers.",
        epilog="Exit codes: docs/repository-cli.md.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    rest = words[1:] if words and words[0] == chosen and module is not None else None
    for name, command in COMMANDS.items():
        if rest is not None and name != chosen:
            continue
        sub = commands.add_parser(name, help=command.summary, description=command.summary, allow_abbrev=False)
        if name == chosen and module is not None:
            sub.words = rest
            module.configure(sub)
    return parser


def _own_version(project: Path) -> str:
    """That of the clone which runs, as its `project` says; without one (in a wheel) that of what is installed.

    The clone comes first: another version may be installed beside it.
    """
    import tomllib
    from importlib.metadata import PackageNotFoundError, version

    try:
        stated = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        stated = {}
    if stated.get("name") == "wedsync-backup" and "version" in stated:
        return str(stated["version"])
    try:
        return version("wedsync-backup")
    except PackageNotFoundError:
        return "(not installed: its version is unknown)"


class _Version(argparse.Action):
    """The version of the program and of the format that it writes; looked up when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_arguments: object) -> None:
        """Print and end."""
        from repository.format import FORMAT_VERSION

        own = _own_version(Path(__file__).resolve().parent.parent / "pyproject.toml")
        python = ".".join(map(str, sys.version_info[:3]))
        print(f"wedsync-backup {own}, repository format {FORMAT_VERSION}, Python {python}")
        parser.exit()


def _explain(error: Exception, *, for_machines: bool) -> None:
    """The error on standard error: one sentence, its code and what to do, or one JSON document."""
    code = code_of(error)
    if for_machines:
        import json

        retry = str(getattr(error, "retry", "never"))
        document = {"code": code, "message": str(error), "retry": retry, "hint": getattr(error, "hint", None)}
        if field := getattr(error, "field", None):
            document["field"] = field
        if tiers := getattr(error, "context", {}).get("tiers"):
            document["tiers"] = {name: str(reason) for name, reason in tiers.items()}
        print(json.dumps({"error": document}), file=sys.stderr)
        return
    print(f"wedsync-backup: {error}" + (f" [{code}]" if code else ""), file=sys.stderr)
    if (field := getattr(error, "field", None)) and str(field) not in str(error):
        print(f"  field: {field}", file=sys.stderr)
    hint = getattr(error, "hint", None)
    if hint:
        print(f"  {hint}", file=sys.stderr)
    for name, reason in getattr(error, "context", {}).get("tiers", {}).items():
        print(f"  {name}: {reason}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
