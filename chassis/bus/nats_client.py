"""The NATS client with a faster way to read headers.

An event carries some twenty headers, and nats-py looks at every character of every name: half of what receiving an
event costs. Names and values are the same here; a line without a colon, and a name with a blank in it, are left out
as there.
"""

from nats.aio.client import Client


class QuickClient(Client):
    """nats-py's client, which parses headers line by line instead of character by character."""

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        headers: dict[str, str] = {}
        for line in raw.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip()] = value.strip()
        if _is_clean("".join(headers)):
            return headers
        return {name: value for name, value in headers.items() if _is_clean(name)}


def _is_clean(names: str) -> bool:
    """Whether names are ASCII without blanks; asked once for all of them, which is nearly always the answer."""
    return names.isascii() and len(names.split()) < 2
