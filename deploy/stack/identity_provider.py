"""The embedded identity provider: one ES256 key, a JWKS file for the gateway, and tokens shaped as Supabase's.

For the platform on one machine and for tests. In production the gateway is pointed at the real provider's
JWKS (WEDSYNC_JWKS_URL), and this key signs nothing.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from chassis.clock import Clock, SystemClock
from chassis.ids import new_id
from chassis.key_files import read_regular
from contracts import errors
from contracts.errors import PlatformError
from deploy.misread import misread
from deploy.stack.begun import IDENTITY
from deploy.stack.files import write_atomically
from deploy.stack.layout import Layout

ALGORITHM = "ES256"
ISSUER = "urn:wedsync-backup:embedded"
AUDIENCE = "authenticated"
_NEVER_MADE = "Start the platform once with wedsync-backup up, which makes it."
_LOST = (
    f"Put the copy of {IDENTITY} back. Without one: wedsync-backup down, move what lies there aside, then "
    f"wedsync-backup up --begin-anew {IDENTITY}; tokens that were given before are refused then."
)
ROLES = ("viewer", "operator", "owner", "auditor")


class IdentityProvider:
    """Signs tokens with a home's own key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, *, clock: Clock | None = None) -> None:
        self._key = key
        self._clock = clock or SystemClock()

    @classmethod
    def of(cls, layout: Layout) -> "IdentityProvider":
        """The provider of a home. Raises HOME_UNUSABLE where its key is missing or cannot be read."""
        try:
            return cls(signing_key(read_regular(layout.identity_key)))
        except (OSError, ValueError) as error:
            what = misread(error) if isinstance(error, OSError) else str(error)
            raise PlatformError(
                errors.HOME_UNUSABLE,
                f"the identity provider's key {layout.identity_key} cannot be read: {what}",
                hint=_NEVER_MADE if IDENTITY not in layout.remembered.begun else _LOST,
            ) from error

    def jwks(self) -> bytes:
        """The public key as a JWKS document (RFC 7517)."""
        return msgspec.json.encode({"keys": [{**self._public(), "kid": self.key_id, "use": "sig", "alg": ALGORITHM}]})

    @property
    def key_id(self) -> str:
        """The thumbprint of the public key (RFC 7638)."""
        canonical = msgspec.json.encode(dict(sorted(self._public().items())))
        return _base64url(hashlib.sha256(canonical).digest())

    def token(
        self,
        *,
        organisation: str,
        roles: Sequence[str],
        subject: str | None = None,
        lifetime_seconds: int = 3600,
        second_factor: bool = False,
        issuer: str = ISSUER,
        audience: str = AUDIENCE,
    ) -> str:
        """A signed token. `subject` defaults to a fresh id; `second_factor` adds a TOTP sign-in of just now (aal2)."""
        import jwt

        now = self._clock.now()
        at = int(now.timestamp())
        methods = [{"method": "password", "timestamp": at}]
        if second_factor:
            methods.append({"method": "totp", "timestamp": at})
        claims: dict[str, Any] = {
            "iss": issuer,
            "aud": audience,
            "sub": subject or new_id(),
            "iat": at,
            "exp": int((now + timedelta(seconds=lifetime_seconds)).timestamp()),
            "jti": new_id(),
            "session_id": new_id(),
            "role": "authenticated",
            "aal": "aal2" if second_factor else "aal1",
            "amr": methods,
            "is_anonymous": False,
            "app_metadata": {"organisation_id": organisation, "backup_roles": list(roles)},
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.key_id})

    def _public(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": _base64url(numbers.x.to_bytes(32, "big")),
            "y": _base64url(numbers.y.to_bytes(32, "big")),
        }


def signing_key(content: bytes) -> ec.EllipticCurvePrivateKey:
    """The private key that a file's bytes hold. Raises ValueError, in words."""
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("it is no private key, or not the whole of one") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("it holds another kind of key")
    return key


def install_identity_provider(layout: Layout) -> IdentityProvider:
    """Make the key at the first start, and write the JWKS file that the gateway reads."""
    if not layout.identity_key.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        layout.make_key(layout.identity_key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    provider = IdentityProvider.of(layout)
    write_atomically(layout.jwks_file, provider.jwks())
    return provider


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
