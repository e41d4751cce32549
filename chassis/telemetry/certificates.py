"""When the certificates end that a process meets: of NATS and Postgres, and of the authorities in its settings."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psycopg
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
    """Show them at each scrape: of each server of a connection string that names several.

    What should show one and cannot be read is told as such: a certificate without a figure would be watched by nobody.
    """
    options: dict[str, str] = {}
    with suppress(psycopg.Error):  # whoever connects with it refuses it, by its setting
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
        unreadable = GaugeMetricFamily(
            "wedsync_certificate_unreadable",
            "1 where a certificate cannot be read at this moment: its server or its disk does not show it.",
            labels=("certificate",),
        )
        found = {name: await _of_file(disk) for name, disk in disks.items()}
        if options.get("sslmode") in _ENCRYPTED:
            servers = _servers(options)
            ends = await asyncio.gather(*(asyncio.to_thread(_of_postgres, server) for server in servers))
            names = ["postgres"] if len(servers) == 1 else [f"postgres {server.name}" for server in servers]
            found |= dict(zip(names, ends, strict=True))
        for name, expires in found.items():
            unreadable.add_metric((name,), 1 if expires is None else 0)
        found["nats"] = nats_expires()  # one that is away is told by the connection's own check
        for name, expires in found.items():
            if expires is not None:
                family.add_metric((name,), expires)
        return [family, unreadable]

    telemetry.figures.add("certificates", read)


async def _of_file(disk: Disk) -> float | None:
    """When the last authority of a file ends: an old one may stand beside its successor."""
    try:
        held = x509.load_pem_x509_certificates(await disk.ask(disk.folder.read_bytes))
    except (OSError, ValueError):
        return None
    return max(each.not_valid_after_utc.timestamp() for each in held)


class _Server(NamedTuple):
    """A server of Postgres, as the connection string names it, and the address to ask it at."""

    host: str
    address: str
    port: int

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"


def _servers(options: dict[str, str]) -> list[_Server]:
    """Those that a connection is tried with (libpq: lists of one length, or one port for all); no local sockets."""
    hosts = options.get("host", "").split(",")
    addresses = options.get("hostaddr", "").split(",")
    ports = options.get("port", "").split(",")

    def at(values: list[str], place: int) -> str:
        return values[place] if place < len(values) else values[0] if len(values) == 1 else ""

    found = []
    for place in range(max(len(hosts), len(addresses))):
        host = at(hosts, place)
        address = at(addresses, place) or host or "127.0.0.1"
        if not address.startswith(("/", "@")):
            found.append(_Server(host or address, address, int(at(ports, place) or "5432")))
    return list(dict.fromkeys(found))


def _of_postgres(server: _Server) -> float | None:
    """Ask for TLS as a client does, and look at the certificate alone: nothing is said to who shows it.

    None where it shows none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((server.address, server.port), _SECONDS) as line:
            line.sendall(_SSL_REQUEST)
            if line.recv(1) != b"S":
                return None
            with context.wrap_socket(line, server_hostname=server.host) as encrypted:
                shown = encrypted.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown or b"").not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return None
