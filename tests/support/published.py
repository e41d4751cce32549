"""What is published is what subscribers were promised: a message against its committed schema."""

import json
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator

from contracts.envelope import Envelope, encode
from contracts.generate import HOME


@lru_cache
def _validator(name: str) -> Any:
    return Draft202012Validator(json.loads((HOME / "schemas" / f"{name}.json").read_text(encoding="utf-8")))


def assert_as_promised(envelope: Envelope) -> None:
    """Raise where a real message does not fit the schema of its name."""
    _validator(envelope.type).validate(json.loads(encode(envelope)))


def assert_progress_as_promised(body: bytes) -> None:
    """The same for a progress message."""
    _validator("progress").validate(json.loads(body))
