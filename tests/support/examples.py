"""Examples that worker processes compute without any image."""

import os
import signal
import time
from typing import Any

import numpy as np


class Numbered:
    """Place -> its number and who computed it.

    Args:
        seconds: how long one takes.
        kill_at: the place at which the computing process is killed.
        fail_at: the place that cannot be computed.
    """

    def __init__(self, seconds: float = 0.0, kill_at: int = -1, fail_at: int = -1):
        self.seconds, self.kill_at, self.fail_at = seconds, kill_at, fail_at

    def __call__(self, place: int) -> dict[str, Any]:
        time.sleep(self.seconds)
        if place == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if place == self.fail_at:
            raise ValueError(f"place {place} is bad")
        image = np.full((64, 64, 3), place % 251, np.uint8)
        return {"image": image, "place": np.int32(place), "pid": np.int32(os.getpid())}
