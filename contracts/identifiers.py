"""What an organisation and a person may be called: ids, which others give.

The organisation becomes a token of NATS subjects and a folder of the keys, the subject a part of an index: no dots,
wildcards, slashes or spaces in the one, no more than printable ASCII in the other.
"""

import re

ORGANISATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
ORGANISATION_RULE = "has 1 to 128 letters, digits, '-' and '_', and begins with a letter or digit"
SUBJECT = re.compile(r"[\x21-\x7e]{1,200}")
SUBJECT_RULE = "has 1 to 200 printable ASCII characters and no spaces"
