import pytest

from scripts.bench.figures import Figure, Rounds, percentile, summary, table

FIGURES = (
    Figure("speed_ratio", "how much faster", at_least=3.0),
    Figure("cost_ratio", "how much dearer", at_most=4.0),
    Figure("other_ratio", "only reported"),
)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 10), (0.25, 10), (0.26, 20), (0.5, 20), (0.75, 30), (0.95, 40), (1.0, 40)]
)
def test_percentile_is_the_nearest_rank(share, expected):
    assert percentile([40, 10, 30, 20], share) == expected


def test_percentile_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_target_is_reached_at_its_very_bound():
    speed, cost, other = FIGURES
    assert [speed.is_reached(value) for value in (2.99, 3.0, 3.01)] == [False, True, True]
    assert [cost.is_reached(value) for value in (3.99, 4.0, 4.01)] == [True, True, False]
    assert other.is_reached(1.0) is None


def measured() -> Rounds:
    rounds = Rounds()
    for speed, cost in ((3.5, 5.0), (2.0, 4.5), (3.1, 1.0)):
        rounds.note(speed_ratio=speed, cost_ratio=cost, seconds=speed * cost)
    return rounds


def test_a_figure_is_the_median_of_its_rounds_and_keeps_their_spread():
    rounds = measured()
    assert (rounds.median("speed_ratio"), rounds.spread("speed_ratio")) == (3.1, (2.0, 3.5))


def test_what_was_not_measured_has_no_median():
    with pytest.raises(KeyError):
        measured().median("other_ratio")


def test_the_summary_names_medians_reported_rounds_and_load():
    assert summary(measured(), FIGURES, {"senders": 64}) == {
        "speed_ratio": 3.1,
        "cost_ratio": 4.5,
        "reported": {"seconds": 9.0},
        "rounds": {"speed_ratio": [3.5, 2.0, 3.1], "cost_ratio": [5.0, 4.5, 1.0], "seconds": [17.5, 9.0, 3.1]},
        "about": {"senders": 64},
    }


def test_the_table_says_which_targets_were_reached():
    lines = [line.split() for line in table(measured(), FIGURES).splitlines() if line]
    assert lines == [
        ["median", "lowest", "highest", "to", "reach"],
        ["speed_ratio", "3.1", "2", "3.5", "≥", "3", "reached"],
        ["cost_ratio", "4.5", "1", "5", "≤", "4", "not", "reached"],
        ["seconds", "9", "3.1", "17.5"],
        ["speed_ratio:", "how", "much", "faster"],
        ["cost_ratio:", "how", "much", "dearer"],
    ]
