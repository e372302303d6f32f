"""``xse doctor``: checks whether an executor can run on this host.

Start reading in ``look.py``, which makes the checks. Each gives a fact of ``facts.py``; ``diagnosis.py`` turns a fact
into a line that says what is right, what is wrong, and what to do.
"""
