"""What a run was, from its record: numbers (``summary``), a page of charts (``page``), a trace for viewers (``trace``).

Start at ``summary``: it reads the record once, and keeps sums and not tasks.
"""
