"""The console, as static files: `assets/` is what `console/` was built to (`make golden`, ADR 0121).

Promise: the page runs its own scripts alone, asks this gateway alone, is framed by nobody, and is asked for anew each
time; what it names has a digest in its name and is kept by who has it. Nobody has to sign in for the files, which tell
nothing; everything that is shown is asked for with the reader's own token.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from litestar import Response, get
from litestar.params import PathParameter

from contracts import errors
from contracts.errors import PlatformError
from gateway.auth.guards import OPEN

ASSETS = Path(__file__).with_name("assets")
PAGE = "index.html"
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_WITH_DIGEST = re.compile(r"console-[0-9a-f]{12}\.\w+")
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_FOR_A_DAY = {"Cache-Control": "public, max-age=86400"}


@get("/console", opt=OPEN, summary="The console", sync_to_thread=False)
def console_page() -> Response[bytes]:
    """A page for people: what is protected and what is not, runs as they go, recovery points, proofs."""
    return Response(_content(PAGE), media_type=MEDIA_TYPES[".html"], headers=_PAGE_HEADERS)


@get("/console/{name:str}", opt=OPEN, summary="A file of the console", sync_to_thread=False)
def console_file(name: Annotated[str, PathParameter(description="As the page names it")]) -> Response[bytes]:
    """What the page is made of."""
    headers = _FOR_EVER if _WITH_DIGEST.fullmatch(name) else _FOR_A_DAY
    return Response(_content(name), media_type=MEDIA_TYPES[Path(name).suffix], headers=headers)


def _content(name: str) -> bytes:
    """A file of the build. Raises NOT_FOUND."""
    try:
        return _files()[name]
    except KeyError:
        raise PlatformError(errors.NOT_FOUND, "this build's console has no such file") from None


@lru_cache(maxsize=1)
def _files() -> dict[str, bytes]:
    # Read once: whoever asks names one of these, and never a path.
    return {entry.name: entry.read_bytes() for entry in ASSETS.glob("*") if entry.suffix in MEDIA_TYPES}


HANDLERS = [console_page, console_file]
