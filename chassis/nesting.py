"""A JSON document of which one entry is nested deeper than any decoder goes: the others are read all the same.

Promise: what is cut out is what lies deeper than `DEPTH_MAX`; it is null then, which is no value of any field of ours,
so that the entry is told as faulty, by a name and an address that can still be read. Linear in the document's length.
"""

import re

DEPTH_MAX = 20
"""Brackets within brackets; nothing of ours has a third of it."""
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]|[^\s\[\]{},"]+', re.DOTALL)
_OPEN, _CLOSED, _COMMA = (b"[", b"{"), (b"]", b"}"), b","


def without_depths(body: bytes, field: str) -> tuple[bytes, list[bytes]]:
    """The document without what is too deep in it, and the entries of a list of its outermost object, as they are.

    What is no such document is given back without any entry: a decoder says what is wrong with it.
    """
    depth, key, is_within, begins, ends = 0, b"", False, -1, -1
    cut_from, cuts, spans = -1, list[tuple[int, int]](), list[tuple[int, int]]()
    for token in _TOKEN.finditer(body):
        text = token[0]
        if is_within and depth == 2 and (text == _COMMA or text in _CLOSED):
            if begins >= 0:
                spans.append((begins, ends))
            begins, is_within = -1, text == _COMMA
        elif is_within:
            begins = token.start() if begins < 0 else begins
        if text in _OPEN:
            depth += 1
            if depth == 2 and key == field.encode():
                is_within = True
            if depth == DEPTH_MAX + 1:
                cut_from = token.start()
        elif text in _CLOSED:
            if depth == DEPTH_MAX + 1:
                cuts.append((cut_from, token.end()))
            depth -= 1
        elif depth == 1 and text.startswith(b'"'):
            key = text.strip(b'"')
        ends = token.end()
    shallow, at = bytearray(), 0
    for begin, end in cuts:
        shallow += body[at:begin] + b"null"
        at = end
    return bytes(shallow + body[at:]), [body[begin:end] for begin, end in spans]
