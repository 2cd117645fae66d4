"""vcpipe: one pipeline and trainer for voice conversion."""

__version__ = "0.1.0"
