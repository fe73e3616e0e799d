"""What Python programs import of udocker: see `udocker.umain`."""

__version__ = "@VERSION@"
