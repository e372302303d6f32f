"""xse.interchange.clock: the same promises as csrc/manager/clock.c keeps (tests/c/test_manager.c)."""

from __future__ import annotations

from xse.interchange.clock import Clock


def test_the_quickest_answer_tells_a_clock_until_it_is_old() -> None:
    clock = Clock()
    clock.learn(1000, 51000, 1100)
    assert clock.ahead_us == 49950
    clock.learn(2000, 59000, 9000)  # slow, so it knows little
    assert clock.ahead_us == 49950
    clock.learn(10000, 60040, 10020)
    assert clock.ahead_us == 50030
    clock.learn(30000, 60040, 20000)  # from the future
    assert clock.ahead_us == 50030
    for _ in range(20):  # now all are slow, and the clock has drifted
        clock.learn(50000, 101025, 50050)
    assert clock.ahead_us == 51000
