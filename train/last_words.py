"""What is said when a process of several is ended from within its libraries.

When a process of a run is lost, the network libraries of the others end them at once,
from C++: no Python runs any more that could say why. So another process waits for the
end, and says it.
"""

import atexit
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from train.leave import farewells, unheard

# Reads until the run is gone. An orderly end sends a byte before.
_WAITER = """
import os, sys
if not os.read(0, 1):
    print(sys.argv[1], file=sys.stderr, flush=True)
"""


@contextlib.contextmanager
def last_words(text: str) -> Iterator[None]:
    """Says `text` on standard error if this process ends while inside, unasked."""
    with unheard():
        waiter = subprocess.Popen(
            [sys.executable, "-I", "-c", _WAITER, text], stdin=subprocess.PIPE
        )
    stdin = waiter.stdin
    assert stdin is not None

    def dismiss() -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(stdin.fileno(), b".")

    farewells.append(dismiss)
    try:
        yield
    except BaseException:
        # It is still to be told; until then the libraries may end this process.
        atexit.register(dismiss)
        raise
    farewells.remove(dismiss)
    dismiss()
    stdin.close()
    waiter.wait()
