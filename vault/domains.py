"""Key domains of an organisation's repository: what is to be erased by itself one day has a key of its own."""

from pathlib import Path

from repository.errors import RepositoryError
from repository.keys.key_file import KeyFile
from repository.opened import key_change
from repository.opened.repository import Repository
from vault.key_files import name_of


def require_domain(repository: Repository, keys_dir: Path, organisation: str, domain: str) -> None:
    """Have a domain's key, on every tier that answers. Raises `UnknownKey` where it was destroyed, or why none has it.

    To be called by one of a process at a time. Two processes that make it at once make two keys of one name, both of
    which are used, and erased, as the domain's.
    """
    if any(keys.domain == domain for keys in repository.keys.all()):
        repository.keys.active(domain)
        return
    stored = key_change.add_generation(repository, KeyFile.load(keys_dir / name_of(organisation)), domain)
    failed: list[RepositoryError] = [error for error in stored.values() if error is not None]
    if failed and len(failed) == len(stored):
        raise failed[0]
