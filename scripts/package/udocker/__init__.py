"""The interface for Python programs: see `udocker.umain`."""

__version__ = "@VERSION@"
