"""Devices: how long networks take where they are to run, measured, and how well a table of parts predicts that."""

from archsearch.devices.profiler import profile
from archsearch.devices.result import Profile

__all__ = ["Profile", "profile"]
