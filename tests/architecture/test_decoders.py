"""Who completes a type of msgspec's: never two threads at once, which would crash the process."""

import ast
from collections.abc import Iterator

from tests.architecture.packages import PACKAGES, ROOT

MAKES_THEM = "contracts/reading.py"
CONVERTS_PLAIN_VALUES = "chassis/settings.py"  # no Struct, and before there are threads


def test_decoder_is_made_when_its_module_is_imported() -> None:
    """A type completes itself when it is first decoded; `contracts.reading` does that for those known only later."""
    guilty = [
        f"{name}:{line}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if (name := str(path.relative_to(ROOT))) != MAKES_THEM
        for line in _late(path.read_text(), may_convert=name == CONVERTS_PLAIN_VALUES)
    ]
    assert not guilty


def test_late_decoders_are_seen_in_each_of_their_forms() -> None:
    """What the rule looks for, and what it lets pass."""
    late = """
def read(body):
    msgspec.json.decode(body, type=Kind)
    msgspec.json.decode(body, strict=False, type=Kind)
    msgspec.convert(body, Kind)
    msgspec.msgpack.Decoder(Kind)
    return lambda: Decoder(Kind)
"""
    assert list(_late(late)) == [3, 4, 5, 6, 7]
    early = """
KINDS = {kind: msgspec.json.Decoder(kind) for kind in (Kind, Other)}
def read(body, decoder: msgspec.json.Decoder[Kind]):
    return msgspec.json.decode(body), KINDS[Kind].decode(body), body.decode()
"""
    assert not list(_late(early))


def _late(text: str, *, may_convert: bool = False) -> Iterator[int]:
    """The lines on which a type is decoded by a decoder that is made there and then."""
    tree = ast.parse(text)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        is_typed = called.endswith("decode") and any(each.arg == "type" for each in node.keywords)
        is_converted = called in ("convert", "msgspec.convert") and not may_convert
        is_made = called.rpartition(".")[2] == "Decoder" and id(node) in inside
        if is_typed or is_converted or is_made:
            yield node.lineno
