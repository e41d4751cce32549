"""When the certificates end that a process meets: of NATS and Postgres, and of the authorities in its settings."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from prometheus_client.core import GaugeMetricFamily, Metric
from psycopg.conninfo import conninfo_to_dict

from chassis.disk import Disk
from chassis.telemetry.instruments import Telemetry

_SECONDS = 3.0
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})


def add_certificate_figures(
    telemetry: Telemetry, *, dsn: str, nats_ca_file: Path | None, nats_expires: Callable[[], float | None]
) -> None:
    """Show them at each scrape. A server that is away, or not encrypted, has no sample."""
    options = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    authority = options.get("sslrootcert", "system")
    files = {"nats-ca": nats_ca_file, "postgres-ca": None if authority == "system" else Path(authority)}
    # Kept from scrape to scrape: one that hangs costs one thread, however often it is asked.
    disks = {name: Disk(path) for name, path in files.items() if path is not None}

    async def read() -> list[Metric]:
        family = GaugeMetricFamily(
            "wedsync_certificate_expires_timestamp_seconds",
            "When a certificate ends: of a server, or the last one of a file of authorities.",
            labels=("certificate",),
        )
        found = {name: await _of_file(disk) for name, disk in disks.items()}
        found["nats"] = nats_expires()
        if options.get("sslmode") in _ENCRYPTED:
            with contextlib.suppress(OSError, ValueError):
                found["postgres"] = await asyncio.to_thread(_of_postgres, options)
        for name, expires in found.items():
            if expires is not None:
                family.add_metric((name,), expires)
        return [family]

    telemetry.figures.add("certificates", read)


async def _of_file(disk: Disk) -> float | None:
    """When the last authority of a file ends: an old one may stand beside its successor."""
    try:
        held = x509.load_pem_x509_certificates(await disk.ask(disk.folder.read_bytes))
    except (OSError, ValueError):
        return None
    return max(each.not_valid_after_utc.timestamp() for each in held)


def _of_postgres(options: dict[str, str]) -> float:
    """Ask for TLS as a client does, and look at the certificate alone: nothing is said to who shows it."""
    place = (options.get("hostaddr") or options.get("host", "127.0.0.1"), int(options.get("port", "5432")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(place, _SECONDS) as line:
        line.sendall(_SSL_REQUEST)
        if line.recv(1) != b"S":
            raise ValueError("no tls")
        with context.wrap_socket(line, server_hostname=options.get("host")) as encrypted:
            shown = encrypted.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(shown or b"").not_valid_after_utc.timestamp()
