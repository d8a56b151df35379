"""Token buckets."""

from im import limits
from im.limits import Allowance, Bucket, Pause


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_what_it_holds_and_fills_again():
    bucket = Bucket(2, 0.5, 0)
    assert [bucket.take(0), bucket.take(0), bucket.take(0)] == [0, 0, 2]
    assert bucket.take(1) == 1
    assert bucket.take(2) == 0


def test_a_bucket_never_holds_more_than_its_size():
    bucket = Bucket(2, 1, 0)
    assert [bucket.take(100), bucket.take(100), bucket.take(100)] == [0, 0, 1]


def test_each_key_has_its_own_allowance():
    clock = Clock()
    allowance = Allowance(1, clock)
    assert [allowance.take("a"), allowance.take("b"), allowance.take("a")] == [0, 0, 60]
    clock.now = 60
    assert allowance.take("a") == 0


def test_full_buckets_are_thrown_away(monkeypatch):
    monkeypatch.setattr(limits, "_KEEP", 10)
    clock = Clock()
    allowance = Allowance(1, clock)
    for number in range(1_000):
        clock.now += 30
        allowance.take(str(number))
    assert len(allowance._buckets) <= 11


def test_a_pause_lets_one_through():
    clock = Clock()
    pause = Pause(3, clock)
    assert [pause.passes(("a", "c")), pause.passes(("a", "c")), pause.passes(("b", "c"))] == [True, False, True]
    clock.now = 3
    assert pause.passes(("a", "c"))
