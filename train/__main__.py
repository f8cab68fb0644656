"""`python -m train`."""

import signal
import sys

# Workers that decode import this file too; they need nothing of what follows.
if __name__ == "__main__":
    from train.preemption import leave_on_ctrl_c

    # Before the imports, which take seconds.
    leave_on_ctrl_c()
    from train.cli import main

    code = main(sys.argv[1:])
    # It is done: Ctrl-C does not disturb the interpreter's end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)
