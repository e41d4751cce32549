"""Postgres's programs as this process runs them: what they are told, what they give, and how they ended.

Promise: a program ends when this process does, at the latest by its next word: its input ends, or nobody takes its
output. What it complains of is kept in memory, so that it never waits for somebody to hear it.
"""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from typing import IO, Final

from repository.errors import AccessDenied
from sources.postgres.database import Database

PIECE: Final = 1 << 20
_COMPLAINTS_MAX: Final = 1 << 20
_STATE: Final = re.compile(r": +(?=[A-Z]*[0-9])([0-9A-Z]{5}): (.*)")
_VALUE: Final = re.compile(r'(: ?)".*"')


class Complaint(Exception):
    """How a program ended that did not do what it was to do.

    `state`: the SQLSTATE of its first error, where it told one. `said`: its first words, without values of rows.
    `is_cut_off`: whether the server is not there any more, or never was.
    """

    def __init__(self, code: int, text: str) -> None:
        lines = [line for line in text.splitlines() if line.strip()]
        found = _STATE.search(text)
        self.state = found[1] if found else ""
        self.lines = lines
        self.said = worded(found[2] if found else next((line for line in lines), f"it ended with {code}"))
        self.is_cut_off = code == 2 or code < 0
        super().__init__(self.said)


def worded(line: str) -> str:
    """A complaint's line without what a row may hold, and not longer than a line."""
    return _VALUE.sub(r"\1…", line.partition("DETAIL:")[0].strip())[:300]


class Running:
    """A program that runs. `output` and `input` are its pipes, where it has them."""

    def __init__(
        self,
        database: Database,
        program: str,
        *words: str,
        connects: bool = True,
        with_input: bool = False,
        inherited: Sequence[int] = (),
    ) -> None:
        path = database.program(program)
        connecting = ["--no-password", "-d", database.connection] if connects else []
        self._errors = os.memfd_create("complaints")
        descriptors = [*inherited]
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "PGCLIENTENCODING": "UTF8",
            "PGAPPNAME": "wedsync-backup",
            **({"HOME": home} if (home := os.environ.get("HOME")) else {}),
        }
        secret = _password_file(database) if connects else None
        if secret is not None:
            descriptors.append(secret)
            environment["PGPASSFILE"] = path_of(secret)
        try:
            # A session of its own: whoever interrupts this process interrupts it alone, and it decides.
            self._process = subprocess.Popen(
                [path, *connecting, *words],
                stdin=subprocess.PIPE if with_input else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                pass_fds=descriptors,
                start_new_session=True,
                bufsize=0,
            )
        except BaseException:
            os.close(self._errors)
            raise
        finally:
            if secret is not None:
                os.close(secret)
        self.input: IO[bytes] | None = self._process.stdin
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        self.output: IO[bytes] = self._process.stdout

    def wait(self) -> list[str]:
        """Wait for its end; what it complained of although it went well. Raises `Complaint`."""
        code = self._process.wait()
        text = self.complaints()
        self.close()
        if code:
            raise Complaint(code, text)
        return text.splitlines()

    def complaints(self) -> str:
        """What it has complained of so far."""
        return os.pread(self._errors, _COMPLAINTS_MAX, 0).decode("utf-8", "replace") if self._errors >= 0 else ""

    def close(self) -> None:
        """End it, if it has not ended. May be called again."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self.input, self.output):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        if self._errors >= 0:
            os.close(self._errors)
            self._errors = -1


def psql(database: Database, *, is_script: bool = False) -> Running:
    """A `psql` that takes statements, prints rows bare, and says of an error which one it is.

    `is_script`: it goes on behind an error, and prints no rows.
    """
    how = ("-o", "/dev/null") if is_script else ("-v", "ON_ERROR_STOP=1")
    return Running(
        database, "psql", "-X", "-q", "-A", "-t", *how, "-v", "VERBOSITY=verbose", "-f", "-", with_input=True
    )


def tell(running: Running, script: str, *, is_all: bool = True) -> None:
    """Give a program its statements. What cannot be given is told when it has ended."""
    with contextlib.suppress(BrokenPipeError):
        give(running, script.encode())
        if is_all and running.input is not None:
            running.input.close()


def give(running: Running, body: bytes) -> None:
    """All of it, however little a pipe takes at once. Raises BrokenPipeError where it takes no more."""
    assert running.input is not None  # noqa: S101 - who gives has asked for an input
    view = memoryview(body)
    while view:
        view = view[running.input.write(view) or 0 :]


_END: Final = b"==end of the answer=="


def lines_of(running: Running, statements: str) -> Iterator[bytes]:
    """What a session that goes on prints for some statements, line by line. Raises `Complaint` where it ends."""
    tell(running, f"{statements}\n\\echo '{_END.decode()}'\n", is_all=False)
    rest = b""
    while True:
        piece = running.output.read(PIECE)
        if not piece:
            running.wait()
            raise Complaint(2, "the session has ended")
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line == _END:
                return
            yield line


def output_of(running: Running) -> bytes:
    """All that it prints, to its end. Raises `Complaint`."""
    try:
        body = b"".join(iter(lambda: running.output.read(PIECE), b""))
        running.wait()
        return body
    finally:
        running.close()


@contextlib.contextmanager
def in_memory(body: bytes) -> Iterator[int]:
    """A descriptor of a file that is nowhere but in memory; `path_of` names it for a program that inherits it."""
    descriptor = os.memfd_create("file")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(body)
        yield descriptor
    finally:
        os.close(descriptor)


def path_of(descriptor: int) -> str:
    """What a program that inherits a descriptor calls its file."""
    return f"/proc/self/fd/{descriptor}"


def _password_file(database: Database) -> int | None:
    """A descriptor of a password file that is nowhere but in memory; None where there is no password."""
    password = database.password()
    if password is None:
        return None
    if "\n" in password or "\0" in password:
        raise AccessDenied("the password has a line's end in it", hint="Look at where it is kept.")
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    descriptor = os.memfd_create("passwords")
    os.fchmod(descriptor, 0o600)
    os.write(descriptor, f"*:*:*:*:{escaped}\n".encode())
    return descriptor
