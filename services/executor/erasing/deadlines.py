"""By when an erasure has to be done. Pure.

GDPR 12(3): within one month of receipt; a month ends with the day of its number in the next one, or with that month's
last day where it has none (Regulation 1182/71, Article 3). CCPA, 11 CCR 7021(b): within 45 calendar days of receipt.
Neither extension (two months, 45 days) is taken by the platform: whoever takes one has to tell the subject why.
"""

import calendar
from datetime import datetime, timedelta

from contracts.erasure_events import PrivacyLaw

CCPA_DAYS = 45


def due_by(law: PrivacyLaw, received_at: datetime) -> datetime:
    """The last moment. A law that this build does not know has the shorter time."""
    if law is PrivacyLaw.CCPA:
        return received_at + timedelta(days=CCPA_DAYS)
    year, month = (received_at.year, received_at.month + 1) if received_at.month < 12 else (received_at.year + 1, 1)
    day = min(received_at.day, calendar.monthrange(year, month)[1])
    return received_at.replace(year=year, month=month, day=day)
