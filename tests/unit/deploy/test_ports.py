"""The choice of loopback ports."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import PlatformError
from deploy.stack import ports
from deploy.stack.ports import FIRST, GRPC_OFFSET, LAST, Reserved, choose_ports, is_free


def test_ports_are_kept_where_they_are_free() -> None:
    """A second start finds the ports of the first."""
    first = choose_ports(["a", "b"], {}, is_free=lambda port: True)
    assert choose_ports(["a", "b"], first, is_free=lambda port: True) == first


def test_port_that_was_taken_is_chosen_anew() -> None:
    """Only the name whose port is another's gets a new one."""
    first = choose_ports(["a", "b", "c"], {}, is_free=lambda port: True)
    second = choose_ports(["a", "b", "c"], first, is_free=lambda port: port != first["b"])
    assert second["b"] != first["b"]
    assert {name: second[name] for name in "ac"} == {name: first[name] for name in "ac"}


@given(st.sets(st.integers(FIRST, FIRST + 40)), st.integers(1, 20))
def test_ports_are_distinct_free_and_within_the_range(taken: set[int], count: int) -> None:
    """Whatever is taken, all chosen ports are free, in the range, and no two are the same."""
    names = [str(number) for number in range(count)]
    chosen = choose_ports(names, {"0": FIRST + 3, "1": FIRST + 3}, is_free=lambda port: port not in taken)
    assert sorted(chosen) == sorted(names)
    assert len(set(chosen.values())) == count
    assert all(FIRST <= port < LAST and port not in taken for port in chosen.values())


def test_paired_port_needs_its_companion_to_be_free() -> None:
    """SeaweedFS's admin port is only of use where the port 10,000 above it is free as well."""
    taken_companions = {port + GRPC_OFFSET for port in range(FIRST, LAST) if port % 7}
    chosen = choose_ports(["admin"], {}, paired=["admin"], is_free=lambda port: port not in taken_companions)
    assert chosen["admin"] % 7 == 0


def test_choice_ends_with_an_error_when_no_port_is_free() -> None:
    """A machine without free ports gets a clear error and no endless search."""
    with pytest.raises(PlatformError, match="no loopback port"):
        choose_ports(["a"], {}, is_free=lambda port: False)


def test_port_with_a_listener_is_not_free() -> None:
    """What somebody listens on is taken; what nobody listens on is free."""
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_platforms_that_start_at_the_same_moment_choose_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one has chosen and does not use yet is nobody else's, until it ends; a start of its own finds it again."""
    monkeypatch.setattr("deploy.stack.ports.secrets.randbelow", lambda _: 700)
    names = ["a", "b"]
    with Reserved() as one, Reserved() as other:
        first = choose_ports(names, {}, paired=["b"], is_free=one.take)
        second = choose_ports(names, {}, paired=["b"], is_free=other.take)
        assert set(first.values()).isdisjoint(second.values())
        assert choose_ports(names, second, paired=["b"], is_free=one.take)["a"] != second["a"]
        assert choose_ports(names, first, paired=["b"], is_free=one.take) == first
    with Reserved() as later:
        assert later.take(first["a"])
