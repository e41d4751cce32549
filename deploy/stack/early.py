"""`python -m deploy.stack.early MODULE`: a program of ours that is loaded while what it needs is still being started.

Most of what its start takes is loading code, and needs nobody. It begins once a byte comes on its input, as
`python -m MODULE` would; where the input is closed before, it ends.
"""

import importlib
import importlib.util
import os
import runpy
import sys


def main(module: str) -> None:
    """Load what a program is made of, wait, and be that program."""
    found = importlib.util.find_spec(module)
    program = f"{module}.__main__" if found is not None and found.submodule_search_locations else module
    importlib.import_module(program)
    # It is run under another name: what it is made of stays loaded.
    del sys.modules[program]
    if os.read(sys.stdin.fileno(), 1):
        sys.argv = [module]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1])
