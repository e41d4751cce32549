"""The kinds of machines: any two values of any two properties occur together in one of them."""

from dataclasses import dataclass, fields
from itertools import combinations

# Six rows are enough for all pairs of up to ten properties of two values each: one row of noughts, and five in which
# each property is one in three rows of its own choice. Two such choices always share a row, and each has one the other
# lacks.
_ROWS = ("first", "second", "third", "fourth", "fifth")
_CHOICES = list(combinations(range(len(_ROWS)), 3))


@dataclass(frozen=True)
class Kind:
    """One machine. The defaults are the first kind: root with umask 077, as the fault was once found."""

    name: str
    ordinary_user: bool = False
    usual_umask: bool = False
    odd_path: bool = False
    no_home: bool = False
    terminal: bool = False
    second_platform: bool = False
    dead_proxy: bool = False
    bad_places: bool = False  # /tmp runs no programs, /var/cache takes no files
    no_cache: bool = False  # the installer has nothing in store
    nameless: bool = False  # the list of users does not know the ordinary user

    @property
    def umask(self) -> int:
        """The umask of the commands."""
        return 0o022 if self.usual_umask else 0o077

    def words(self) -> str:
        """What is special about it."""
        special = [name.replace("_", " ") for name in PROPERTIES if getattr(self, name)]
        return ", ".join(special) or "root, umask 077"


PROPERTIES = tuple(field.name for field in fields(Kind) if field.name != "name")
KINDS = (
    Kind("plain"),
    *(
        Kind(row, **{name: number in _CHOICES[choice] for choice, name in enumerate(PROPERTIES)})
        for number, row in enumerate(_ROWS)
    ),
)
