#!/bin/sh
# Finds a Python that will do, or says what is missing, and lets it make the virtual environment (environment.py).
# PYTHON names one; else the first of the usual names that is 3.11 or later is taken.
set -eu
fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo 'no working Python'; }

found=
for name in ${PYTHON:+"$PYTHON"} python3 python3.15 python3.14 python3.13 python3.12 python3.11; do
    place=$(command -v "$name" || true)
    if [ -n "$place" ] && fits "$place"; then
        exec "$place" "$(dirname -- "$0")/environment.py" "$@"
    fi
    found="$found $name: ${place:+$(version "$place"), }${place:-not there};"
    if [ -n "${PYTHON:-}" ]; then break; fi
done
echo "setup: Python 3.11 or later is needed, and none was found.$found"
echo "  Install one, or name it: make PYTHON=/path/to/python3.12 demo"
exit 1
