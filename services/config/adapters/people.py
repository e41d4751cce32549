"""Telling people by a service that they use: one message by Apprise, in a process of its own that ends with it.

What sends is 45 MB in memory for seconds, in a process that can be ended whatever it does. It is given the address by
its standard input, of our environment nothing but what a client of TLS needs, and nothing of it comes back but one
word: what it logs may hold the address. The addresses are the operator's, who may lead them where he likes; no
redirection is followed. Run as a program, this module knows nothing of the platform.
"""

import asyncio
import json
import os
import re
import sys
from contextlib import suppress
from typing import Any

PEOPLE_SECONDS = 14.0
AT_ONCE = 2
SCHEMES = (
    *("slack", "discord", "tgram", "workflows", "gchat", "webex", "wxteams", "zulip", "line", "signals", "whatsapp"),
    *("matrixs", "mmosts", "rockets", "mailtos", "pover", "ntfys", "gotifys", "threema", "twilio", "vonage"),
    *("pagerduty", "opsgenie", "splunk", "ilert", "signl4", "goalerts", "incidentio", "betterstack", "jsons"),
)
"""Services that people are told by, over TLS. Others of the library run programs, read files, or send in the clear."""
ONLY_HERE = ("json",)
"""Where the operator lets receivers be on closed networks: a POST in the clear."""
_SCHEME = re.compile(r"([a-z0-9]{2,20})://\S+\Z")
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE")
ARRIVED, REFUSED, UNUSABLE = "arrived", "refused", "unusable"


def scheme_of(text: str) -> str | None:
    """The service of an address; None where it is none."""
    found = _SCHEME.match(text.strip())
    return None if found is None else found[1]


def is_usable(text: str, *, private: bool) -> bool:
    """Whether an address is of a service that people are told by."""
    scheme = scheme_of(text)
    return scheme in SCHEMES or (private and scheme in ONLY_HERE)


class People:
    """Sends one message a process; `AT_ONCE` of them at most."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)

    @property
    def is_busy(self) -> bool:
        """Whether a message would have to wait."""
        return self._free.locked()

    async def send(self, address: str, title: str, text: str, *, is_alarm: bool) -> str | None:
        """`ARRIVED`, as far as the service says, `REFUSED` or `UNUSABLE`; None where it took too long."""
        kind = "failure" if is_alarm else "info"
        told = json.dumps({"address": address.strip(), "title": title, "text": text, "kind": kind}).encode()
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment["REQUESTS_CA_BUNDLE"] = environment.get("SSL_CERT_FILE", "")
        async with self._free:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                __file__,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(PEOPLE_SECONDS):
                    answer, _ = await process.communicate(told)
            except TimeoutError:
                return None
            finally:
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()
        word = answer.decode("ascii", "replace").strip()
        return word if word in (ARRIVED, REFUSED, UNUSABLE) else REFUSED


def main() -> None:
    """Send what standard input says."""
    told: dict[str, Any] = json.load(sys.stdin)
    sys.stdout, answer = sys.stderr, sys.stdout
    if not os.environ.get("REQUESTS_CA_BUNDLE"):
        os.environ.pop("REQUESTS_CA_BUNDLE", None)
    import apprise  # heavy: the services that only call this never load it
    import requests.sessions  # as above

    # A client takes the bound when it is made. What leads elsewhere fails.
    vars(requests.sessions)["DEFAULT_REDIRECT_LIMIT"] = 0
    asset = apprise.AppriseAsset(app_id="WedSync Backup", app_desc="WedSync Backup", app_url="", async_mode=False)
    receivers = apprise.Apprise(asset=asset)
    word = UNUSABLE
    if receivers.add(told["address"]):
        arrived = receivers.notify(title=told["title"], body=told["text"], notify_type=told["kind"])
        word = ARRIVED if arrived else REFUSED
    answer.write(word)


if __name__ == "__main__":
    main()
