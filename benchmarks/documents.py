"""Contract-like text: a supplier's own template, filled in for each client, with terms written for that client alone.

What makes it honest, and not a flattering repetition of one page: a supplier picks among wordings
of each clause and keeps them; names, addresses, dates, sums and a list of services differ in every
contract; and more than half of each document is free text in words drawn by Zipf's law, which no
other document has. Real contracts are more alike than that. What it does not stand for: PDF and
DOCX, which deflate their content themselves and behave like photos.
"""

from collections.abc import Iterator, Sequence
from itertools import count

from benchmarks.seeded import Seeded

_VOCABULARY = """
the of and to in a is for on by with be shall that this at from or as any it not which will may all client
supplier agreement payment service date party event wedding fee photographs images deposit balance venue hours
coverage delivery gallery album ceremony reception arrival guests family group portrait evening afternoon
morning couple bride groom planner florist caterer musician ensemble marquee garden chapel terrace weather shade
lighting backup assistant equipment travel mileage parking accommodation meal overtime cancellation postponement
refund liability insurance cover claim notice written consent release licence copyright print reproduction
social media website portfolio credit watermark resolution edited selection retouching colour monochrome film
scan archive storage retention deletion privacy consent schedule timeline contact telephone email address
signature witness name invoice number tax rate total amount due days weeks months before after during within
without between until unless however therefore hereby herein whereas first second third final initial additional
reasonable necessary available agreed confirmed requested provided received paid delivered completed signed
dated attached listed described specified included excluded limited subject according respect regard behalf
purpose reason circumstance illness accident delay failure damage loss theft fire flood strike restriction
authority permission access entrance doors stairs power supply socket cable speaker microphone playlist dance
floor tables chairs linen glassware cutlery menu canapés champagne cake flowers bouquet buttonhole arch candles
lanterns ribbon stationery invitation seating favours transport carriage coach hotel suite dressing hair makeup
rehearsal toast speech vows rings register readings processional confetti
"""
WORDS = tuple(_VOCABULARY.split())
_CLAUSES = (
    "The Supplier shall attend at {venue} on {date} and provide the services listed in the Schedule.",
    "The fee for the services is {total} and includes value added tax at the rate in force on the date of supply.",
    "A deposit of {deposit} secures the date and is {due} on signature; the balance is payable {days} days before.",
    "If the Client cancels more than {days} days before the event, the Supplier may retain the deposit only.",
    "If the Client cancels later than that, {percent} per cent of the fee becomes due as a fair estimate of the loss.",
    "The Supplier may appoint an equally qualified substitute where illness or accident prevents attendance.",
    "Copyright in all photographs remains with the Supplier, who grants the Client a personal licence to print them.",
    "Edited images are delivered through an online gallery within {weeks} weeks; the gallery stays open for a year.",
    "The Supplier keeps one copy of the images for {years} years and is under no duty to keep them for longer.",
    "The Client provides a hot meal and a seat for every member of the team who works longer than five hours.",
    "Travel beyond {miles} miles is charged at forty-five pence a mile, and accommodation at cost where agreed.",
    "Overtime is charged at {hourly} for each hour or part of an hour, and payable within fourteen days.",
    "The Supplier holds public liability insurance of not less than two million pounds for any one claim.",
    "Neither party is liable for a failure that arises from an event beyond its reasonable control.",
    "Personal data are processed for the performance of this agreement and as the privacy notice describes.",
    "The liability of the Supplier is limited to the fee paid, save where the law does not allow such a limit.",
    "Changes to this agreement are valid only in writing and signed by both parties.",
    "This agreement is governed by the law of England and Wales, whose courts have exclusive jurisdiction.",
)
_FIRST_NAMES = """
Amelia Oliver Isla George Ava Arthur Ivy Noah Freya Leo Lily Oscar Florence Harry Willow Muhammad Priya Chidi
"""
_FIRST = tuple(_FIRST_NAMES.split())
_LAST_NAMES = """
Hughes Patel Okafor Taylor Évans Murphy Kowalska Singh Wright Nguyen O'Brien Campbell Rossi Ahmed Lewis
"""
_LAST = tuple(_LAST_NAMES.split())
_PLACE_NAMES = """
Ashdown Barley Cotswold Dunster Elmhurst Fernhill Grange Hartwell Ivybridge Kelmscott Larkfield Mallory
"""
_PLACES = tuple(_PLACE_NAMES.split())


def contract(seeded: Seeded, supplier: int) -> bytes:
    """One contract of the supplier with that number: 6 to 40 KB of HTML."""
    habits = Seeded("template", supplier)
    clauses = list(_CLAUSES)
    for place in range(len(clauses)):
        other = habits.integer(place, len(clauses))
        clauses[place], clauses[other] = clauses[other], clauses[place]
    wording = [f"{clause} {prose(habits, 12 + habits.integer(0, 50))}" for clause in clauses]
    facts = _facts(seeded)
    numbers = count(1)
    body = [f"<section><h2>{next(numbers)}.</h2><p>{clause.format(**facts)}</p></section>" for clause in wording]
    body.extend(
        f"<section><h2>{next(numbers)}.</h2><p>{prose(seeded, seeded.integer(40, 160))}</p></section>"
        for _ in range(seeded.integer(6, 40))
    )
    body.extend(_services(seeded))
    title = f"Agreement {facts['reference']} between {facts['supplier']} and {facts['client']}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title></head>\n<body><h1>{title}</h1>\n"
        + "\n".join(body)
        + f"\n<footer>Signed on {facts['signed']} by {facts['client']}</footer></body></html>\n"
    ).encode()


def prose(seeded: Seeded, words: int) -> str:
    """That many words, the frequent ones as frequent as Zipf's law has them, in sentences."""
    ranks = (len(WORDS) ** seeded.uniform(words)).astype(int)
    chosen = [WORDS[rank - 1] for rank in ranks.tolist()]
    for stop in range(11, words, 13):
        chosen[stop] += "."
    return " ".join(chosen) + "."


def text_blocks(seeded: Seeded, size: int) -> Iterator[bytes]:
    """An endless row of texts of exactly `size` bytes each, cut from one long prose."""
    words = 4 * (1 << 20) // 7
    while True:
        long = prose(seeded, words).encode()
        for start in range(0, len(long) - size, size):
            yield long[start : start + size]


def _facts(seeded: Seeded) -> dict[str, str]:
    total = 50 * seeded.integer(16, 120)

    def pick(choices: Sequence[str]) -> str:
        return choices[seeded.integer(0, len(choices))]

    def day() -> str:
        return f"{seeded.integer(1, 29)}.{seeded.integer(1, 13)}.20{seeded.integer(20, 28)}"

    return {
        "reference": bytes(seeded.bytes(5)).hex().upper(),
        "client": f"{pick(_FIRST)} {pick(_LAST)} and {pick(_FIRST)} {pick(_LAST)}",
        "supplier": f"{pick(_LAST)} & {pick(_LAST)}",
        "venue": f"{seeded.integer(1, 200)} {pick(_PLACES)} {pick(['Hall', 'Barn', 'Manor', 'House'])}",
        "date": day(),
        "signed": day(),
        "total": f"£{total}.00",
        "deposit": f"£{total // 4}.00",
        "due": pick(["due", "payable", "to be paid"]),
        "days": str(7 * seeded.integer(2, 13)),
        "percent": str(5 * seeded.integer(8, 21)),
        "weeks": str(seeded.integer(3, 17)),
        "years": str(seeded.integer(1, 8)),
        "miles": str(10 * seeded.integer(2, 10)),
        "hourly": f"£{5 * seeded.integer(20, 60)}.00",
    }


def _services(seeded: Seeded) -> Iterator[str]:
    yield "<table>"
    for line in range(1, seeded.integer(5, 25)):
        price = seeded.integer(500, 90000)
        yield f"<tr><td>{line}</td><td>{prose(seeded, 5)}</td><td>{price // 100}.{price % 100:02}</td></tr>"
    yield "</table>"
