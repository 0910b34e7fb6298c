"""For Ray's workers in ``test_ray_output.py``: evaluators that print, then fail, die or are interrupted."""

import os
import signal
import subprocess
import sys
import time


def prints_and(how, architecture):
    """Prints in four ways, then does that."""
    print("printed by Python", architecture[0])
    print("complaint by Python", file=sys.stderr)
    os.write(1, b"printed by native code\n")
    subprocess.run(["echo", "printed by a child"], check=True)
    if how == "raises":
        raise ValueError("no such layer")
    if how == "dies":
        os._exit(3)
    if how == "interrupts":
        raise KeyboardInterrupt
    return float(sum(architecture))


def raises(architecture):
    """Prints, then fails."""
    return prints_and("raises", architecture)


def dies(architecture):
    """Prints, then takes its process along."""
    return prints_and("dies", architecture)


def interrupts(architecture):
    """Prints, then is interrupted, as by a signal to its process."""
    return prints_and("interrupts", architecture)


def succeeds_then_fails(architecture):
    """Prints much; every second one fails and prints little."""
    if sum(architecture) % 2:
        print("only this")
        raise ValueError("odd")
    print("of another trial\n" * 100)
    return float(sum(architecture))


def prints_without_end(architecture):
    """More than anybody reads."""
    for i in range(5_000):
        print("line", i)
    raise ValueError("at last")


def interrupted_by_signal(architecture):
    """SIGINT to its own process while it evaluates."""
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(500):
        time.sleep(0.01)
    return 0.0
