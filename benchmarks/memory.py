"""What memory this process has and had."""

from pathlib import Path


def own_memory() -> dict[str, int]:
    """`VmRSS`, `VmHWM` (the most it ever was) and `RssAnon` of this process, in bytes.

    Not `getrusage`: its peak is the parent's where that was higher when this program began.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    wanted = ("VmRSS", "VmHWM", "RssAnon")
    return {
        name: int(value.split()[0]) * 1024 for name, _, value in (x.partition(":") for x in lines) if name in wanted
    }
