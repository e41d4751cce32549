"""A sealer for tests that begin with keys of nobody: it makes the key that it is asked for."""

from chassis.sealing import Sealer
from contracts.sealed import Sealed


class MakingSealer(Sealer):
    """Makes each key with its first use, as the gateway does for a write that it records."""

    def seal(self, organisation: str, field: str, text: str, *, subject: str | None = None) -> Sealed:
        """The same, with a key."""
        self._make(self._lineage(organisation, subject))
        return super().seal(organisation, field, text, subject=subject)

    def digest(self, organisation: str, purpose: str, text: str) -> str:
        """The same, with a key."""
        self._make(self._organisation_folder(organisation) / "digest")
        return super().digest(organisation, purpose, text)
