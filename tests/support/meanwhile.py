"""What another process does at a moment of this one's work."""

from collections.abc import Callable
from typing import Any

import pytest


def once_before(monkeypatch: pytest.MonkeyPatch, owner: Any, method: str, then: Callable[[], object]) -> None:
    """Do this once, when the method is called for the first time and before it does anything."""
    original, done = getattr(owner, method), list[object]()

    def call(*words: Any, **options: Any) -> object:
        if not done:
            done.append(True)
            then()
        return original(*words, **options)

    monkeypatch.setattr(owner, method, call)
