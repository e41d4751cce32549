"""Who is asking: bearer tokens verified against the identity provider's keys.

Promise: the algorithm follows from the key, never from the token, so that `none` and a public key used as an HMAC
secret find no way in; issuer, audience and lifetime are checked always; rights come from `app_metadata` alone, since
people can edit `user_metadata`. A verified token is remembered by its hash until it ends, or until the keys change.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import jwt
import msgspec

from chassis.clock import Clock
from contracts import errors
from contracts.errors import PlatformError
from contracts.identifiers import ORGANISATION, SUBJECT
from gateway.auth.jwks import ALGORITHMS, KeySet, SigningKey
from gateway.auth.principal import Principal
from gateway.auth.rights import Role

REMEMBERED_MAX = 20_000
SECOND_FACTORS = frozenset({"totp", "webauthn"})
"""Methods of `amr`, beside all that begin with `mfa/`. Not `otp`: so a first sign-in by e-mail is called."""
TOKEN_LENGTH_MAX = 16 * 1024
SECONDS_MAX = 1 << 33
"""No time of a factor is later: Unix seconds that every platform's calendar has."""


class TokenRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a token must say. `leeway_seconds`: how far the clocks may differ.

    The two paths name the claims, dot by dot, that carry the organisation and the roles.
    """

    issuer: str
    audience: str
    organisation_path: str = "app_metadata.organisation_id"
    roles_path: str = "app_metadata.backup_roles"
    leeway_seconds: float = 5.0


class TokenVerifier:
    """Turns bearer tokens into principals."""

    def __init__(self, keys: KeySet, rules: TokenRules, clock: Clock) -> None:
        self._keys = keys
        self._rules = rules
        self._clock = clock
        self._remembered: OrderedDict[bytes, Principal] = OrderedDict()
        keys.when_changed(self._remembered.clear)

    def verify(self, token: str) -> Principal:
        """The person that a token speaks for.

        Raises UNAUTHENTICATED, which never says more than why, and IDENTITY_PROVIDER_UNAVAILABLE. One judgement costs
        one signature of a key of the provider's at most, whatever was sent.
        """
        self._keys.refuse_if_stale()
        if len(token) > TOKEN_LENGTH_MAX:
            raise refused("the token is too long")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        now = self._clock.now().timestamp()
        known = self._remembered.get(digest)
        if known is not None:
            if now < known.expires_at:
                self._remembered.move_to_end(digest)
                return known
            del self._remembered[digest]
        claims, key = self._claims(token)
        try:
            principal = self._principal(claims, key)
        except OverflowError as error:
            raise refused("the token is not valid") from error
        if now >= principal.expires_at + self._rules.leeway_seconds:
            raise refused("the token has expired")
        self._remembered[digest] = principal
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        return principal

    def confirm(self, principal: Principal) -> Principal:
        """Somebody whose token was verified before, if the key that had signed it is still the provider's.

        Raises as `verify` does.
        """
        self._keys.refuse_if_stale()
        if not self._keys.has(principal.signed_by):
            raise refused("the token's key was withdrawn")
        return principal

    def _claims(self, token: str) -> tuple[Mapping[str, Any], SigningKey]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise refused("the token cannot be read") from error
        if header.get("alg") not in ALGORITHMS:
            raise refused("the token's algorithm is not accepted")
        if header.get("crit"):
            raise refused("the token asks for an extension that is not known")
        key_id = header.get("kid")
        key = self._keys.find(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise refused("the token's key is not known")
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                issuer=self._rules.issuer,
                audience=self._rules.audience,
                leeway=self._rules.leeway_seconds,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise refused("the token has expired") from error
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError) as error:
            raise refused("the token is not valid") from error
        return claims, key

    def _principal(self, claims: Mapping[str, Any], key: SigningKey) -> Principal:
        if claims.get("is_anonymous"):
            raise refused("anonymous sign-ins are not accepted")
        if claims.get("role", "authenticated") != "authenticated":
            raise refused("the token is not a person's")
        if claims.get("client_id"):
            # A token that a third-party client was given on a person's behalf: it carries the person's claims, but
            # the person never agreed to backups and restores.
            raise refused("tokens of third-party clients are not accepted")
        organisation = _at(claims, self._rules.organisation_path)
        if not isinstance(organisation, str) or not ORGANISATION.fullmatch(organisation):
            raise refused("the token names no organisation")
        subject = claims["sub"]
        if not isinstance(subject, str) or not SUBJECT.fullmatch(subject):
            raise refused("the token's subject is not usable")
        roles = _at(claims, self._rules.roles_path)
        known = {role.value for role in Role}
        return Principal(
            actor=f"user:{subject}",
            organisation=organisation,
            roles=frozenset(Role(r) for r in roles if isinstance(r, str) and r in known)
            if isinstance(roles, list)
            else frozenset(),
            assurance="aal2" if claims.get("aal") == "aal2" else "aal1",
            factors=_factors(claims.get("amr")),
            factor_at=_factor_at(claims.get("amr")),
            second_factor_at=_factor_at(claims.get("amr"), _is_second),
            token_id=_short(claims.get("jti")) or _short(claims.get("session_id")),
            expires_at=float(claims["exp"]),
            signed_by=key.thumbprint,
        )


def refused(why: str) -> PlatformError:
    """The error of every failed authentication; all of them look alike but for the reason."""
    return PlatformError(errors.UNAUTHENTICATED, why)


def bearer_of(header: str | None) -> str:
    """The token of an Authorization header. Raises UNAUTHENTICATED where there is none."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise refused("there is no bearer token")
    return token.strip()


def _at(claims: Mapping[str, Any], path: str) -> object:
    value: object = claims
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _factors(amr: object) -> tuple[str, ...]:
    """The sign-in's methods: a list of {method, timestamp}, or of plain strings where a hook wrote it."""
    methods = (
        (entry.get("method") if isinstance(entry, dict) else entry for entry in amr) if isinstance(amr, list) else ()
    )
    return tuple(method for method in methods if isinstance(method, str) and len(method) <= 64)[:8]


def _factor_at(amr: object, counts: Callable[[object], bool] = lambda _: True) -> datetime | None:
    """When the latest of the methods that count was used; None where there is none, or the provider does not say."""
    entries = [entry for entry in amr if isinstance(entry, dict)] if isinstance(amr, list) else []
    times = [entry.get("timestamp") for entry in entries if counts(entry.get("method"))]
    known = [time for time in times if isinstance(time, int) and 0 <= time < SECONDS_MAX]
    return datetime.fromtimestamp(max(known), UTC) if known else None


def _is_second(method: object) -> bool:
    """Whether it is a second factor. A password that was typed anew, or a link in a message, is none."""
    return isinstance(method, str) and (method in SECOND_FACTORS or method.startswith("mfa/"))


def _short(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= 128 else None
