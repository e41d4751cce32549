"""The browser of this machine, for tests of pages: Debian's, without a window."""

import shutil

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser")
HOW = "apt-get install chromium-headless-shell"


def browser() -> str | None:
    """Where it is; None where this machine has none."""
    return next((found for name in NAMES if (found := shutil.which(name)) is not None), None)
