"""`python -m gateway.openapi`: the document, written or checked."""

import sys

from gateway.openapi.document import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
