"""One client of one interchange: tasks go out, and each future gets its answer.

Used by both executors. Start reading in ``client.py``. docs/developers/architecture.md has a table of the threads.
"""
