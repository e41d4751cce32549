"""Keys of data subjects: how somebody who is named is found without being known, and how their key stands.

A subject is called by a keyed digest of what they are called (`subject_id_of`), in the record, in the folder of keys
and in the repository (`domain_of`): who has not the organisation's digest key can neither tell who it is nor try names.
"""

import os
from enum import StrEnum

from chassis.key_errors import unreadable
from chassis.key_names import checked
from chassis.sealing import Sealer, normalised
from contracts.configuration import DATA_SUBJECT_DIGEST
from contracts.errors import DATA_SUBJECT_ERASED, PlatformError

_DOMAIN = "subject-"


class SubjectKey(StrEnum):
    """How the key of a data subject stands. `back`: it was destroyed, and is there from an older copy of the folder."""

    NONE = "none"
    THERE = "there"
    DESTROYED = "destroyed"
    BACK = "back"


def subject_id_of(sealer: Sealer, organisation: str, called: str) -> str:
    """The id of whoever is called so: 64 hex digits. Raises KEYS_UNUSABLE."""
    return sealer.digest(organisation, DATA_SUBJECT_DIGEST, normalised(called))


def domain_of(subject_id: str) -> str:
    """The key domain of the organisation's repository in which the subject's recovery points are."""
    return f"{_DOMAIN}{subject_id}"


def standing(sealer: Sealer, organisation: str, subject_id: str) -> SubjectKey:
    """How the subject's key stands. Raises KEYS_UNUSABLE and KEYS_UNREACHABLE."""
    sealer.check_folder()
    folder = sealer.folder / "organisations" / checked(organisation, "organisation") / "subjects"
    try:
        names = os.listdir(folder / checked(subject_id, "subject"))
    except FileNotFoundError:
        return SubjectKey.NONE
    except OSError as error:
        raise unreadable(error) from error
    is_destroyed = any(name.endswith(".destroyed") for name in names)
    is_there = any(name.endswith(".key") for name in names)
    if is_destroyed:
        return SubjectKey.BACK if is_there else SubjectKey.DESTROYED
    return SubjectKey.THERE if is_there else SubjectKey.NONE


def make_subject_key(sealer: Sealer, organisation: str, subject_id: str) -> None:
    """Have the subject's key, which is made once. Raises DATA_SUBJECT_ERASED, and as `Sealer.make_keys`."""
    if standing(sealer, organisation, subject_id) in (SubjectKey.DESTROYED, SubjectKey.BACK):
        raise PlatformError(DATA_SUBJECT_ERASED, "the data subject's key was destroyed", field="dataSubject")
    sealer.make_keys(organisation, subject=subject_id)
