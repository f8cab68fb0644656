"""A program that starts workers, says who they are, and waits to be killed."""

import sys
import time

from support.examples import Numbered

from train.data.workers import stream

if __name__ == "__main__":
    batches = stream(Numbered(0.01), range(100_000), 4, workers=2, prefetch=1)
    pids = {int(next(batches)["pid"][0]) for _ in range(2)}
    print(*pids, flush=True)
    time.sleep(float(sys.argv[1]))
