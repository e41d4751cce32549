"""The day when all else is down: `repo` works where nothing but cli, repository and sources can be imported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repository.backup.backup import BackupOptions, backup
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.tiers.location import open_tier
from sources.directory import DirectorySource
from tests.support.file_trees import differences, make_everything, seen

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("services", "gateway", "chassis", "contracts", "deploy", "benchmarks", "tests", "vault")
KEPT = ("cli", "repository", "sources")

# Runs the command line with an import hook that refuses the platform and the libraries that only it needs.
BLOCKED = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in {(*ABSENT, "faststream", "nats", "litestar", "eventsourcing", "psycopg", "uvicorn")!r}:
            raise ModuleNotFoundError(f"{{name}} is not to be had on this day")
sys.meta_path.insert(0, Refuse())
from cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, list[str]]:
    """A source, and the options for a repository that the library backed it up to, on two tiers."""
    source = tmp_path / "source"
    make_everything(source)
    urls = [(tmp_path / name).as_uri() for name in ("a", "b")]
    key = KeyFile.create(tmp_path / "key")
    with Repository.init([open_tier(url) for url in urls], key) as repository:
        result = backup(repository, DirectorySource(source), options=BackupOptions(run_token="1", label="everything"))
        assert not result.is_degraded
    return source, ["--key-file", str(tmp_path / "key"), *(word for url in urls for word in ("--tier", url))]


def _run(words: list[str], *, cwd: Path = ROOT, script: str = BLOCKED) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-c", script, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


def test_repository_of_the_library_is_restored_when_the_platform_cannot_be_imported(
    written: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """With the key, one tier and three packages everything comes back, equal in every byte and attribute."""
    source, options = written
    shutil.rmtree(tmp_path / "a")
    done = _run(["repo", "restore", *options, "latest", "--target", str(tmp_path / "out")])
    assert done.returncode == 0, done.stderr
    assert not differences(seen(source), seen(tmp_path / "out"))


def test_every_sub_command_works_when_the_platform_cannot_be_imported(
    written: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """Not only restore: whatever helps on that day."""
    source, options = written
    for words in (
        ["snapshots"],
        ["ls", "latest"],
        ["find", "photo*"],
        ["diff", "latest", "latest"],
        ["stats"],
        ["check", "--read-data"],
        ["repair"],
        ["rebuild-index"],
        ["catch-up"],
        ["backup", str(source / "nested")],
    ):
        done = _run(["repo", words[0], *options, *words[1:]])
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    made = _run(["repo", "init", "--key-file", str(tmp_path / "new key"), "--tier", (tmp_path / "new").as_uri()])
    assert made.returncode == 0, made.stderr


def test_three_copied_packages_are_enough(written: tuple[Path, list[str]], tmp_path: Path) -> None:
    """A tree with nothing but cli, repository and sources in it restores: no file of the others is needed either."""
    source, options = written
    tree = tmp_path / "tree"
    for package in KEPT:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    script = f"""
import sys
sys.path[:] = [path for path in sys.path if path not in ("", {str(ROOT)!r})]
sys.path.insert(0, {str(tree)!r})
import cli
assert cli.__file__.startswith({str(tree)!r})
{BLOCKED}"""
    done = _run(["repo", "restore", *options, "latest", "--target", str(tmp_path / "out")], cwd=tmp_path, script=script)
    assert done.returncode == 0, done.stderr
    assert not differences(seen(source), seen(tmp_path / "out"))


def test_platform_command_fails_in_words_when_the_platform_cannot_be_imported() -> None:
    """`status` without the platform says what is missing; it does not take `repo` down with it."""
    assert _run(["status"]).returncode != 0
    assert _run(["repo", "--help"]).returncode == 0


HEAVY = ("asyncio", "boto3", "botocore", "concurrent.futures.process", "hypothesis", "numpy", "rich", "ssl", "unittest")
"""What takes a tenth of a second or more to import; a command that needs none of it imports none of it."""


@pytest.mark.parametrize("arguments", [["repo", "restore", "--help"], ["repo", "snapshots"]], ids="-".join)
def test_command_imports_nothing_heavy_that_it_does_not_need(
    written: tuple[Path, list[str]], arguments: list[str]
) -> None:
    """Waiting is no part of an emergency. What was imported is the same on every machine, unlike its time."""
    _, options = written
    script = f"""
import sys
from cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""
    done = _run([*arguments, *(options if "--help" not in arguments else [])], script=script)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "[]")
