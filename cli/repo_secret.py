"""Where the key comes from: a key file, a passphrase, or what a command prints.

Promise: no secret is ever part of a command line, of an error or of what is printed; a passphrase is typed without
being shown.
"""

import argparse
import getpass
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cli.given_file import told_while
from cli.options import home_folder
from cli.repo_key_options import NEW_PASSPHRASE_VARIABLE, PASSPHRASE_VARIABLE
from repository.errors import KeyNotGiven, KeysNotOpened, WrongKey
from repository.keys.key_file import KEY_FILE_LENGTH_MAX, KeyFile
from repository.keys.passphrase import Passphrase, expect_good

_KEY_LINE = b"wsbkek1-"

Provider = KeyFile | Passphrase


def provider_of(arguments: argparse.Namespace, *, is_new: bool = False) -> Provider:
    """The key that the command line names, asked for once. `is_new`: of a repository that is being made.

    Raises `KeyFileInvalid`, `KeyNotGiven`.
    """
    known: Provider | None = vars(arguments).get("_provider")
    if known is None:
        if arguments.key_file is not None:
            known = KeyFile.load(arguments.key_file)
        elif arguments.key_command is not None:
            known = _printed(arguments.key_command, is_new=is_new)
        elif is_new:
            known = new_passphrase(PASSPHRASE_VARIABLE)
        else:
            known = Passphrase(os.environ.get(PASSPHRASE_VARIABLE) or _typed("passphrase: "))
        vars(arguments)["_provider"] = known
    return known


def new_passphrase(variable: str = NEW_PASSPHRASE_VARIABLE) -> Passphrase:
    """One that is to open the repository from now on; typed twice. Raises `KeyNotGiven`."""
    return Passphrase(expect_good(os.environ.get(variable) or typed("new passphrase: ", variable, twice=True)))


def typed(prompt: str, variable: str, *, twice: bool = False) -> str:
    """What somebody types, once or twice, where the variable has nothing. Raises `KeyNotGiven`."""
    hint = f"Type it on a terminal, or give it in {variable}."
    text = _typed(prompt, hint)
    if twice and _typed("the same once more: ", hint) != text:
        raise KeyNotGiven("the two passphrases differ", hint="Type the new passphrase twice.")
    return text


def words_for(arguments: argparse.Namespace) -> str:
    """What an error may say of where the key came from."""
    if arguments.key_file is not None:
        return str(arguments.key_file)
    return "what --key-command printed" if arguments.key_command is not None else "the passphrase"


_WHERE_WRONG = (
    "Give the passphrase as it was set: case, blanks, also one at the end, and the keyboard's layout count. Was it"
    " replaced since, by `repo key rotate`, give what replaced it."
)
_WHERE_SHUT = (
    "Give the passphrase, or the key file, that opens all; with it, `repo key add --new-passphrase` lets this one open"
    " the rest."
)


@contextmanager
def in_words_of(arguments: argparse.Namespace) -> Iterator[None]:
    """Name where the key came from in an error about it, and what to do with a passphrase, where it was one."""
    try:
        yield
    except (WrongKey, KeysNotOpened) as error:
        error.context.setdefault("key_from", words_for(arguments))
        if arguments.key_file is None and arguments.key_command is None:
            error.hint = _WHERE_WRONG if isinstance(error, WrongKey) else _WHERE_SHUT
        raise


def heads_path(arguments: argparse.Namespace) -> str:
    """Where what was seen of the tiers is remembered: beside the key file, else in the user's folder of states."""
    if arguments.key_file is not None:
        return f"{arguments.key_file}.heads"
    home = home_folder()
    states = os.environ.get("XDG_STATE_HOME") or (f"{home}/.local/state" if home else "/nowhere")
    folder = Path(states, "wedsync-backup")
    with suppress(OSError):  # who cannot write there is told when it is written to
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(folder / "heads")


def _typed(prompt: str, hint: str | None = None) -> str:
    """What somebody types on the terminal. Where there is none nobody is waited for. Raises `KeyNotGiven`."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        text = getpass.getpass(prompt)
    except (OSError, EOFError):
        raise KeyNotGiven("nobody can type a passphrase: there is no terminal", hint=hint) from None
    if not text:
        raise KeyNotGiven("the passphrase is empty", hint=hint)
    return text


def _printed(command: str, *, is_new: bool) -> Provider:
    """What the command prints. It may ask its user something; neither its words nor its output are ever shown."""
    try:
        words = shlex.split(command)
    except ValueError:
        raise KeyNotGiven("--key-command cannot be split into words", hint="Mind the quotation marks.") from None
    if not words:
        raise KeyNotGiven("--key-command is empty", hint="Name a program.")
    import subprocess  # few need it, and a command's start is a tenth of a small one's time

    try:
        with told_while("what --key-command runs"), subprocess.Popen(words, stdout=subprocess.PIPE) as running:
            text = running.stdout.read(KEY_FILE_LENGTH_MAX + 1) if running.stdout is not None else b""
    except OSError as error:
        message = "--key-command cannot be run"
        hint = "Is it there, and may it be executed? Give its path."
        raise KeyNotGiven(message, hint=hint, reason=error.strerror) from None
    if len(text) > KEY_FILE_LENGTH_MAX:
        hint = "It prints a passphrase in one line, or what a key file holds."
        raise KeyNotGiven("--key-command prints too much to be a key", hint=hint)
    if running.returncode:
        hint = "Run it by itself to see why."
        raise KeyNotGiven("--key-command failed", hint=hint, exit_code=running.returncode)
    if any(line.strip().lower().startswith(_KEY_LINE) for line in text.splitlines()):
        return KeyFile.from_text(text, "what --key-command printed")
    try:
        line = text.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        line = ""
    if not line or "\n" in line:
        hint = "It prints a passphrase in one line, or what a key file holds."
        raise KeyNotGiven("--key-command printed neither a passphrase nor a key", hint=hint)
    return Passphrase(expect_good(line) if is_new else line)
