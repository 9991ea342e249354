"""Spreads and ratios."""

from __future__ import annotations

import pytest

from bench.figures import Samples, Spread, percentile, short


def test_a_ratio_is_taken_round_by_round() -> None:
    samples = Samples()
    for turn, (ours, theirs) in enumerate([(100, 10), (60, 5), (10, 1)]):
        samples.put("ours", turn, ours)
        samples.put("theirs", turn, theirs)
    assert samples.ratio("ours", "theirs") == Spread(10, 10, 12)


def test_a_round_in_which_one_of_the_two_failed_does_not_count() -> None:
    samples = Samples()
    samples.put("ours", 0, 8)
    samples.put("ours", 1, 9)
    samples.put("theirs", 1, 3)
    assert samples.ratio("ours", "theirs") == Spread(3, 3, 3)
    assert samples.difference("ours", "theirs") == Spread(6, 6, 6)


def test_what_was_not_measured_has_no_figure() -> None:
    assert Samples().spread("ours") is None
    assert Samples().ratio("ours", "theirs") is None


@pytest.mark.parametrize(("share", "wanted"), [(0.0, 1), (0.5, 51), (0.95, 96), (1.0, 100)])
def test_a_percentile_is_one_of_the_values(share: float, wanted: float) -> None:
    assert percentile(list(range(100, 0, -1)), share) == wanted


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(12345.6, "12,300"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (-29.8, "-29.8")],
)
def test_numbers_have_three_digits_that_count(value: float, wanted: str) -> None:
    assert short(value) == wanted
