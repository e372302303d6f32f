"""The wire format of docs/developers/protocol.md: messages, frames, byte streams, an executor's commands.

Every other part may import it; it imports none of them. Start reading in ``messages.py``.
"""
