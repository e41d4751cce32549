"""The embedded identity provider, judged by the gateway's own verifier."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.errors import UNAUTHENTICATED, PlatformError
from deploy.stack.identity_provider import AUDIENCE, ISSUER, IdentityProvider, install_identity_provider
from deploy.stack.layout import Layout
from gateway.auth.jwks import KeySet
from gateway.auth.rights import Right
from gateway.auth.tokens import TokenRules, TokenVerifier


class _StoppedClock:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


async def _verifier(layout: Layout, ahead: timedelta = timedelta()) -> TokenVerifier:
    keys = KeySet(file=layout.jwks_file)
    await keys.refresh()
    rules = TokenRules(issuer=ISSUER, audience=AUDIENCE)
    return TokenVerifier(keys, rules, _StoppedClock(datetime.now(UTC) + ahead))  # noqa: TID251  # a stopped clock


async def test_token_opens_the_gateway(tmp_path: Path) -> None:
    """What `token` signs, the gateway accepts, with the roles and the organisation that were asked for."""
    layout = Layout.create(tmp_path / "home")
    token = install_identity_provider(layout).token(organisation="org-1", roles=["viewer", "auditor"], subject="me")
    principal = (await _verifier(layout)).verify(token)
    assert principal.actor == "user:me"
    assert principal.organisation == "org-1"
    assert principal.may(Right.READ)
    assert not principal.may(Right.CONFIGURE)
    assert principal.assurance == "aal1"
    assert principal.factors == ("password",)


async def test_token_with_a_second_factor_says_so(tmp_path: Path) -> None:
    """A token for what needs a second factor carries aal2 and the method."""
    layout = Layout.create(tmp_path / "home")
    provider = install_identity_provider(layout)
    principal = (await _verifier(layout)).verify(
        provider.token(organisation="org-1", roles=["owner"], second_factor=True)
    )
    assert principal.assurance == "aal2"
    assert principal.factors == ("password", "totp")


async def test_token_ends(tmp_path: Path) -> None:
    """A token is refused once its minutes are over."""
    layout = Layout.create(tmp_path / "home")
    token = install_identity_provider(layout).token(organisation="org-1", roles=["owner"], lifetime_seconds=60)
    (await _verifier(layout, timedelta(seconds=50))).verify(token)
    with pytest.raises(PlatformError) as refusal:
        (await _verifier(layout, timedelta(seconds=70))).verify(token)
    assert refusal.value.code is UNAUTHENTICATED


async def test_token_of_another_home_is_refused(tmp_path: Path) -> None:
    """Every home has a key of its own."""
    here, there = Layout.create(tmp_path / "here"), Layout.create(tmp_path / "there")
    install_identity_provider(here)
    token = install_identity_provider(there).token(organisation="org-1", roles=["owner"])
    with pytest.raises(PlatformError) as refusal:
        (await _verifier(here)).verify(token)
    assert refusal.value.code is UNAUTHENTICATED


def test_key_is_made_once_and_kept_to_the_owner(tmp_path: Path) -> None:
    """A second start signs with the key of the first, whose file nobody else may read."""
    layout = Layout.create(tmp_path / "home")
    first = install_identity_provider(layout).key_id
    assert install_identity_provider(layout).key_id == first == IdentityProvider.of(layout).key_id
    assert stat.S_IMODE(layout.identity_key.stat().st_mode) == 0o600
    assert b"PRIVATE" not in layout.jwks_file.read_bytes()
    assert b'"d"' not in layout.jwks_file.read_bytes()


def test_missing_key_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    """Asking for a token before the first start says what to do."""
    with pytest.raises(PlatformError, match="cannot be read") as refusal:
        IdentityProvider.of(Layout.create(tmp_path / "home"))
    assert "wedsync-backup up" in refusal.value.hint
