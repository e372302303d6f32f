"""The interchange: keeps the queue, knows the blocks and their credit, balances load. ``python -m xse.interchange``."""
