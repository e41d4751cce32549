"""`python -m cli` is `wedsync-backup`, also where nothing is installed."""

import sys

from cli.main import main

sys.exit(main())
