"""How functions, arguments and results travel: pickles, captured globals, and shared memory for large data.

Used by the client and by the worker; imports ``xse.wire`` alone. Start reading in ``payload.py``.
"""
