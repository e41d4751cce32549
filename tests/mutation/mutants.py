"""How many faults the tests would notice: changes one operator or constant at a time and runs the tests.

`python -m tests.mutation.mutants` works on a copy of the sources in a temporary folder and prints, per module,
the mutants that were killed and the ones that survived. Exit 1 where less than `--floor` percent were killed in a
module. A mutant is killed when its tests fail, or take much longer than they should.

Not mutated: docstrings, messages, annotations, keywords of classes, `__repr__`, and the words and context of errors.
"""

import argparse
import ast
import copy
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS: Final = 60
UNIT: Final = "tests/unit/repository"
TESTS_OF: Final = {
    "keys/crypto": (f"{UNIT}/test_keys.py", f"{UNIT}/test_sealed_object.py"),
    "format": (f"{UNIT}/test_format.py",),
    "keys/key_ring": (f"{UNIT}/test_keys.py",),
    "keys/key_file": (f"{UNIT}/test_keys.py",),
    "stored/sealed_object": (f"{UNIT}/test_sealed_object.py",),
    "stored/log_entry": (f"{UNIT}/test_commit_log.py",),
    "log/state": (f"{UNIT}/test_commit_log.py",),
    "log/commit_log": (f"{UNIT}/test_commit_log.py",),
    "log/checkpoints": (f"{UNIT}/test_checkpoints.py", f"{UNIT}/test_keys_and_places.py"),
    "stored/checkpoint": (f"{UNIT}/test_checkpoints.py",),
    "opened/seen": (f"{UNIT}/test_seen.py", f"{UNIT}/test_keys_and_places.py"),
    "opened/second_copies": (f"{UNIT}/test_lost_entries.py",),
    "upkeep/manifests": (f"{UNIT}/test_log_repair.py", f"{UNIT}/test_check_repair.py"),
    "upkeep/log_repair": (f"{UNIT}/test_log_repair.py",),
    "upkeep/bad_packs": (f"{UNIT}/test_whole_packs.py", f"{UNIT}/test_check_repair.py"),
    "upkeep/harmed": (f"{UNIT}/test_whole_packs.py", f"{UNIT}/test_check_repair.py"),
    "upkeep/store_holds": (f"{UNIT}/test_store_holds.py",),
    "tiers/folder/hands": (f"{UNIT}/test_silent_disks.py",),
}

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}


class Mutant(NamedTuple):
    """One change. `source`: the whole module with it."""

    line: int
    change: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Every change of a module, one at a time."""
    tree = ast.parse(source)
    places = [node for node in _walk(tree) if isinstance(node, ast.expr | ast.stmt)]
    for number, node in enumerate(places):
        for variant, change in enumerate(_changes(node)):
            changed = copy.deepcopy(tree)
            target = [each for each in _walk(changed) if isinstance(each, ast.expr | ast.stmt)][number]
            _replace(changed, target, _changes(target)[variant][1])
            yield Mutant(node.lineno, change[0], ast.unparse(ast.fix_missing_locations(changed)))


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that are worth a change, in a fixed order."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_params", "type_ignores") or (
            isinstance(node, ast.ClassDef) and name == "keywords"
        ):
            continue
        children = value if isinstance(value, list) else [value]
        for child in children:
            if isinstance(child, ast.AST) and not _is_left_alone(node, child):
                yield from _walk(child)


def _is_left_alone(parent: ast.AST, child: ast.AST) -> bool:
    if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
        return True  # a docstring
    if isinstance(child, ast.FunctionDef) and child.name == "__repr__":
        return True
    if isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom):
        return True
    # The words and the context of an error are for people.
    return isinstance(parent, ast.Raise) or (isinstance(child, ast.keyword) and child.arg in ("hint", "context"))


def _changes(node: ast.AST) -> list[tuple[str, ast.AST]]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _COMPARISONS:
            other = _COMPARISONS[type(operator)]
            new = copy.deepcopy(node)
            new.ops = [other()]
            return [(f"{type(operator).__name__} → {other.__name__}", new)]
        case ast.BoolOp(op=operator):
            new_bool = copy.deepcopy(node)
            new_bool.op = ast.Or() if isinstance(operator, ast.And) else ast.And()
            return [("and ↔ or", new_bool)]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return [("not dropped", copy.deepcopy(operand))]
        case ast.BinOp(op=operator) if type(operator) in _OPERATORS:
            new_binary = copy.deepcopy(node)
            new_binary.op = _OPERATORS[type(operator)]()
            return [(f"{type(operator).__name__} → {type(new_binary.op).__name__}", new_binary)]
        case ast.Constant(value=bool(value)):
            return [(f"{value} → {not value}", ast.Constant(not value))]
        case ast.Constant(value=int(value)):
            return [(f"{value} → {value + 1}", ast.Constant(value + 1))]
        case ast.Constant(value=bytes(value)):
            return [(f"{value!r} changed", ast.Constant(value + b"?"))]
        case ast.Raise():
            return [("raise dropped", ast.Pass())]
        case ast.Return(value=value) if value is not None and not _is_none(value):
            return [("return None", ast.Return(ast.Constant(None)))]
        case ast.If(test=test):
            new_if = copy.deepcopy(node)
            new_if.test = ast.UnaryOp(ast.Not(), copy.deepcopy(test))
            return [("if negated", new_if)]
    return []


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
                return
            if isinstance(value, list) and any(each is old for each in value):
                value[next(number for number, each in enumerate(value) if each is old)] = new
                return


def is_killed(folder: Path, tests: tuple[str, ...]) -> bool:
    """Run the tests in a forked child that has the heavy libraries loaded already."""
    child = os.fork()
    if child == 0:
        _run_tests(folder, tests)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status != 0
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def _run_tests(folder: Path, tests: tuple[str, ...]) -> None:
    os.setpgid(0, 0)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    # This very module came from the other copy of the tests.
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    import pytest
    from hypothesis import Phase, settings

    # That an example fails is enough; nobody looks at the smallest one.
    settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], deadline=None, database=None)
    settings.load_profile("mutants")
    code = 1
    try:
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *tests]))
    finally:
        os._exit(code)


def main(arguments: list[str]) -> int:
    """Test the modules that are named, or all of `TESTS_OF`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(TESTS_OF))
    parser.add_argument("--floor", type=float, default=80.0, help="percent that have to be killed (default 80)")
    options = parser.parse_args(arguments)
    # Loaded once: each mutant's child inherits them.
    import cryptography.hazmat.primitives.ciphers.aead
    import hypothesis
    import msgspec
    import numpy
    import zstandard

    del cryptography, hypothesis, msgspec, numpy, zstandard
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for package in ("repository", "sources", "tests"):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "compat"))
        # Without the fixtures that start servers.
        (folder / "tests" / "conftest.py").write_text("")
        shutil.copy(ROOT / "pyproject.toml", folder)
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        shares = [_test_module(folder, module) for module in options.modules]
    return 0 if min(shares, default=100.0) >= options.floor else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _test_module(folder: Path, module: str) -> float:
    path = folder / "repository" / f"{module}.py"
    original = path.read_text()
    if is_killed(folder, TESTS_OF[module]):
        _say(f"{module}: the tests fail without any change")
        return 0.0
    killed = total = 0
    for mutant in mutants(original):
        path.write_text(mutant.source)
        total += 1
        if is_killed(folder, TESTS_OF[module]):
            killed += 1
        else:
            _say(f"  survived: {module}.py:{mutant.line}: {mutant.change}")
    path.write_text(original)
    share = 100.0 * killed / max(total, 1)
    _say(f"{module}: {killed} of {total} mutants killed ({share:.0f}%)")
    return share


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
