"""`python -m deploy.supply VERB`: what a release is made of, and the release itself. For who develops: `make setup`.

| verb | does | ends with |
|---|---|---|
| `licences` | compares the list with the packages and what may be taken (`--write`: lists them anew) | 1: one may not |
| `advisories` | looks for what is known against what is pinned | 1: something is; 4: nothing, by an old file |
| `gather CLONE UNTIL` | makes the file of advisories anew, of a clone of `pypa/advisory-database` of that day | |
| `release FOLDER` | wheel, locks, parts list and sums of a commit | |
| `sign FOLDER KEY` | signs the sums | |
| `verify FOLDER SIGNERS` | verifies a release | 1: it is not what was signed |
"""

import argparse
import sys
from datetime import date
from pathlib import Path

from chassis.clock import SystemClock
from contracts.errors import PlatformError
from deploy.supply import advisories, licences, release
from deploy.supply.locks import BUILD, DEVELOP, RUN, pins

_REFUSED, _DEGRADED = 1, 4


def main() -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser("python -m deploy.supply", description="What a release is made of.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = verbs.add_parser("licences", help="compare licences with the list and with what may be taken")
    listing.add_argument("--write", action="store_true", help="list them anew")
    looking = verbs.add_parser("advisories", help="look for what is known against what is pinned")
    looking.add_argument("--file", type=Path, default=advisories.FILE, help="advisories as `gather` writes them")
    gathering = verbs.add_parser("gather", help="make the file of advisories anew")
    gathering.add_argument("clone", type=Path, metavar="CLONE", help="of pypa/advisory-database")
    gathering.add_argument("until", type=date.fromisoformat, metavar="UNTIL", help="the day of its last commit")
    making = verbs.add_parser("release", help="wheel, locks, parts list and sums of a commit")
    making.add_argument("folder", type=Path, metavar="FOLDER")
    making.add_argument("--commit", default="HEAD", help="a tag or another name of a commit (default: HEAD)")
    signing = verbs.add_parser("sign", help="sign a release's sums")
    signing.add_argument("folder", type=Path, metavar="FOLDER")
    signing.add_argument("key", type=Path, metavar="KEY", help="a private key of OpenSSH, or its public half")
    verifying = verbs.add_parser("verify", help="verify a release")
    verifying.add_argument("folder", type=Path, metavar="FOLDER")
    verifying.add_argument("signers", type=Path, metavar="SIGNERS", help="a file of signers, as ssh-keygen reads it")
    try:
        return _do(parser.parse_args())
    except PlatformError as error:
        sys.stderr.write(f"{error.message} [{error.code.code}]\n{error.hint}\n")
        return _REFUSED


def _do(arguments: argparse.Namespace) -> int:
    match arguments.verb:
        case "licences":
            if arguments.write:
                licences.write()
            found = licences.refused(pins(RUN, BUILD, DEVELOP), licences.listed())
            sys.stdout.write("".join(f"{each}\n" for each in found) or "licences: all are listed, and may be taken\n")
            return _REFUSED if found else 0
        case "advisories":
            return _look(advisories.read(arguments.file))
        case "gather":
            names = [pin.name for pin in pins(RUN, BUILD, DEVELOP)]
            told = advisories.of_clone(arguments.clone, names)
            source = "pypa/advisory-database, CC-BY-4.0"
            text = advisories.gather(told, names, source=source, until=arguments.until)
            advisories.FILE.write_text(text, "utf-8")
        case "release":
            names = release.make(arguments.folder, arguments.commit)
            sys.stdout.write("".join(f"{arguments.folder / name}\n" for name in names))
        case "sign":
            release.sign(arguments.folder, arguments.key)
            sys.stdout.write(f"{arguments.folder / release.SIGNATURE}\n")
        case "verify":
            verified = release.verify(arguments.folder, arguments.signers)
            sys.stdout.write(f"signed, and as they were signed: {', '.join(verified)}\n")
    return 0


def _look(known: advisories.Known) -> int:
    wanted = pins(RUN, BUILD, DEVELOP)
    found = list(advisories.hits(wanted, known))
    for hit in found:
        mended = f"mended in {', '.join(hit.mended)}" if hit.mended else "not mended in any version that it names"
        sys.stdout.write(f"{hit.pin.name} {hit.pin.version}: {hit.advisory}, {mended}\n")
    sys.stdout.write(f"advisories: {len(found)} of {len(known.advisories)} are about one of {len(wanted)} pins\n")
    fresh = known.is_fresh(SystemClock().now().date())
    if not fresh:
        sys.stdout.write(
            f"  The file knows nothing that was published after {known.until}: it is too old to say more\n"
        )
    return _REFUSED if found else 0 if fresh else _DEGRADED


if __name__ == "__main__":
    sys.exit(main())
