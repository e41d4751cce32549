"""What may be wrong with a notification channel, and why a notification did not arrive."""

from contracts.errors.catalogue import Retry, entered

CHANNEL_UNKNOWN = entered(
    "notification-channel-unknown",
    404,
    Retry.NEVER,
    "There is no such notification channel",
    "Check the id; only channels of your own organisation are found.",
)
CHANNEL_RETIRED = entered(
    "notification-channel-retired",
    409,
    Retry.NEVER,
    "The notification channel is retired",
    "Create another one; nothing is sent to this one any more.",
)
TOO_MANY_CHANNELS = entered(
    "too-many-notification-channels",
    409,
    Retry.NEVER,
    "The organisation has as many notification channels as it may",
    "Retire one that nobody needs, or change one that is there.",
)
SECRET_UNKNOWN = entered(
    "secret-unknown",
    422,
    Retry.AFTER_OPERATOR,
    "The organisation has no such secret",
    "An operator adds it: wedsync-backup secret add NAME --organisation ORGANISATION",
)
SECRET_UNUSABLE = entered(
    "secret-unusable",
    422,
    Retry.AFTER_OPERATOR,
    "The secret is not what is needed here",
    "A webhook needs whsec_ with 24 to 64 bytes in base64, a service its whole address, such as slack://…",
)
SECRET_TAKEN = entered(
    "secret-taken",
    409,
    Retry.NEVER,
    "There is a secret of this name",
    "Choose another name, or replace it.",
)
RECEIVER_NOT_PUBLIC = entered(
    "receiver-not-public",
    422,
    Retry.AFTER_OPERATOR,
    "The receiver is not on the public internet",
    "Use a public address, or ask an operator to allow private ones.",
)
RECEIVER_UNREACHABLE = entered(
    "receiver-unreachable",
    503,
    Retry.LATER,
    "The receiver was not reached",
    "Check its address, and that it is up; it is tried again.",
)
RECEIVER_SLOW = entered(
    "receiver-slow",
    503,
    Retry.LATER,
    "The receiver did not answer in time",
    "It should answer first and work afterwards; it is tried again.",
)
RECEIVER_FAILED = entered(
    "receiver-failed",
    503,
    Retry.LATER,
    "The receiver did not take the notification",
    "Look at the receiver's log: it has to answer with a status of 200 to 299; it is tried again.",
)
RECEIVER_REDIRECTS = entered(
    "receiver-redirects",
    503,
    Retry.LATER,
    "The receiver leads to another address",
    "Give the channel the address that it leads to: no redirection is followed; it is tried again.",
)
RECEIVER_GONE = entered(
    "receiver-gone",
    503,
    Retry.NEVER,
    "The receiver wants no more notifications",
    "It has answered 410. Retire the channel, or give it another address.",
)
CHANNEL_FULL = entered(
    "notification-queue-full",
    503,
    Retry.LATER,
    "Too many notifications wait for the channel",
    "Its receiver takes none: mend it, give the channel another address, or retire it.",
)
QUIET = entered(
    "quiet-hours",
    503,
    Retry.LATER,
    "The channel has quiet hours",
    "It is sent at their end.",
)
BACKUP_OVERDUE = entered(
    "backup-overdue",
    503,
    Retry.LATER,
    "A run that fell due has not ended in time",
    "See what it waits for: /api/backup/executions shows it. Are workers up (wedsync-backup status)?",
)
