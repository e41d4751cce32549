"""Sealed fields: opened by whom, destroyed how, and what a lost or altered key looks like."""

import errno
import os
import shutil
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import key_checks, sealing
from chassis.key_checks import KeysOfTenants, add_key_checks, add_key_figures, add_keys_of_tenants
from chassis.life.health import DEGRADED, READY, Health
from chassis.sealing import Sealer, normalised, prepare_keys_folder
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.sealed import Sealed
from tests.support.eventually import eventually
from tests.support.hung_mount import hung_mount
from tests.support.sealing import MakingSealer

ORGANISATION = "0199a0f2-1111-7000-8000-000000000001"
OTHER = "0199a0f2-1111-7000-8000-000000000002"
FIELD = "configuration.name"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared folder."""
    path = tmp_path / "keys"
    prepare_keys_folder(path)
    return path


@pytest.fixture
def sealer(folder: Path) -> Sealer:
    """A sealer over a prepared folder."""
    return MakingSealer(folder)


def _refusal(sealer: Sealer, sealed: Sealed, *, organisation: str = ORGANISATION, field: str = FIELD) -> ErrorCode:
    with pytest.raises(PlatformError) as refused:
        sealer.open(organisation, field, sealed)
    return refused.value.code


def test_sealed_text_opens_again_in_another_process(folder: Path, sealer: Sealer) -> None:
    """A key that was made is on disk."""
    sealed = sealer.seal(ORGANISATION, FIELD, "Hochzeit Åsa & Jürgen 💍")
    assert MakingSealer(folder).open(ORGANISATION, FIELD, sealed) == "Hochzeit Åsa & Jürgen 💍"
    assert sealed.key == f"organisation/{ORGANISATION}/1"
    assert b"Hochzeit" not in msgspec.json.encode(sealed)


def test_sealing_the_same_text_twice_gives_different_boxes(sealer: Sealer) -> None:
    """Equal texts cannot be told from their boxes."""
    assert sealer.seal(ORGANISATION, FIELD, "x").box != sealer.seal(ORGANISATION, FIELD, "x").box


def test_box_does_not_open_elsewhere(sealer: Sealer) -> None:
    """A box that was moved to another field, organisation or subject, or altered, does not open."""
    sealed = sealer.seal(ORGANISATION, FIELD, "x")
    other = sealer.seal(OTHER, FIELD, "y")
    of_subject = sealer.seal(ORGANISATION, FIELD, "z", subject="guest-1")
    assert _refusal(sealer, sealed, field="configuration.path") is errors.KEYS_UNUSABLE
    assert _refusal(sealer, sealed, organisation=OTHER) is errors.KEYS_UNUSABLE
    assert _refusal(sealer, of_subject, organisation=OTHER) is errors.KEYS_UNUSABLE
    assert _refusal(sealer, Sealed(key=sealed.key, box=other.box)) is errors.KEYS_UNUSABLE
    assert _refusal(sealer, Sealed(key=sealed.key, box=of_subject.box)) is errors.KEYS_UNUSABLE
    assert (
        _refusal(sealer, Sealed(key=sealed.key, box=sealed.box[:-1] + bytes([sealed.box[-1] ^ 1])))
        is errors.KEYS_UNUSABLE
    )
    assert _refusal(sealer, Sealed(key=sealed.key, box=b"")) is errors.KEYS_UNUSABLE


@pytest.mark.parametrize(
    "name",
    ["", "organisation", f"organisation/{ORGANISATION}/x", f"organisation/{ORGANISATION}/../1", f"subject/{OTHER}/a/1"],
)
def test_key_name_of_another_shape_is_refused(sealer: Sealer, name: str) -> None:
    """A key's name in an event reaches no file but its own."""
    assert _refusal(sealer, Sealed(key=name, box=bytes(40))) is errors.KEYS_UNUSABLE


@pytest.mark.parametrize("identifier", ["", "..", "a/b", "a.b", " ", "a" * 129])
def test_ids_that_would_leave_the_folder_are_refused(sealer: Sealer, identifier: str) -> None:
    """Neither an organisation nor a subject names a path."""
    for call in (
        lambda: sealer.seal(identifier, FIELD, "x"),
        lambda: sealer.seal(ORGANISATION, FIELD, "x", subject=identifier),
        lambda: sealer.digest(identifier, "name", "x"),
        lambda: sealer.destroy(identifier),
    ):
        with pytest.raises(PlatformError) as refused:
            call()
        assert refused.value.code is errors.INVALID_FIELD


def test_destroyed_subject_is_erased_and_its_organisation_is_not(sealer: Sealer) -> None:
    """Destroying one subject's key erases that subject's fields alone."""
    of_subject = sealer.seal(ORGANISATION, FIELD, "guest", subject="guest-1")
    of_other = sealer.seal(ORGANISATION, FIELD, "other", subject="guest-2")
    of_organisation = sealer.seal(ORGANISATION, FIELD, "name")
    sealer.destroy(ORGANISATION, subject="guest-1")
    assert _refusal(sealer, of_subject) is errors.SEALING_KEY_MISSING
    assert sealer.open(ORGANISATION, FIELD, of_other) == "other"
    assert sealer.open(ORGANISATION, FIELD, of_organisation) == "name"


def test_destroyed_key_is_gone_for_a_process_that_has_used_it(folder: Path, sealer: Sealer) -> None:
    """No process keeps a key in memory after another has destroyed it."""
    sealed = sealer.seal(ORGANISATION, FIELD, "x")
    other_process = MakingSealer(folder)
    assert other_process.open(ORGANISATION, FIELD, sealed) == "x"
    sealer.destroy(ORGANISATION)
    assert _refusal(other_process, sealed) is errors.SEALING_KEY_MISSING


def test_destroying_an_organisation_takes_every_key_of_it(folder: Path, sealer: Sealer) -> None:
    """Fields, subjects and digests go together; calling it again changes nothing; others stay."""
    sealed = [sealer.seal(ORGANISATION, FIELD, "x"), sealer.seal(ORGANISATION, FIELD, "x", subject="guest-1")]
    digest = sealer.digest(ORGANISATION, "name", "x")
    kept = sealer.seal(OTHER, FIELD, "kept")
    sealer.destroy(ORGANISATION)
    sealer.destroy(ORGANISATION)
    assert {_refusal(sealer, box) for box in sealed} == {errors.SEALING_KEY_MISSING}
    assert sealer.digest(ORGANISATION, "name", "x") != digest
    assert sealer.open(OTHER, FIELD, kept) == "kept"
    left = [path for path in (folder / "organisations" / ORGANISATION).rglob("*.key") if path.parent.name != "digest"]
    assert left == []


def test_key_after_a_destroyed_one_is_a_new_generation(sealer: Sealer) -> None:
    """A generation is never used twice, so that an erased field stays erased."""
    before = sealer.seal(ORGANISATION, FIELD, "before")
    sealer.destroy(ORGANISATION)
    after = sealer.seal(ORGANISATION, FIELD, "after")
    assert after.key == f"organisation/{ORGANISATION}/2"
    assert sealer.open(ORGANISATION, FIELD, after) == "after"
    assert _refusal(sealer, before) is errors.SEALING_KEY_MISSING


def test_destruction_goes_on_after_a_crash_half_way(folder: Path, sealer: Sealer) -> None:
    """A mark without the removal counts as destroyed, and the next call removes the key; scratch files go, too."""
    sealed = sealer.seal(ORGANISATION, FIELD, "x")
    lineage = folder / "organisations" / ORGANISATION / "organisation"
    (lineage / "1.destroyed").touch()
    (lineage / ".1.key.0123").write_bytes(bytes(32))
    assert _refusal(sealer, sealed) is errors.SEALING_KEY_MISSING
    sealer.destroy(ORGANISATION)
    assert sorted(os.listdir(lineage)) == ["1.destroyed"]


def test_lost_key_is_told_apart_from_a_destroyed_one(folder: Path, sealer: Sealer) -> None:
    """A key file that is gone is a case for the recovery kit, not an erasure."""
    sealed = sealer.seal(ORGANISATION, FIELD, "x")
    (folder / "organisations" / ORGANISATION / "organisation" / "1.key").unlink()
    assert _refusal(sealer, sealed) is errors.KEYS_UNUSABLE


@pytest.mark.parametrize("content", [b"", bytes(16), bytes(33)])
def test_key_file_of_another_length_is_refused(folder: Path, sealer: Sealer, content: bytes) -> None:
    """A truncated key is no key."""
    sealed = sealer.seal(ORGANISATION, FIELD, "x")
    path = folder / "organisations" / ORGANISATION / "organisation" / "1.key"
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    assert _refusal(sealer, sealed) is errors.KEYS_UNUSABLE


def test_key_that_others_can_read_is_refused(folder: Path, sealer: Sealer) -> None:
    """A key file with a wider mode than 0600 is not used."""
    sealed = sealer.seal(ORGANISATION, FIELD, "x")
    path = folder / "organisations" / ORGANISATION / "organisation" / "1.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    os.utime(path, ns=(1, 1))
    assert _refusal(sealer, sealed) is errors.KEYS_UNUSABLE


def test_folder_that_was_not_prepared_grows_no_keys(tmp_path: Path) -> None:
    """An empty mount point is an error, not a reason to make new keys."""
    with pytest.raises(PlatformError) as refused:
        MakingSealer(tmp_path)
    assert refused.value.code is errors.KEYS_UNUSABLE
    assert refused.value.field == "WEDSYNC_KEYS_DIR"


def test_folder_that_vanishes_grows_no_keys(folder: Path, sealer: Sealer) -> None:
    """A folder that is unmounted while the process runs is noticed before a new key is made."""
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()
    with pytest.raises(PlatformError) as refused:
        sealer.seal(ORGANISATION, FIELD, "x")
    assert refused.value.code is errors.KEYS_UNUSABLE
    assert os.listdir(folder) == []


def test_lineage_that_cannot_be_listed_is_refused(folder: Path, sealer: Sealer) -> None:
    """What stands where a folder of keys belongs is reported, not replaced."""
    place = folder / "organisations" / ORGANISATION
    place.mkdir(parents=True)
    (place / "organisation").write_text("a file")
    with pytest.raises(PlatformError) as refused:
        sealer.seal(ORGANISATION, FIELD, "x")
    assert refused.value.code is errors.KEYS_UNUSABLE


def test_prepared_folder_is_closed_to_others_and_recognised(folder: Path) -> None:
    """Preparing again keeps what is there and closes the folder."""
    sealed = MakingSealer(folder).seal(ORGANISATION, FIELD, "x")
    folder.chmod(0o755)
    prepare_keys_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert MakingSealer(folder).open(ORGANISATION, FIELD, sealed) == "x"


def test_processes_that_begin_at_once_agree_on_one_key(folder: Path) -> None:
    """Of several that make a first key, one wins and all use its key."""
    begin = threading.Barrier(6)
    sealed: list[Sealed] = []

    def seal() -> None:
        sealer = MakingSealer(folder)
        begin.wait()
        sealed.append(sealer.seal(ORGANISATION, FIELD, "x"))

    threads = [threading.Thread(target=seal) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [MakingSealer(folder).open(ORGANISATION, FIELD, box) for box in sealed] == ["x"] * 6
    assert {box.key for box in sealed} == {f"organisation/{ORGANISATION}/1"}
    assert os.listdir(folder / "organisations" / ORGANISATION / "organisation") == ["1.key"]


@pytest.mark.parametrize("lost", ["organisations", f"organisations/{ORGANISATION}", "1.key"])
def test_lost_key_is_not_made_anew_and_all_reads_again_once_it_is_back(
    folder: Path, sealer: Sealer, lost: str, tmp_path: Path
) -> None:
    """Neither this process nor another seals under a new key; with the copy back, what was sealed opens."""
    sealed = sealer.seal(ORGANISATION, FIELD, "x")
    digest = sealer.digest(ORGANISATION, "name", "x")
    assert sealer.unusable() == []
    place = f"organisations/{ORGANISATION}/organisation/1.key" if lost == "1.key" else lost
    (folder / place).rename(tmp_path / "copy")
    for one in (sealer, MakingSealer(folder)):
        with pytest.raises(PlatformError) as refused:
            one.seal(ORGANISATION, FIELD, "y")
        assert refused.value.code is errors.KEYS_UNUSABLE
        assert refused.value.context["file"] == f"organisations/{ORGANISATION}/organisation/1.key"
        assert _refusal(one, sealed) is errors.KEYS_UNUSABLE
        assert f"organisations/{ORGANISATION}/organisation/1.key" in one.unusable()
    (tmp_path / "copy").rename(folder / place)
    assert sealer.open(ORGANISATION, FIELD, sealed) == "x"
    assert sealer.digest(ORGANISATION, "name", "x") == digest
    assert sealer.unusable() == []


@pytest.mark.parametrize("damage", ["cut short", "longer", "empty", "open to others", "a folder"])
def test_damaged_key_is_named_as_unusable_until_it_is_whole_again(folder: Path, sealer: Sealer, damage: str) -> None:
    """A key file that only is there opens nothing: whoever looks at the keys is told, before somebody needs them."""
    sealer.seal(ORGANISATION, FIELD, "x")
    name = f"organisations/{ORGANISATION}/organisation/1.key"
    key = folder / name
    whole = key.read_bytes()
    key.unlink()
    if damage == "a folder":
        key.mkdir()
    else:
        key.write_bytes({"cut short": whole[:7], "longer": whole + b"\n", "empty": b""}.get(damage, whole))
        key.chmod(0o644 if damage == "open to others" else 0o600)
    assert sealer.unusable() == [name]
    if damage == "a folder":
        key.rmdir()
    key.write_bytes(whole)
    key.chmod(0o600)
    assert sealer.unusable() == []


@pytest.mark.parametrize("step", ["make_folders", "write_new", "append"])
def test_full_disk_refuses_a_new_key_with_a_code_of_its_own(
    folder: Path, sealer: Sealer, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No fault of the platform's, and nothing that a caller mends: room is made by an operator, then it goes on."""

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(sealing, step, full)
        with pytest.raises(PlatformError) as refused:
            sealer.seal(ORGANISATION, FIELD, "x")
    assert refused.value.code is errors.NO_SPACE
    assert refused.value.code.status == 503
    assert "no space left" in refused.value.message
    assert sealer.open(ORGANISATION, FIELD, sealer.seal(ORGANISATION, FIELD, "x")) == "x"


def test_no_use_of_a_key_makes_one(folder: Path) -> None:
    """Sealing, comparing and looking leave the folder as it is, to the file; who has asked the record makes keys."""
    sealer = Sealer(folder)
    before = sorted(folder.rglob("*"))
    box = Sealed(key=f"organisation/{ORGANISATION}/1", box=bytes(40))
    for use in (
        lambda: sealer.seal(ORGANISATION, FIELD, "x"),
        lambda: sealer.seal(ORGANISATION, FIELD, "x", subject="guest-1"),
        lambda: sealer.digest(ORGANISATION, "name", "x"),
        lambda: sealer.open(ORGANISATION, FIELD, box),
    ):
        with pytest.raises(PlatformError) as refused:
            use()
        assert refused.value.code is errors.KEYS_UNUSABLE
        assert refused.value.context["file"].startswith(f"organisations/{ORGANISATION}/")
    assert (sealer.has_keys(ORGANISATION), sealer.unusable()) == ((False, False), [])
    assert sorted(folder.rglob("*")) == before
    sealer.make_keys(ORGANISATION)
    assert sealer.has_keys(ORGANISATION) == (True, True)
    assert sealer.open(ORGANISATION, FIELD, sealer.seal(ORGANISATION, FIELD, "y")) == "y"
    digest = sealer.digest(ORGANISATION, "name", "x")
    sealer.make_keys(ORGANISATION)
    assert sealer.digest(ORGANISATION, "name", "x") == digest


def test_note_of_made_keys_survives_a_line_that_was_cut_short(folder: Path, sealer: Sealer) -> None:
    """A crash within a line costs that line, which the next use of the key writes again."""
    sealer.seal(ORGANISATION, FIELD, "x")
    with (folder / "MADE").open("a") as file:
        file.write("organisations/half")
    other = MakingSealer(folder)
    other.seal(OTHER, FIELD, "x")
    (folder / "organisations" / OTHER / "organisation" / "1.key").unlink()
    assert MakingSealer(folder).unusable() == [f"organisations/{OTHER}/organisation/1.key"]


def test_digest_depends_on_organisation_purpose_and_text(folder: Path, sealer: Sealer) -> None:
    """Equal texts have equal digests within an organisation and a purpose, and nowhere else."""
    digest = sealer.digest(ORGANISATION, "name", "smith wedding")
    assert digest == MakingSealer(folder).digest(ORGANISATION, "name", "smith wedding")
    assert len(digest) == 64
    others = [
        sealer.digest(OTHER, "name", "smith wedding"),
        sealer.digest(ORGANISATION, "namesmith", " wedding"),
        sealer.digest(ORGANISATION, "name", "smith  wedding"),
    ]
    assert digest not in others


@given(st.text())
def test_normalised_name_is_normalised_already(text: str) -> None:
    """Normalising twice is normalising once, so that a stored digest stays findable."""
    assert normalised(normalised(text)) == normalised(text)


def test_normalised_names_ignore_case_width_and_blanks() -> None:
    """What a person takes for the same name is the same name."""
    assert normalised("  Straße\tFotos ") == normalised("STRASSE fotos") == normalised("ｓｔｒａßｅ fotos")


@pytest.mark.parametrize("name", ["1 (copy).key", "2.key.bak", "²", "9" * 190 + ".key", "07.key"])
def test_other_files_beside_a_key_are_left_alone(folder: Path, sealer: Sealer, name: str) -> None:
    """A copy that somebody made, or a name of any kind, is no generation of the key."""
    sealed = sealer.seal(ORGANISATION, FIELD, "weddings")
    lineage = folder / "organisations" / ORGANISATION / "organisation"
    (lineage / name).write_bytes(b"x")
    assert sealer.seal(ORGANISATION, FIELD, "weddings").key == sealed.key
    assert sealer.open(ORGANISATION, FIELD, sealed) == "weddings"
    assert (lineage / name).exists()


@pytest.mark.parametrize("name", ["organisations/{}/organisation/1.key", "MADE"])
@pytest.mark.timeout(60)
def test_pipe_in_place_of_a_key_file_is_refused_at_once(folder: Path, sealer: Sealer, name: str) -> None:
    """Nobody waits for ever for what will never be written into it."""
    sealed = sealer.seal(ORGANISATION, FIELD, "weddings")
    path = folder / name.format(ORGANISATION)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(PlatformError) as refused:
        MakingSealer(folder).unusable() if name == "MADE" else MakingSealer(folder).open(ORGANISATION, FIELD, sealed)
    assert refused.value.code is errors.KEYS_UNUSABLE
    assert "not a regular file" in refused.value.message


def test_list_of_keys_with_bytes_that_are_no_text_is_read_as_far_as_it_goes(folder: Path, sealer: Sealer) -> None:
    """A damaged line names no key of ours, and costs the others nothing."""
    sealed = sealer.seal(ORGANISATION, FIELD, "weddings")
    with (folder / "MADE").open("ab") as file:
        file.write(b"\xff\xfe \xb2\n" + b"organisations/x " + b"9" * 5000 + b"\n")
    assert MakingSealer(folder).unusable() == []
    assert MakingSealer(folder).seal(ORGANISATION, FIELD, "weddings").key == sealed.key


async def test_keys_on_a_disk_that_does_not_answer_are_not_said_to_be_missing(tmp_path: Path) -> None:
    """Whoever reads it looks at the disk, and restores nothing; the probe answers in its time, and costs one thread."""
    folder = tmp_path / "keys"
    prepare_keys_folder(folder)
    health = Health("gateway")
    add_key_checks(health, MakingSealer(folder))
    assert (await health.report()).status == "ready"
    before = threading.active_count()
    with hung_mount(folder) as mount:
        for _ in range(2):
            found = (await health.report()).checks
            assert {each.code for each in found} == {"keys-unreachable"}
            assert all("WEDSYNC_KEYS_DIR" in (each.hint or "") for each in found)
            assert all("recovery kit" not in (each.hint or "") for each in found)
        assert threading.active_count() <= before + 1
        mount.die()

        async def is_told() -> bool:
            found = (await health.report()).checks
            return {each.code for each in found} == {"keys-unreachable"} and "endpoint" in (found[0].reason or "")

        await eventually(is_told)


def test_exchanged_folders_of_two_organisations_are_told_and_nothing_is_sealed(folder: Path, sealer: Sealer) -> None:
    """What another's key seals would be lost once the folders are back: nothing is sealed, and all reads again then."""
    sealed = {each: sealer.seal(each, FIELD, each) for each in (ORGANISATION, OTHER)}
    digest = sealer.digest(ORGANISATION, "name", "x")
    sealer.digest(OTHER, "name", "x")
    _exchange(folder)
    for one in (sealer, MakingSealer(folder)):
        for use in (one.seal, one.digest):
            with pytest.raises(PlatformError) as refused:
                use(ORGANISATION, FIELD, "y")
            assert refused.value.code is errors.KEYS_UNUSABLE
        assert {f"organisations/{each}/organisation/1.key" for each in sealed} <= set(one.unusable())
        assert f"organisations/{ORGANISATION}/digest/1.key" in one.unusable()
        assert _refusal(one, sealed[ORGANISATION]) is errors.KEYS_UNUSABLE
    _exchange(folder)
    assert sealer.unusable() == []
    assert sealer.digest(ORGANISATION, "name", "x") == digest
    assert [sealer.open(each, FIELD, box) for each, box in sealed.items()] == [ORGANISATION, OTHER]


def test_key_that_an_older_build_made_is_known_once_it_has_opened_what_it_sealed(folder: Path, sealer: Sealer) -> None:
    """Before that nobody can tell whether it is the right one, and what is not known is not refused."""
    sealed = {each: sealer.seal(each, FIELD, each) for each in (ORGANISATION, OTHER)}
    lines = (folder / "MADE").read_text().splitlines()
    (folder / "MADE").write_text("".join(f"{line}\n" for line in lines if line.count(" ") == 1))
    older = MakingSealer(folder)
    older.seal(ORGANISATION, FIELD, "y")
    assert older.open(ORGANISATION, FIELD, sealed[ORGANISATION]) == ORGANISATION
    _exchange(folder)
    assert older.unusable() == [f"organisations/{ORGANISATION}/organisation/1.key"]
    # Even a key that was wrong when its check was noted is put right by what opens.
    (folder / "MADE").write_text("".join(f"{line}\n" for line in lines if line.count(" ") == 1))
    wrong = older.seal(ORGANISATION, FIELD, "z")
    assert MakingSealer(folder).open(ORGANISATION, FIELD, wrong) == "z"
    _exchange(folder)
    assert MakingSealer(folder).unusable() == [f"organisations/{ORGANISATION}/organisation/1.key"]
    assert older.open(ORGANISATION, FIELD, sealed[ORGANISATION]) == ORGANISATION
    assert MakingSealer(folder).unusable() == []


def test_another_organisations_next_key_is_not_taken_for_a_new_one(folder: Path, sealer: Sealer) -> None:
    """An organisation that was erased and began again has a key of a number that the other never had."""
    sealer.seal(ORGANISATION, FIELD, "x")
    sealer.destroy(ORGANISATION)
    sealer.seal(ORGANISATION, FIELD, "y")
    sealer.seal(OTHER, FIELD, "x")
    _exchange(folder)
    with pytest.raises(PlatformError) as refused:
        MakingSealer(folder).seal(OTHER, FIELD, "z")
    assert refused.value.code is errors.KEYS_UNUSABLE


def test_key_of_a_lost_list_seals_nothing_before_it_has_opened_what_it_sealed(folder: Path, sealer: Sealer) -> None:
    """Without `MADE` nobody would see that two organisations' folders were exchanged: old entries can tell."""
    sealed = {each: sealer.seal(each, FIELD, each) for each in (ORGANISATION, OTHER)}
    for each in sealed:
        sealer.digest(each, "name", "x")
    (folder / "MADE").write_bytes(b"")
    _exchange(folder)
    one = Sealer(folder)
    assert one.unusable() == [], "a key that was made a moment ago is about to be noted"
    _age(folder)
    assert one.unusable() == ["MADE"]
    assert one.has_keys(ORGANISATION) == (False, False), "so the record is asked, and the write refused"
    with pytest.raises(PlatformError, match="MADE") as refused:
        one.seal(ORGANISATION, FIELD, "y")
    assert refused.value.code is errors.KEYS_UNUSABLE
    assert len(one.digest(ORGANISATION, "name", "y")) == 64, "what only compares, a page's cursor say, goes on"
    assert _refusal(one, sealed[ORGANISATION]) is errors.KEYS_UNUSABLE
    assert (folder / "MADE").read_bytes() == b""
    _exchange(folder)
    assert [one.open(each, FIELD, box) for each, box in sealed.items()] == [ORGANISATION, OTHER]
    assert one.has_keys(ORGANISATION) == (True, True)
    assert one.open(OTHER, FIELD, one.seal(OTHER, FIELD, "z")) == "z"


def _age(folder: Path) -> None:
    for path in folder.rglob("*.key"):
        os.utime(path, (0, 0))


def _exchange(folder: Path) -> None:
    one, other, aside = (folder / "organisations" / each for each in (ORGANISATION, OTHER, "aside"))
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def test_key_of_who_died_before_its_line_is_no_line_that_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sealed with it yet: the list is whole, whoever writes to it next; its use gives it its line."""
    folder = tmp_path / "keys"
    prepare_keys_folder(folder)

    def dies(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as fault:
        fault.setattr(Sealer, "_note_made", dies)
        with pytest.raises(KeyboardInterrupt):
            Sealer(folder).make_keys("acme")
    assert len(list((folder / "organisations" / "acme").rglob("*.key"))) == 1
    Sealer(folder).make_keys("later")
    assert Sealer(folder).unnoted() == []
    Sealer(folder).make_keys("acme")
    assert Sealer(folder).has_keys("acme") == (True, True)


def test_older_copy_of_the_list_is_told_whatever_its_time_says(tmp_path: Path) -> None:
    """Put back as copies are put back, with the time that it had."""
    folder = tmp_path / "keys"
    prepare_keys_folder(folder)
    Sealer(folder).make_keys("first")
    older = (folder / "MADE").read_bytes()
    Sealer(folder).make_keys("acme")
    (folder / "MADE").write_bytes(older)
    os.utime(folder / "MADE", (2, 2))
    assert len(Sealer(folder).unnoted()) == 2


async def test_list_begun_anew_beside_exchanged_keys_lets_nobody_seal_and_names_them(folder: Path) -> None:
    """A file does not tell whose key it is; an entry of the record does, and those that it opens are noted by it."""
    sealer, third = MakingSealer(folder), "0199a0f2-1111-7000-8000-000000000003"
    whose = (ORGANISATION, OTHER, third)
    for each in whose:
        sealer.make_keys(each)
    boxes = {each: [(FIELD, sealer.seal(each, FIELD, each))] for each in whose}
    one, other = folder / "organisations" / ORGANISATION, folder / "organisations" / OTHER
    one.rename(folder / "aside")
    other.rename(one)
    (folder / "aside").rename(other)
    (folder / "MADE").unlink()
    begun = Sealer(folder)
    begun.note_found()
    assert begun.unnoted() == []
    for each in whose:
        with pytest.raises(PlatformError, match="does not name a key") as refused:
            begun.seal(each, FIELD, "x")
        assert refused.value.code is errors.KEYS_UNUSABLE

    async def names() -> list[str]:
        return [*whose, "policies-only"]

    async def entries(of: list[str]) -> dict[str, list[tuple[str, Sealed]]]:
        return {each: boxes[each] for each in of if each in boxes}

    tenants, telemetry = KeysOfTenants(begun, names, entries), Telemetry("gateway")
    wrong = [f"organisations/{each}" for each in (ORGANISATION, OTHER, "policies-only")]
    assert await tenants.look() == wrong
    assert begun.open(third, FIELD, begun.seal(third, FIELD, "x")) == "x"
    with pytest.raises(PlatformError, match="does not name a key"):
        begun.seal(ORGANISATION, FIELD, "x")
    add_key_figures(telemetry, begun, tenants)
    await telemetry.figures.refresh()
    assert telemetry.registry.get_sample_value("wedsync_sealing_keys_unusable") == 3
    one.rename(folder / "aside")
    other.rename(one)
    (folder / "aside").rename(other)
    assert await tenants.look() == ["organisations/policies-only"]
    assert begun.open(ORGANISATION, FIELD, begun.seal(ORGANISATION, FIELD, "x")) == "x"


async def test_keys_that_were_tried_are_tried_again_where_they_have_changed(folder: Path) -> None:
    """Two organisations' folders are exchanged while the process runs, and put back."""
    sealer, whose = MakingSealer(folder), (ORGANISATION, OTHER)
    for each in whose:
        sealer.make_keys(each)
    boxes = {each: [(FIELD, sealer.seal(each, FIELD, each))] for each in whose}
    one, other = (folder / "organisations" / each for each in whose)

    async def names() -> list[str]:
        return [*whose]

    async def entries(of: list[str]) -> dict[str, list[tuple[str, Sealed]]]:
        return {each: boxes[each] for each in of}

    tenants = KeysOfTenants(sealer, names, entries)
    for found in ([], [f"organisations/{each}" for each in whose], []):
        assert await tenants.look() == found
        one.rename(folder / "aside")
        other.rename(one)
        (folder / "aside").rename(other)


async def test_organisations_without_keys_are_all_named_however_many_they_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older copy of the folder knows none of them: those that this look does not try lack theirs all the same."""
    monkeypatch.setattr(key_checks, "TRIED_MAX", 2)
    whose, asked = [f"org-{number}" for number in range(5)], list[list[str]]()

    async def names() -> list[str]:
        return whose

    async def entries(of: list[str]) -> dict[str, list[tuple[str, Sealed]]]:
        asked.append(of)
        return {}

    assert await KeysOfTenants(MakingSealer(folder), names, entries).look() == [
        f"organisations/{each}" for each in whose
    ]
    assert asked == [whose[:2]]


async def test_keys_are_not_doubted_because_all_places_are_taken(folder: Path) -> None:
    """What users ask at that moment says nothing of a key; a record that does not answer does."""
    failure: list[PlatformError] = []

    async def names() -> list[str]:
        if failure:
            raise failure[0]
        return []

    async def entries(_of: list[str]) -> dict[str, list[tuple[str, Sealed]]]:
        return {}

    for has_looked, part, verdict in (
        (False, "gateway", DEGRADED),
        (True, "gateway", READY),
        (True, "postgres", DEGRADED),
    ):
        failure.clear()
        tenants, health = KeysOfTenants(MakingSealer(folder), names, entries), Health("gateway")
        add_keys_of_tenants(health, tenants)
        if has_looked:
            await tenants.look()
        failure.append(PlatformError(errors.UNAVAILABLE, "not now", part=part))
        assert (await health.report()).status == verdict, (has_looked, part)


async def test_list_that_is_gone_is_whole_again_once_the_record_was_looked_at(folder: Path) -> None:
    """Without a command, as elsewhere: also of the keys of digests, which open nothing."""
    sealer = MakingSealer(folder)
    sealer.make_keys(ORGANISATION)
    sealed = sealer.seal(ORGANISATION, FIELD, "x")
    (folder / "MADE").unlink()
    left = Sealer(folder)
    assert len(left.unnoted()) == 2

    async def names() -> list[str]:
        return [ORGANISATION]

    async def entries(of: list[str]) -> dict[str, list[tuple[str, Sealed]]]:
        return {each: [(FIELD, sealed)] for each in of}

    assert await KeysOfTenants(left, names, entries).look() == []
    assert (left.unnoted(), left.has_keys(ORGANISATION)) == ([], (True, True))


async def test_key_that_was_noted_and_opens_nothing_of_the_record_is_told(folder: Path) -> None:
    """A list that names the wrong key, as one did that was begun anew by an earlier build; each is tried once."""
    sealer, asked = MakingSealer(folder), list[list[str]]()
    sealer.make_keys(ORGANISATION)
    sealed = sealer.seal(ORGANISATION, FIELD, "x")

    async def names() -> list[str]:
        return [ORGANISATION]

    async def entries(of: list[str]) -> dict[str, list[tuple[str, Sealed]]]:
        asked.append(of)
        return {ORGANISATION: [(FIELD, sealed)]}

    assert await KeysOfTenants(sealer, names, entries).look() == []
    shutil.rmtree(folder / "organisations")
    (folder / "MADE").unlink()
    other = MakingSealer(folder)
    other.make_keys(ORGANISATION)
    tenants = KeysOfTenants(other, names, entries)
    assert await tenants.look() == [f"organisations/{ORGANISATION}"]
    sealed = other.seal(ORGANISATION, FIELD, "y")
    for _ in range(3):
        assert await tenants.look() == []
    assert len(asked) == 3


def test_key_that_changes_after_it_was_seen_to_be_well_is_looked_at_again(folder: Path) -> None:
    """What is well is not read at each look, but its file is asked for."""
    sealer = MakingSealer(folder)
    sealer.seal(ORGANISATION, FIELD, "x")
    assert (sealer.unusable(), sealer.unusable()) == ([], [])
    path = folder / "organisations" / ORGANISATION / "organisation" / "1.key"
    content, name = path.read_bytes(), str(path.relative_to(folder))
    for changed in (content[:-1], bytes(32)):
        path.write_bytes(changed)
        assert sealer.unusable() == [name]
    path.write_bytes(content)
    path.chmod(0o644)
    assert sealer.unusable() == [name]
    path.chmod(0o600)
    assert sealer.unusable() == []
    path.unlink()
    assert sealer.unusable() == [name]
