"""The interchange: keeps the queue, knows the blocks and their credit, balances load. ``python -m xse.interchange``.

A process of its own, so that scheduling goes on while the user's script computes. Start reading in ``core.py``: it
decides everything and does no input or output. ``loop.py`` has the sockets, ``queue.py`` the waiting tasks, ``tcp/``
the listener for blocks on other hosts.
"""
