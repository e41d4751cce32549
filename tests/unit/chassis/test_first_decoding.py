"""A process lives whose threads are, all at once, the first to decode something."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import json, os, sys, threading
from pathlib import Path

from contracts import executor_events
from contracts.envelope import decode, decode_data
from repository.opened.seen import HeadsFile
from repository.stored.snapshot import decode_manifest

heads = Path(sys.argv[2])
heads.write_text(json.dumps({"repositories": {"aa": {"bb": {"place": "p", "number": 1, "digest": "cc"}}}}))
manifest = json.dumps({
    "time_ns": 1, "run_token": "t", "label": "l", "root": ["aa"], "domain": "d",
    "totals": {"files": 1}, "by_class": {"text": {"chunks": 1}},
}).encode()
envelope = decode(Path("contracts/examples/executor.backup-completed.v1.json").read_bytes())
first = {
    "manifest": lambda: decode_manifest(manifest).by_class["text"].chunks == 1,
    "heads": lambda: len(HeadsFile(heads).seen(bytes.fromhex("aa"), {})[""]) == 1,
    "event": lambda: decode_data(envelope).NAME == envelope.type,
}[sys.argv[1]]

# Each child is a process of its own in which nothing was decoded yet.
for _ in range(150):
    child = os.fork()
    if child == 0:
        sys.setswitchinterval(1e-6)
        barrier = threading.Barrier(3)
        right = []
        def decode_first():
            barrier.wait()
            right.append(first())
        threads = [threading.Thread(target=decode_first) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(0 if right == [True] * 3 else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        sys.exit(f"a process ended with {code}")
"""


@pytest.mark.parametrize("first", ["manifest", "heads", "event"])
def test_threads_that_are_the_first_to_decode_a_type_do_not_crash_the_process(first: str, tmp_path: Path) -> None:
    """A type is completed while its first value is decoded, and two threads at once end by SIGSEGV."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, first, str(tmp_path / "heads")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
