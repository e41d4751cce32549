"""The kinds of fresh machines of `tests.fresh_machine`."""

from itertools import combinations, product

from tests.fresh_machine.kinds import KINDS, PROPERTIES


def test_any_two_values_of_any_two_properties_occur_together() -> None:
    """Most faults of a fresh machine are of one property or of two at once; six machines show all of these."""
    for first, second in combinations(PROPERTIES, 2):
        together = {(getattr(kind, first), getattr(kind, second)) for kind in KINDS}
        assert together == set(product((False, True), repeat=2)), (first, second)


def test_first_kind_is_the_one_that_failed() -> None:
    """Root, umask 077, and nothing that an earlier run has left; all tests run there, too."""
    assert not any(getattr(KINDS[0], name) for name in PROPERTIES)
    assert KINDS[0].umask == 0o077
