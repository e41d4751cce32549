"""The sockets that the S3 servers put into the system's temporary folder, by the number of the port alone."""

import os
from pathlib import Path

import pytest

from deploy.stack import nats, postgres, s3, services
from deploy.stack.layout import Layout
from deploy.stack.platform import prepare
from deploy.stack.ports import GRPC_OFFSET
from deploy.stack.s3_regions import REGIONS


@pytest.fixture
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the system's."""
    folder = tmp_path / "sockets"
    folder.mkdir()
    monkeypatch.setattr(s3, "_SOCKETS", folder)
    return folder


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A home with ports."""
    layout = Layout.create(tmp_path / "home")
    names = [postgres.NAME, *nats.PORT_NAMES, *services.port_names(), *s3.port_names()]
    layout.remembered.ports = {name: 3_000 + number for number, name in enumerate(names)}
    return layout


def test_stopped_platform_leaves_none_of_its_own_and_touches_no_other(layout: Layout, sockets: Path) -> None:
    """What lies there for another port is somebody else's."""
    region = REGIONS[0]
    admin = layout.port(region.port_name("admin")) + GRPC_OFFSET
    own = [
        sockets / f"seaweedfs-admin-grpc-{admin}.sock",
        sockets / f"seaweedfs-filer-grpc-{layout.port(region.port_name('filer.grpc'))}.sock",
    ]
    other = sockets / "seaweedfs-filer-grpc-19999.sock"
    for path in (*own, other):
        path.touch()
    s3.remove_sockets(layout)
    assert list(sockets.iterdir()) == [other]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_port_is_not_taken_while_another_user_s_socket_blocks_it(layout: Layout, sockets: Path) -> None:
    """A server could not replace that socket, and would not start; what is one's own it replaces."""
    name = REGIONS[0].port_name("filer.grpc")
    port = layout.port(name)
    blocking = sockets / f"seaweedfs-filer-grpc-{port}.sock"
    blocking.touch()
    assert not s3.is_blocked(port)
    os.chown(blocking, 54_321, 54_321)
    assert s3.is_blocked(port)
    prepare(layout)
    assert layout.port(name) != port
    s3.remove_sockets(layout)
    assert blocking.exists()
