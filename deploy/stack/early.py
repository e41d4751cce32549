"""`python -m deploy.stack.early MODULE [MODULE…]`: programs of ours, loaded while what they need is being started.

Most of what a start takes is loading code, and needs nobody. It begins once a byte comes on its input, as
`python -m MODULE` would; where the input is closed before, it ends. Several are services that share the process
(`chassis.life.together`): the first has the process's settings, the others each what stands under its module's name in
the variable `TOGETHER`.
"""

import importlib
import importlib.util
import json
import os
import runpy
import sys
from types import ModuleType

TOGETHER = "TOGETHER"
"""The variable that has, as JSON, the settings of each service that shares the process, by its module."""


def main(module: str, *others: str) -> None:
    """Load what programs are made of, wait, and be those programs."""
    programs = [importlib.import_module(_program(each)) for each in (module, *others)]
    beside = json.loads(os.environ.pop(TOGETHER, "{}"))
    if not others:
        # It is run under another name: what it is made of stays loaded.
        del sys.modules[programs[0].__name__]
    if os.read(sys.stdin.fileno(), 1):
        if others:
            _share(programs, [beside[each] for each in others])
        sys.argv = [module]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _program(module: str) -> str:
    found = importlib.util.find_spec(module)
    return f"{module}.__main__" if found is not None and found.submodule_search_locations else module


def _share(programs: list[ModuleType], settings: list[dict[str, str]]) -> None:
    from chassis.life import runtime
    from chassis.life.together import together

    first, *others = (program.main for program in programs)
    runtime.leave(runtime.run(lambda: together(first, list(zip(others, settings, strict=True)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
