"""What may be wrong with keys."""

from repository.errors.base import RepositoryError, Retry


class WrongKey(RepositoryError):
    """The key that was given wraps none of this repository's keys."""

    code = "wrong-key"
    retry = Retry.AFTER_OPERATOR
    hint = "Give the key file that was made when the repository was created, or the one of the last rotation."


class KeyFileInvalid(RepositoryError):
    """The key file is not one, is damaged, or is readable by everybody."""

    code = "key-file-invalid"
    retry = Retry.AFTER_OPERATOR
    hint = "Take the key file from the recovery kit, and give it mode 0600."


class KeyFileNotMade(KeyFileInvalid):
    """No key file was made: something of its name is there, or it cannot be written."""

    code = "key-file-not-made"
    hint = "Name a file that is not there, on a disk that can be written to."


class KeyUnavailable(RepositoryError):
    """The key provider does not answer."""

    code = "key-unavailable"
    retry = Retry.LATER
    hint = "Wait for the key provider, or take its key from the recovery kit."


class UnknownKey(RepositoryError):
    """An object names a data key that this repository does not have, or whose wrapping was destroyed."""

    code = "unknown-key"
    retry = Retry.AFTER_OPERATOR
    hint = "The key object is missing on this tier, or its domain was erased; try another tier."


class KeyStillNeeded(RepositoryError):
    """A key is not taken away: without it something could not be opened any more."""

    code = "key-still-needed"
    retry = Retry.AFTER_OPERATOR
    hint = "Open the repository with the key file that is to stay, and take the other one away."


class KeyNotFound(RepositoryError):
    """Nothing is wrapped under the key-encryption key that was named."""

    code = "key-not-found"
    hint = "List the keys with `repo key list`."


class KeysNotOpened(UnknownKey):
    """The key file opens the repository, and not all of its keys: what is under the others cannot be judged."""

    code = "keys-not-opened"
    retry = Retry.AFTER_OPERATOR
    hint = "Use the key file that opens all; with it, `repo key add --new-key-file FILE` lets this one open the rest."


class KeyNotGiven(RepositoryError):
    """No key was given: nobody was there to type a passphrase, or the command that prints it did not."""

    code = "key-not-given"
    retry = Retry.AFTER_OPERATOR
    hint = "Type the passphrase on a terminal, or give it in WEDSYNC_PASSPHRASE, or let `--key-command` print it."


class PassphraseUnfit(KeyNotGiven):
    """A new passphrase that is not taken."""

    code = "passphrase-unfit"


class ErasureNotConfirmed(RepositoryError):
    """What would be destroyed is not what somebody looked at and confirmed."""

    code = "erasure-not-confirmed"
    retry = Retry.AFTER_OPERATOR
    hint = "Look again at what would be erased (`repo erase NAME`) and give the word that it ends with."


class ReceiptUnreadable(RepositoryError):
    """The file of a receipt is not to be read: nothing is known of the receipt."""

    code = "receipt-unreadable"
    retry = Retry.AFTER_OPERATOR
    hint = "Give the file that `repo erase --receipt FILE` made, and the right to read it."


class ReceiptNotFound(ReceiptUnreadable):
    """There is no file of this name."""

    code = "receipt-not-found"
    hint = "Give the file that `repo erase --receipt FILE` made."


class KitInvalid(RepositoryError):
    """What was given is no recovery kit, or not enough of one."""

    code = "kit-invalid"
    retry = Retry.AFTER_OPERATOR
    hint = "Give as many shares of one kit as each of them says, each in its file."


class KitNotPossible(KitInvalid):
    """No kit can be made as it was asked for."""

    code = "kit-not-possible"


class KitNotMade(KitInvalid):
    """No kit was made: something is in the way, or it cannot be written."""

    code = "kit-not-made"
    hint = "Name a folder that is not there, on a disk that can be written to."


class ShareNotFound(KitInvalid):
    """There is no file of this name."""

    code = "share-not-found"
    hint = "Give the file of each share."
