"""Runs as people see them: which there are, how they are, and where a task is.

``runs`` finds them. ``ask`` asks the interchange of one that runs. ``status`` and ``explain`` tell the answer. A run
that has ended, or that is on another host, is known by its record.
"""
