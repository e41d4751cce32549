"""Processes are named by number and start."""

import os
import signal
import subprocess

import msgspec

from deploy.stack.process_identity import ProcessIdentity


def test_own_process_is_alive() -> None:
    """A running process is found, and is itself."""
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    assert own.is_alive()


def test_process_whose_number_was_given_to_another_is_not_alive() -> None:
    """Same number, other start: another process. It gets no signal either."""
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    earlier = msgspec.structs.replace(own, started=own.started - 1)
    assert not earlier.is_alive()
    assert not earlier.send(signal.SIGKILL)


def test_process_of_another_boot_is_not_alive() -> None:
    """After a restart of the machine numbers and starts may meet again; the boot tells them apart."""
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    assert not msgspec.structs.replace(own, boot="another").is_alive()


def test_zombie_is_not_alive() -> None:
    """A process that has ended and was not awaited yet does no more work."""
    with subprocess.Popen(["sleep", "600"]) as child:
        identity = ProcessIdentity.of(child.pid)
        assert identity is not None
        assert identity.send(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not identity.is_alive()
        assert ProcessIdentity.of(child.pid) is None
    assert not identity.send(signal.SIGTERM)
