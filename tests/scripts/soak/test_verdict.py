from array import array

import pytest

from scripts.soak.verdict import Told, Verdict, judge, number_of, place_of, sender_of

A, B = 0, 1
# Two senders, three messages, as everybody should have them.
PLACES = [place_of(A, 0), place_of(B, 0), place_of(A, 1)]
STORED = list(enumerate(PLACES, 1))


def told(**changes) -> dict[int, Told]:
    known = {A: Told(array("Q", [1, 3])), B: Told(array("Q", [2]))}
    for name, value in changes.items():
        setattr(known[A], name, value)
    return known


def test_a_place_is_who_and_which():
    assert (sender_of(place_of(70_000, 9)), number_of(place_of(70_000, 9))) == (70_000, 9)


def test_all_agree():
    verdict = judge(STORED, told(), [PLACES, PLACES])
    assert (verdict, verdict.is_clean) == (Verdict(), True)


def test_what_has_no_ack_may_be_stored_or_not():
    assert judge(STORED, told(seqs=array("Q", [1, 0, 0])), [PLACES]).is_clean


@pytest.mark.parametrize(
    ("stored", "known", "heard", "verdict"),
    [
        # acknowledged, not stored
        (STORED[:2], told(), [PLACES[:2]], Verdict(lost=1)),
        # a listener misses the last
        (STORED, told(), [PLACES, PLACES[:2]], Verdict(lost=1)),
        # stored under two numbers
        ([*STORED, (4, PLACES[2])], told(seqs=array("Q", [1, 4])), [PLACES], Verdict(duplicated=1, misordered=1)),
        # heard twice
        (STORED, told(), [[*PLACES, PLACES[2]]], Verdict(duplicated=1, misordered=1)),
        # acknowledged in contradiction
        (STORED, told(contradictions=2), [PLACES], Verdict(duplicated=2)),
        # acknowledged under another number
        (STORED, told(seqs=array("Q", [1, 2])), [PLACES], Verdict(misordered=1)),
        # heard in another order
        (STORED, told(), [[PLACES[1], PLACES[0], PLACES[2]]], Verdict(misordered=2)),
        # a number is missing
        ([STORED[0], STORED[2]], told(seqs=array("Q", [1, 3])), [], Verdict(lost=1, gapped=1)),
    ],
)
def test_what_went_wrong_is_counted_by_its_kind(stored, known, heard, verdict):
    assert judge(stored, known, heard) == verdict


def test_a_senders_own_order_is_kept_unless_one_was_refused():
    turned = list(enumerate([place_of(A, 1), place_of(A, 0)], 1))
    known = Told(array("Q", [2, 1]))
    assert judge(turned, {A: known}, []) == Verdict(misordered=1)
    known.refused.add(0)
    assert judge(turned, {A: known}, []).is_clean


def test_verdicts_add_up():
    assert Verdict(1, 2, 3, 4) + Verdict(1, 1, 1, 1) == Verdict(2, 3, 4, 5)
