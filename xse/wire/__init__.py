"""The wire format of docs/protocol.md: messages, payload frames, byte streams, and the commands of an executor.

Every other part may import it; it imports none of them. Start reading in ``messages.py``.
"""
