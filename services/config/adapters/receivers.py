"""Who is told: the receivers of an organisation's channels, by the secrets that an operator has added for it."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.notifications import CHANNEL_ADDRESS_FIELD, ChannelBody, ChannelKind, address_objections
from services.config.adapters import people
from services.config.adapters.webhook import post, signing_keys
from services.config.telling.ports import Message, Sent

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
SECRET_BYTES = 4096


class OpenedReceivers:
    """`Receivers`: the address is opened, the secret read, at each attempt. `private`: see the settings.

    Secrets are files `<keys>/secrets/<organisation>/<name>`, which only operators write.
    """

    def __init__(self, sealer: Sealer, *, private: bool) -> None:
        self._sealer = sealer
        self._private = private
        self._people = people.People()

    async def trouble(self, body: ChannelBody, organisation: str) -> Sequence[tuple[ErrorCode, str, str]]:
        """What is wrong with the address and the secret, as far as that can be seen now."""
        found: list[tuple[ErrorCode, str, str]] = []
        address = await self._address(body, organisation)
        found += [
            (each.code, each.field or "url", each.hint)
            for each in address_objections(body.kind, address, private=self._private)
        ]
        try:
            secret = await self._secret(organisation, body.secret)
            checked_secret(secret, body.kind, private=self._private)
        except PlatformError as error:
            if error.code not in (errors.SECRET_UNKNOWN, errors.SECRET_UNUSABLE):
                raise
            found.append((error.code, "secret", error.hint))
        if not found and address is not None and body.kind is ChannelKind.WEBHOOK:
            found += await self._unreachable(address)
        return found

    async def send(self, body: ChannelBody, message: Message, sent_at: datetime) -> Sent:
        """Send it once, by what the channel is."""
        secret = await self._secret(message.organisation, body.secret)
        if body.kind is not ChannelKind.WEBHOOK:
            return await self._tell_people(secret, body.kind, message)
        address = await self._address(body, message.organisation)
        if address is None:
            return Sent(errors.RECEIVER_UNREACHABLE)
        # The operator's rule may be stricter than it was when the channel was made.
        if every := list(address_objections(body.kind, address, private=self._private)):
            return Sent(every[0].code, hint=every[0].hint)
        return await post(address, signing_keys(secret), message, sent_at, private=self._private)

    async def _tell_people(self, address: str, kind: ChannelKind, message: Message) -> Sent:
        checked_secret(address, kind, private=self._private)
        if self._people.is_busy:
            return Sent(is_put_off=True)
        match await self._people.send(address, message.title, message.text, is_alarm=message.is_alarm):
            case people.ARRIVED:
                return Sent()
            case people.UNUSABLE:
                return Sent(errors.SECRET_UNUSABLE)
            case None:
                return Sent(errors.RECEIVER_SLOW)
        return Sent(errors.RECEIVER_FAILED)

    async def _unreachable(self, address: str) -> Sequence[tuple[ErrorCode, str, str]]:
        """That a name leads to where nobody may be sent. One that leads nowhere now may later."""
        if self._private:
            return ()
        from services.config.adapters.addresses import addresses_of  # most never need it

        parts = urlsplit(address)
        try:
            await addresses_of(parts.hostname or "", parts.port or 443, private=False)
        except PlatformError as error:
            return [(error.code, "url", error.hint)]
        except OSError:
            pass
        return ()

    async def _address(self, body: ChannelBody, organisation: str) -> str | None:
        sealed = body.address
        if sealed is None:
            return None
        return await self._sealer.ask(lambda: self._sealer.open(organisation, CHANNEL_ADDRESS_FIELD, sealed))

    async def _secret(self, organisation: str, name: str) -> str:
        """A secret's text. Raises SECRET_UNKNOWN, SECRET_UNUSABLE, KEYS_UNREACHABLE."""
        if not _NAME.match(name):
            raise PlatformError(errors.SECRET_UNKNOWN, "there is no secret of such a name", field="secret")
        path = secret_file(self._sealer.folder, organisation, name)
        try:
            text = await self._sealer.ask(lambda: _read(path))
        except FileNotFoundError as error:
            raise PlatformError(
                errors.SECRET_UNKNOWN,
                f"the organisation has no secret {name}",
                field="secret",
                hint=f"An operator adds it: wedsync-backup secret add {name} --organisation {organisation}",
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise PlatformError(errors.SECRET_UNUSABLE, "the secret cannot be read", field="secret") from error
        if not text.strip():
            raise PlatformError(errors.SECRET_UNUSABLE, "the secret is empty", field="secret")
        return text


def checked_secret(text: str, kind: ChannelKind | None = None, *, private: bool = True) -> None:
    """Raise SECRET_UNUSABLE for what no channel can use, or none of a kind."""
    is_address = people.scheme_of(text) is not None
    if kind is ChannelKind.WEBHOOK or (kind is None and not is_address):
        signing_keys(text)
    elif not people.is_usable(text, private=private):
        raise PlatformError(
            errors.SECRET_UNUSABLE,
            "the secret is no address of a service that is supported",
            field="secret",
            hint=f"It is one line as https://appriseit.com/services has it, by one of {', '.join(people.SCHEMES)}.",
        )


def secret_file(keys_dir: Path, organisation: str, name: str) -> Path:
    """Where a secret lies."""
    return keys_dir / "secrets" / organisation / name


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(SECRET_BYTES).decode("utf-8")
