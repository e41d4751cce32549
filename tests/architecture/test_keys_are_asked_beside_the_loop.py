"""The keys lie on a disk that may never answer: a coroutine asks by `sealer.ask` alone. And one place makes them."""

import ast
from collections.abc import Iterator

from tests.architecture.packages import PACKAGES, ROOT

ALWAYS = {"ask"}
"""What a sealer is asked in a coroutine."""
KEEPERS = {"partial", "entry_cursors", "add_key_checks", "add_key_figures", "keys_of_tenants"}
"""What only keeps the sealer it is given: to ask it later, as here or by its own tests."""
MAKERS = {"chassis/subject_keys.py", "gateway/writes/book.py"}
"""Who has asked the record whether there were keys before."""
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for package in sorted(set(PACKAGES) - {"benchmarks"}):  # which serve nobody
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def _is_sealer(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name.lstrip("_") == "sealer"


def _own(function: _Function) -> Iterator[ast.AST]:
    """What a function does itself: not what functions within it do, which are called elsewhere."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def _asks(call: ast.Call) -> bool:
    """Whether a call reads keys, or hands the sealer to a function that may: a class only keeps it."""
    function = call.func
    if isinstance(function, ast.Attribute) and _is_sealer(function.value):
        return function.attr not in ALWAYS
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    is_kept = name.lstrip("_")[:1].isupper() or name in KEEPERS
    return not is_kept and any(map(_is_sealer, [*call.args, *(each.value for each in call.keywords)]))


def _called(call: ast.Call) -> str:
    """The name of a function of this module, or of a method of its own, that is called."""
    if isinstance(call.func, ast.Name):
        return call.func.id
    is_own = isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") in {"self", "cls"}
    return call.func.attr if isinstance(call.func, ast.Attribute) and is_own else ""


def _guilty(tree: ast.Module) -> list[int]:
    """The lines on which a coroutine reads keys itself, or by a function of its module that does."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    plain = [each for each in functions if isinstance(each, ast.FunctionDef)]
    reading: set[str] = set()
    while True:
        more = {each.name for each in plain if any(_reads(node, reading) for node in _own(each))} - reading
        if not more:
            break
        reading |= more
    coroutines = [each for each in functions if isinstance(each, ast.AsyncFunctionDef)]
    awaited = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
    return [
        node.lineno
        for each in coroutines
        for node in _own(each)
        if isinstance(node, ast.Call) and id(node) not in awaited and _reads(node, reading)
    ]


def _reads(node: ast.AST, reading: set[str]) -> bool:
    return isinstance(node, ast.Call) and (_asks(node) or _called(node) in reading)


def test_coroutine_asks_the_keys_beside_the_event_loop() -> None:
    """One that reads them itself stands still with all others, for as long as their disk says nothing."""
    assert not [f"{name}:{line}" for name, tree in _modules() for line in _guilty(tree)]


def test_keys_read_in_a_coroutine_would_be_found() -> None:
    """Directly, by a function that is given the sealer, by a method, and not what a thread does for it."""
    text = """
def held(sealer, box): return sealer.open("acme", "f", box)
class Reader:
    def told(self): return self._again()
    def _again(self): return self.sealer.has_keys("acme")
    async def wrong(self): self._sealer.digest("acme", "p", "t")
    async def handed(self): held(self.sealer, b"")
    async def method(self): self.told()
    async def right(self): return await self.sealer.ask(lambda: held(self.sealer, b""))
    async def drawn_up(self): return Draft(lambda: self.told(), partial(held, self.sealer))
    async def page(self): return await page(self.sealer)
"""
    assert sorted(_guilty(ast.parse(text))) == [6, 7, 8]


def test_one_place_makes_sealing_keys() -> None:
    """It asks the record first: keys that are made beside what others sealed open none of it."""
    makers = {
        name
        for name, tree in _modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "make_keys"
    }
    assert makers == MAKERS
