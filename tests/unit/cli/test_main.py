"""Dispatch, errors and exit codes of the command line."""

import argparse
import gc
import importlib
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType

import pytest

import repository
from cli import completion, exit_codes, system_errors
from cli import main as cli_main
from cli.exit_codes import ExitCode, exit_code_of
from cli.options import UsageInvalid
from contracts.errors import INVALID_FIELD, PlatformError, catalogue
from repository import errors
from repository.backup import source

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "repository-cli.md"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A command `probe` that does what the test tells it to."""
    module = ModuleType("cli.probe")

    def configure(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true")

    module.configure = configure  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cli.probe", module)
    monkeypatch.setitem(cli_main.COMMANDS, "probe", cli_main.Command("cli.probe", "a command of the test"))
    return module


def failing(error: BaseException) -> object:
    """A `run` that raises."""

    def run(arguments: argparse.Namespace) -> int:
        raise error

    return run


def test_main_returns_what_the_command_returns(command: ModuleType) -> None:
    """The exit code of the process is the command's."""
    command.run = lambda arguments: 7  # type: ignore[attr-defined]
    assert cli_main.main(["probe"]) == 7


@pytest.mark.parametrize(("words", "niceness"), [(None, [19]), (["probe"], [])])
def test_command_that_gives_way_does_so_in_a_process_of_its_own(
    words: list[str] | None, niceness: list[int], command: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no way back, and whoever calls `main` with words goes on after it."""
    given: list[int] = []
    monkeypatch.setattr("os.nice", given.append)
    monkeypatch.setattr("sys.argv", ["wedsync-backup", "probe"])
    command.configure = lambda parser: parser.set_defaults(gives_way=True)  # type: ignore[attr-defined]  # a command
    command.run = lambda arguments: list(given) != niceness  # type: ignore[attr-defined]  # a command
    assert cli_main.main(words) == 0


@pytest.mark.parametrize("words", [[], ["no-such-command"], ["probe", "--no-such-option"], ["--js", "probe"]])
def test_main_exits_with_2_when_the_command_line_is_not_understood(words: list[str], command: ModuleType) -> None:
    """A typing error is told apart from a failure."""
    with pytest.raises(SystemExit) as exit_info:
        cli_main.main(words)
    assert exit_info.value.code == ExitCode.USAGE


def test_error_is_one_sentence_its_code_and_what_to_do(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """A person sees no traceback, but what happened and what helps."""
    command.run = failing(errors.WrongKey("the key opens nothing"))  # type: ignore[attr-defined]
    assert cli_main.main(["probe"]) == ExitCode.WRONG_KEY
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"wedsync-backup: the key opens nothing [wrong-key]\n  {errors.WrongKey.hint}\n"


def test_error_says_of_each_tier_why_it_was_of_no_use(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """`no usable tier` alone would help nobody."""
    refusal = errors.NoUsableTier("no tier answers", tiers={"local": "unreachable: disk is gone"})
    command.run = failing(refusal)  # type: ignore[attr-defined]
    assert cli_main.main(["probe"]) == ExitCode.UNAVAILABLE
    assert "  local: unreachable: disk is gone\n" in capsys.readouterr().err


def test_error_of_the_platform_is_told_the_same_way(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Both families of errors speak alike, though neither is imported by the dispatcher."""
    command.run = failing(PlatformError(INVALID_FIELD, "name is too long"))  # type: ignore[attr-defined]
    assert cli_main.main(["probe"]) == ExitCode.USAGE
    assert "name is too long [invalid-field]" in capsys.readouterr().err


def test_error_is_one_json_document_when_a_machine_asks(
    command: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json standard error holds a document too, and standard output nothing."""
    command.run = failing(errors.TierUnreachable("no answer"))  # type: ignore[attr-defined]
    assert cli_main.main(["probe", "--json"]) == ExitCode.UNAVAILABLE
    said = capsys.readouterr()
    assert said.out == ""
    assert json.loads(said.err)["error"] == {
        "code": "tier-unreachable",
        "message": "no answer",
        "retry": "later",
        "hint": errors.TierUnreachable.hint,
    }


def test_error_of_the_system_is_told_without_traceback(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk is no fault of the program."""
    command.run = failing(OSError(28, "No space left on device"))  # type: ignore[attr-defined]
    assert cli_main.main(["probe"]) == ExitCode.FAILED
    assert "a disk or folder has no space left [no-space]" in capsys.readouterr().err
    command.run = failing(RuntimeError("can't start new thread"))  # type: ignore[attr-defined]
    assert cli_main.main(["probe"]) == ExitCode.FAILED
    assert "[too-few-threads]" in capsys.readouterr().err


def test_fault_of_the_program_shows_its_traceback(command: ModuleType) -> None:
    """What nobody foresaw must not be hidden."""
    command.run = failing(KeyError("fault"))  # type: ignore[attr-defined]
    with pytest.raises(KeyError):
        cli_main.main(["probe"])


def test_traceback_is_shown_when_it_is_asked_for(command: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """WEDSYNC_TRACEBACK=1 is for reports of faults."""
    monkeypatch.setenv("WEDSYNC_TRACEBACK", "1")
    command.run = failing(errors.WrongKey("the key opens nothing"))  # type: ignore[attr-defined]
    with pytest.raises(errors.WrongKey):
        cli_main.main(["probe"])


def test_interrupt_ends_with_130(command: ModuleType) -> None:
    """Ctrl-C is told apart from a failure."""
    command.run = failing(KeyboardInterrupt())  # type: ignore[attr-defined]
    assert cli_main.main(["probe"]) == ExitCode.INTERRUPTED


def test_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    """`… | head -1` ends without a word about pipes."""
    script = (
        "import sys, types, cli.main as m\n"
        "probe = types.ModuleType('cli.probe')\n"
        "probe.configure = lambda parser: None\n"
        "probe.run = lambda arguments: [print('x' * 1000) for _ in range(10000)] and 0\n"
        "sys.modules['cli.probe'] = probe\n"
        "m.COMMANDS['probe'] = m.Command('cli.probe', '')\n"
        "sys.exit(m.main(['probe']))\n"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", '"$0" -c "$1" | head -1', sys.executable, script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the program, and of the format that it writes."""
    with pytest.raises(SystemExit) as end:
        cli_main.main(["--version"])
    assert end.value.code == 0
    assert re.match(r"wedsync-backup .*, repository format 1, Python 3\.", capsys.readouterr().out)


def test_version_of_a_clone_is_told_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is in the clone; of a wheel, which has no such file, it is what the installer noted."""

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\nversion = "7"\n')
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.version", missing)
        assert cli_main._own_version(ROOT / "pyproject.toml") == stated
        assert "unknown" in cli_main._own_version(tmp_path / "pyproject.toml")
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name} 9")
    assert cli_main._own_version(tmp_path / "pyproject.toml") == "wedsync-backup 9"
    assert cli_main._own_version(tmp_path / "absent.toml") == "wedsync-backup 9"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["comp"], {"completion"}),
        (["repo", "key", "r"], {"rotate", "remove"}),
        (["repo", "backup", "--key-file", "k", "--exclude-"], {"--exclude-file", "--exclude-caches"}),
        (["repo", "restore", "--on-conflict", ""], {"refuse", "skip", "overwrite", "rename"}),
        (["repo", "backup", "--key-file", ""], set()),
    ],
)
def test_shell_completes_commands_options_and_values(words: list[str], offered: set[str]) -> None:
    """From the parsers; where a path is wanted it offers nothing, and the shell offers files."""
    script = f'{completion.script_for_bash()}\nCOMP_WORDS=(wedsync-backup "$@"); COMP_CWORD=$#\n_wedsync_backup\n'
    script += 'for each in "${COMPREPLY[@]}"; do echo "$each"; done'
    done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True, check=True)
    assert (set(done.stdout.split()), done.stderr) == (offered, "")


def _codes() -> dict[str, type[errors.RepositoryError]]:
    # Errors of a part of the repository are known once that part is loaded, by whichever test came before.
    for module in pkgutil.walk_packages(repository.__path__, "repository."):
        importlib.import_module(module.name)
    found: dict[str, type[errors.RepositoryError]] = {}
    classes = [errors.RepositoryError]
    while classes:
        each = classes.pop()
        found.setdefault(each.code, each)
        classes.extend(each.__subclasses__())
    return found


def test_exit_codes_name_only_codes_that_exist() -> None:
    """A code that was renamed would silently fall back to another number."""
    assert source.FileProblem.code in _codes()
    assert set(exit_codes._BY_CODE) <= {*_codes(), *catalogue(), *system_errors.CODES, UsageInvalid.code}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Damaged("x"), ExitCode.DAMAGED),
        (errors.KeyFileInvalid("x"), ExitCode.WRONG_KEY),
        (errors.NotARepository("x"), ExitCode.NOT_FOUND),
        (errors.RepositoryExists("x"), ExitCode.REFUSED),
        (errors.LogContended("x"), ExitCode.UNAVAILABLE),
        (errors.BackupCancelled("x"), ExitCode.INTERRUPTED),
        (errors.UnsupportedFormat("x"), ExitCode.FAILED),
        (OSError("x"), ExitCode.FAILED),
    ],
)
def test_exit_code_follows_the_error(error: Exception, code: ExitCode) -> None:
    """A script knows from the number what happened."""
    assert exit_code_of(error) == code


def test_manual_lists_every_exit_code() -> None:
    """What a script relies on is written down."""
    table = dict(re.findall(r"^\| (\d+) \| `([A-Z_]+)`", DOCUMENT.read_text(), flags=re.MULTILINE))
    assert table == {str(int(code)): code.name for code in ExitCode}


def test_every_command_has_a_module() -> None:
    """`--help` promises no command that is not there."""
    missing = [
        name for name, each in cli_main.COMMANDS.items() if not (ROOT / f"{each.module.replace('.', '/')}.py").is_file()
    ]
    assert not missing


def test_a_backup_of_a_folder_imports_what_it_needs() -> None:
    """Its start, which is a tenth of a small backup, does not pay for other sources, profiles and changes of keys."""
    others = {"tomllib", "sources.s3.source", "sources.postgres.source", "repository.upkeep.root_change"}
    script = (  # what is there before, as by the measuring of coverage, is not of the command
        "import sys\nbefore = set(sys.modules)\n"
        "import cli.main, cli.repo, cli.repo_backup\nprint(*(sys.modules.keys() - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    imported = set(done.stdout.split())
    assert "repository.backup.backup" in imported
    assert others.isdisjoint(imported)


def test_the_start_is_not_searched_for_circles(command: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a start makes stays: the garbage collector looks at it once, not every 700 objects."""
    told: list[tuple[int, int, int]] = []
    monkeypatch.setattr(gc, "set_threshold", lambda *threshold: told.append(threshold))
    command.run = lambda _arguments: len(told) - 1  # type: ignore[attr-defined]
    assert cli_main.main(["probe"]) == ExitCode.OK
    assert told == [(100_000, *gc.get_threshold()[1:])]


def test_help_of_one_command_imports_no_other() -> None:
    """The start-up of `repo` does not pay for the platform."""
    heavy = {"repository", "services", "gateway", "chassis", "contracts", "deploy", "vault", "numpy", "boto3", "rich"}
    script = (
        "import sys\nfrom cli.main import main\n"
        "try:\n    main(['repo', 'backup', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert "cli" in done.stderr.split()
    assert heavy.isdisjoint(done.stderr.split())
