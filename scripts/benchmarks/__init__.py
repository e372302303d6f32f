"""Measures xse beside its peers: ``python -m benchmarks`` with scripts/ on PYTHONPATH, as scripts/bench runs it.

What is wanted stands in ``rows``; who runs, in ``peers``; what is done to each, in ``measures``.
"""
