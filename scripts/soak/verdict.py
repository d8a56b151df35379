"""What is right after a run: pure, over what the store holds, what the senders were told, and what the members heard.

A message is one number, `place_of(sender, number)`: who said it, and as their how many-eth.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

_NUMBER_BITS: Final = 32


def place_of(sender: int, number: int) -> int:
    """One message of all; numbers of a sender count from 0."""
    return sender << _NUMBER_BITS | number


def sender_of(place: int) -> int:
    """Who said it."""
    return place >> _NUMBER_BITS


def number_of(place: int) -> int:
    """As their how many-eth."""
    return place & ((1 << _NUMBER_BITS) - 1)


@dataclass
class Told:
    """What one sender knows of their own messages, by their number: the seq that was acknowledged, 0 for none.

    `refused` are those that were refused once (and said again): their order among the sender's own is no promise.
    `contradictions` counts acks that cannot be: another seq than before, or a repeat that was none.
    """

    seqs: array = field(default_factory=lambda: array("Q"))  # type: ignore[type-arg]  # generic only for the checker
    refused: set[int] = field(default_factory=set)
    contradictions: int = 0


@dataclass(frozen=True)
class Verdict:
    """How many messages went wrong, in four ways; all 0 is the promise."""

    lost: int = 0
    duplicated: int = 0
    misordered: int = 0
    gapped: int = 0

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(*(mine + theirs for mine, theirs in zip(self.counts(), other.counts(), strict=True)))

    def counts(self) -> tuple[int, ...]:
        """In the order of the fields."""
        return tuple(asdict(self).values())

    @property
    def is_clean(self) -> bool:
        """Whether nothing went wrong."""
        return not any(self.counts())


def judge(stored: Sequence[tuple[int, int]], told: Mapping[int, Told], heard: Iterable[Sequence[int]]) -> Verdict:
    """One conversation: (seq, place) as stored in the order of seq; the senders' knowledge; what each listener holds.

    Lost: acknowledged and not stored, or stored and not heard by a listener. Duplicated: stored or heard again, or
    acknowledged in contradiction. Misordered: under another seq than acknowledged or heard, or after a later one of the
    same sender. Gapped: a seq that is missing below the highest.
    """
    seqs = {place: seq for seq, place in stored}
    verdict = Verdict(
        duplicated=len(stored) - len(seqs),
        misordered=_own_order_broken(stored, told),
        gapped=(stored[-1][0] if stored else 0) - len({seq for seq, _ in stored}),
    )
    for sender, known in told.items():
        verdict += _against_acks(sender, known, seqs)
    for listener in heard:
        verdict += _against_heard(listener, seqs)
    return verdict


def _against_acks(sender: int, known: Told, seqs: Mapping[int, int]) -> Verdict:
    lost = moved = 0
    for number, acked in enumerate(known.seqs):
        if acked:
            found = seqs.get(place_of(sender, number))
            lost += found is None
            moved += found is not None and found != acked
    return Verdict(lost=lost, misordered=moved, duplicated=known.contradictions)


def _against_heard(listener: Sequence[int], seqs: Mapping[int, int]) -> Verdict:
    once = set(listener)
    moved = sum(seqs.get(place, seq) != seq for seq, place in enumerate(listener, 1))
    return Verdict(lost=len(seqs.keys() - once), duplicated=len(listener) - len(once), misordered=moved)


def _own_order_broken(stored: Sequence[tuple[int, int]], told: Mapping[int, Told]) -> int:
    last: dict[int, int] = {}
    broken = 0
    for _, place in stored:
        sender, number = sender_of(place), number_of(place)
        known = told.get(sender)
        if known is not None and number not in known.refused:
            broken += number < last.get(sender, -1)
            last[sender] = max(number, last.get(sender, -1))
    return broken
