"""PoolExecutor: a ``concurrent.futures.Executor`` whose workers are an MPI job.

Start reading in ``executor.py``.
"""
