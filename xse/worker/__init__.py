"""What runs in a worker and in the zygote that forks it: called from ``csrc/worker``.

Imports ``xse.functions`` and ``xse.wire`` alone. Start reading in ``entry.py``.
"""
