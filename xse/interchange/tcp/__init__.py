"""Blocks that connect by TCP: listening, authentication, pending connections, refusals.

Used by the interchange's loop alone. Start reading in ``listener.py``.
"""
