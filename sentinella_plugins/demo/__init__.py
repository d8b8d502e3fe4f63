"""A small HTTP server that stands in for every provider: try Sentinella without a key, or test with it."""

from .bases import api_base
from .client import Demo, DemoFailed, RunningDemo, running_demo

__all__ = ["Demo", "DemoFailed", "RunningDemo", "api_base", "running_demo"]
