"""ExtremeScaleExecutor: an executor for Parsl. Parsl is imported in this folder alone.

Start reading in ``executor.py``.
"""
