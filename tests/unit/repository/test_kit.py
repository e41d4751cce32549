"""The recovery kit: shares that give a key back, and shares that do not."""

import itertools
from pathlib import Path

import pytest

from repository.errors import KitInvalid
from repository.keys import kit
from repository.keys.kit import key_of, make_shares, read_share, write_shares

KEK = bytes(range(32))


def _files(folder: Path, kek: bytes = KEK, passphrase: str = "", repository: bytes = bytes(16)) -> list[Path]:
    texts = make_shares(
        kek, repository, threshold=3, count=5, made="2027-01-02", tiers=["file:///mnt/disk"], passphrase=passphrase
    )
    return write_shares(folder, texts)


def test_any_three_of_five_shares_give_the_key_back_and_two_do_not(tmp_path: Path) -> None:
    paths = _files(tmp_path / "kit")
    shares = [read_share(path) for path in paths]
    for three in itertools.combinations(shares, 3):
        assert key_of(three) == KEK
    assert key_of(shares) == KEK
    for few in (shares[:1], shares[:2], [shares[0], shares[0], shares[1]]):
        with pytest.raises(KitInvalid, match="too few"):
            key_of(few)
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    assert paths[0].parent.stat().st_mode & 0o777 == 0o700
    text = paths[0].read_text()
    assert "share 1 of 5" in text
    assert "file:///mnt/disk" in text
    assert KEK.hex() not in text
    assert max(map(len, text.splitlines())) <= 100, "it is printed"


def test_nothing_is_overwritten_and_half_a_kit_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kit").mkdir()
    with pytest.raises(KitInvalid, match="exists"):
        _files(tmp_path / "kit")
    with pytest.raises(KitInvalid, match="cannot be made"):
        _files(tmp_path / "nowhere" / "kit")
    calls = itertools.count()
    inner = kit.os.fsync

    def full(descriptor: int) -> None:
        if next(calls) == 2:
            raise OSError(28, "No space left on device")
        inner(descriptor)

    monkeypatch.setattr(kit.os, "fsync", full)
    with pytest.raises(KitInvalid, match="cannot be written"):
        _files(tmp_path / "half")
    assert not (tmp_path / "half").exists()


def test_wrong_passphrase_gives_no_other_key_in_silence(tmp_path: Path) -> None:
    shares = [read_share(path) for path in _files(tmp_path / "kit", passphrase="of the kit")][:3]
    assert key_of(shares, "of the kit") == KEK
    for wrong in ("", "of the  kit"):
        with pytest.raises(KitInvalid, match="another key"):
            key_of(shares, wrong)
    with pytest.raises(KitInvalid, match="ASCII"):
        key_of(shares, "caf\u00e9")


def test_shares_of_two_kits_are_told_apart(tmp_path: Path) -> None:
    one = [read_share(path) for path in _files(tmp_path / "one")]
    again = [read_share(path) for path in _files(tmp_path / "again")]
    other = [read_share(path) for path in _files(tmp_path / "other", kek=bytes(32))]
    with pytest.raises(KitInvalid, match="different kits"):
        key_of([*one[:2], other[2]])
    with pytest.raises(KitInvalid, match="do not fit"):
        key_of([*one[:2], again[2]])


def test_share_that_was_typed_is_read_and_a_slip_shows_without_its_words(tmp_path: Path) -> None:
    (path, *_) = _files(tmp_path / "kit")
    whole, text = read_share(path), path.read_text()
    path.write_text(text.replace(" ", "   ").replace("\n", "\r\n\r\n"))
    assert read_share(path) == whole
    words = whole.mnemonic.split()
    for old, new in ((words[5], "zero" if words[5] != "zero" else "year"), ("any 3", "any 2"), (whole.key, "0" * 32)):
        path.write_text(text.replace(old, new))
        with pytest.raises(KitInvalid) as refused:
            read_share(path)
        assert words[5] not in f"{refused.value} {refused.value.hint}".split()
    for junk in (b"", b"\xff" * 99, b"wsbkek1-", text.split("seal")[0].encode(), b"x" * 200_000):
        path.write_bytes(junk)
        with pytest.raises(KitInvalid):
            read_share(path)


@pytest.mark.parametrize(("threshold", "count"), [(1, 3), (4, 3), (3, 17), (0, 0)])
def test_kit_that_is_none_is_refused(threshold: int, count: int) -> None:
    with pytest.raises(KitInvalid):
        make_shares(KEK, bytes(16), threshold=threshold, count=count, made="", tiers=[])
