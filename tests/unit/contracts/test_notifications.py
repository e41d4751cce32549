"""Addresses of receivers: which are of the public internet, and what is wrong with one as it is written."""

import pytest

from contracts.notifications import ChannelKind, address_objections, is_public


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        *((each, False) for each in ("127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.0.1")),
        *((each, False) for each in ("169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255")),
        *((each, False) for each in ("::", "::1", "fe80::1%eth0", "fc00::1")),
        *((each, False) for each in ("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::", "ff02::1")),
    ],
)
def test_address_of_a_closed_network_is_not_public(address: str, expected: bool) -> None:
    """In whatever form it is written: also one of IPv4 within one of IPv6."""
    assert is_public(address) is expected


@pytest.mark.parametrize(
    ("url", "is_right"),
    [
        ("https://alarms.example.com:8443/hooks?team=1", True),
        ("https://93.184.216.34/", True),
        *((each, False) for each in ("ftp://example.com/", "example.com/hook", "https:///hook", "https://a b.com/")),
        *((each, False) for each in ("https://u@example.com/", "https://example.com/#a", "https://example.com:x/", "")),
        *((each, False) for each in ("https://exämple.com/", "https://example.com\\@10.0.0.1/", "https://[::1/")),
        *((each, False) for each in ("http://example.com/", "https://localhost/", "https://10.0.0.1/")),
        *((each, False) for each in ("https://[::1]/", "https://2130706433/", "https://0x7f.1/", "https://127.1/")),
    ],
)
def test_address_that_nobody_may_be_sent_to_is_refused_as_it_is_written(url: str, is_right: bool) -> None:
    """Numbers that a resolver would take for an address are refused as well."""
    assert (list(address_objections(ChannelKind.WEBHOOK, url, private=False)) == []) is is_right


def test_service_has_its_address_among_the_secrets() -> None:
    """And none beside."""
    assert list(address_objections(ChannelKind.SERVICE, None)) == []
    assert list(address_objections(ChannelKind.SERVICE, "https://example.com/")) != []
