"""What is remembered of versions: as much as is said, whoever else judges meanwhile."""

import pytest

from repository.tiers.s3 import pack_digests
from repository.tiers.s3.pack_digests import PackDigests


class _Busy(dict[tuple[str, str, bytes | None], bool]):
    """What others take away as soon as it is there: it is their turn."""

    def __setitem__(self, key: tuple[str, str, bytes | None], value: bool) -> None:
        super().__setitem__(key, value)
        self.clear()


def test_each_gets_its_own_answer_and_no_more_is_remembered_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen threads ask at once: what one was told may be forgotten again by the time that it has it."""
    monkeypatch.setattr(pack_digests, "_JUDGED_MAX", 1)
    digests = PackDigests()

    def look_while_another_does() -> bool:
        return not digests.judged("second", "1", None, lambda: False)

    assert digests.judged("first", "1", None, look_while_another_does)
    assert len(digests._judged) == 1
    assert digests.judged("first", "1", None, lambda: False)  # it is remembered
    digests._judged = _Busy()
    assert digests.judged("first", "1", None, lambda: True)
    assert not digests.judged("second", "1", None, lambda: False)
