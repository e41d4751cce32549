"""How our own programs are started: by this interpreter, with the code that runs now, installed or not."""

import os
from pathlib import Path

import deploy


def python_path() -> str:
    """The PYTHONPATH of a child: the folder that this code is in, and what the caller had set."""
    root = str(Path(deploy.__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return f"{root}{os.pathsep}{inherited}" if inherited else root
