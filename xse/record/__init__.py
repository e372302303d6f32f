"""The record of a run: one append-only file of what each task did, when and where (docs/guide/record.md).

The interchange writes it (``recorder``, ``file``). Anybody may read it (``reader``), even while it is written. Start at
``format``. Programs use ``open_record``::

    from xse.record import open_record

    for task in open_record("run.xse").tasks():
        print(task.function, task.outcome, task.seconds)
"""

from xse.record.reader import Record, RecordError, Task, open_record

__all__ = ["Record", "RecordError", "Task", "open_record"]
