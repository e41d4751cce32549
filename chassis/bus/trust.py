"""Who is believed to be NATS: TLS by `tls://`, and the authorities that sign for the server.

Promise: with `tls://` nothing is said to a server before its certificate was verified, its name included. The client
library would speak in the clear to one that does not ask for TLS, be it NATS without it or somebody in between.
"""

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nats.errors

from chassis.bus.nats_client import QuickClient
from contracts.errors import INVALID_SETTING, PlatformError

CA_VARIABLE = "WEDSYNC_NATS_CA_FILE"
URL_VARIABLE = "WEDSYNC_NATS_URL"
_TLS = "tls://"


class NotEncrypted(nats.errors.Error):
    """The server offers no TLS where the address asks for it."""

    def __str__(self) -> str:
        """For the log."""
        return "the server offers no tls"


class TrustingClient(QuickClient):
    """The client, which ends a connection that was to be encrypted and is not."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # as the base has it
        server = self._current_server
        if initial_connection and server is not None and server.uri.scheme == "tls" and not info.get("tls_required"):
            raise NotEncrypted
        await super()._process_info(info, initial_connection)

    @property
    def certificate_expires(self) -> float | None:
        """When the server's certificate ends, in seconds since 1970; None without TLS or connection."""
        writer = getattr(self._transport, "_io_writer", None)
        found = None if writer is None else writer.get_extra_info("peercert")
        return ssl.cert_time_to_seconds(found["notAfter"]) if found else None


def context_of(servers: Sequence[str], ca_file: Path | None) -> ssl.SSLContext | None:
    """How servers are verified: by a file of authorities, else by the system's; None where nothing is encrypted.

    Raises INVALID_SETTING where the addresses contradict each other or the file, or the file cannot be used.
    """
    if not servers or not all(map(_is_address, servers)):
        raise PlatformError(
            INVALID_SETTING,
            f"{URL_VARIABLE} does not name servers",
            field=URL_VARIABLE,
            hint=f"Set {URL_VARIABLE} to nats://HOST:PORT or tls://HOST:PORT, without options; several with commas.",
        )
    encrypted = [server.startswith(_TLS) for server in servers]
    if any(encrypted) and not all(encrypted):
        raise PlatformError(
            INVALID_SETTING,
            "some addresses of nats are encrypted, and some are not",
            field=URL_VARIABLE,
            hint=f"Begin every address in {URL_VARIABLE} with tls://.",
        )
    if not all(encrypted):
        if ca_file is not None:
            raise PlatformError(
                INVALID_SETTING,
                "there is a file of authorities for nats, and no address is encrypted",
                field=URL_VARIABLE,
                hint=f"Begin every address in {URL_VARIABLE} with tls://, or leave {CA_VARIABLE} out.",
            )
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise PlatformError(
            INVALID_SETTING,
            "the file of authorities for nats cannot be read or holds no certificate",
            field=CA_VARIABLE,
            hint=f"Set {CA_VARIABLE} to a PEM file with the certificate of the authority that signs for NATS.",
        ) from error


def _is_address(server: str) -> bool:
    try:
        parts = urlsplit(server if "://" in server else f"nats://{server}")
        # Anything behind the port would be an option that binds nothing; web sockets are not built in.
        is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment
        return parts.scheme in ("nats", "tls") and bool(parts.hostname) and parts.port != 0 and is_bare
    except ValueError:
        return False


def distrust(error: Exception) -> PlatformError | None:
    """What an operator is told of a server that was not believed; None where that is not what is wrong."""
    if isinstance(error, NotEncrypted):
        return PlatformError(
            INVALID_SETTING,
            "nats offers no tls, and its address asks for it",
            field=URL_VARIABLE,
            hint="Switch TLS on at the server. Where it is on, somebody stands between: nothing was said to them.",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return PlatformError(
            INVALID_SETTING,
            f"the certificate of nats is not believed: {error.verify_message.rstrip('.')}",
            field=CA_VARIABLE,
            hint=f"{CA_VARIABLE} has to hold the authority that signed it, and the address to be a name in it.",
        )
    if isinstance(error, ssl.SSLError):
        return PlatformError(
            INVALID_SETTING,
            f"the tls handshake with nats failed: {(error.reason or 'no reason was given').lower().replace('_', ' ')}",
            field=URL_VARIABLE,
            hint="Look at the server's log; client certificates are not supported: identities are nkeys.",
        )
    return None
