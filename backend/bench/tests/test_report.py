"""Goals and the document."""

from __future__ import annotations

from bench import report
from bench.figures import Samples
from bench.goals import GOALS


def samples(**values: float) -> Samples:
    """One round."""
    made = Samples()
    for name, value in values.items():
        made.put(name.replace("__", "."), 0, value)
    return made


def test_every_goal_of_the_list_is_there() -> None:
    assert {one.number for one in GOALS} == {f"F{n}" for n in range(1, 11)}


def test_a_least_and_a_most_are_held_the_right_way() -> None:
    by = {(one.number, one.sample, one.kind): one for one in GOALS}
    sends, answer = by["F3", "send.ours", "value"], by["F4", "api.p95", "value"]
    assert (sends.met(samples(send__ours=999)), sends.met(samples(send__ours=1000))) == (False, True)
    assert (answer.met(samples(api__p95=25)), answer.met(samples(api__p95=26))) == (True, False)
    assert sends.met(samples()) is None


def test_a_missed_goal_is_told_with_its_reason() -> None:
    (sentence,) = report.missed(samples(send__ours=500))
    assert sentence.startswith("F3, whole send path, one process: 500 sends/s, wanted at least 1000 sends/s.")


def test_what_people_wrote_outlives_the_next_run() -> None:
    run = report.Run(samples(send__ours=500), ["a machine"], rounds=1, quick=True)
    first = report.markdown(run, "\nOur own words.\n")
    assert report.markdown(run, report.kept_part(first)) == first
    assert "Our own words." in first


def test_the_document_is_lines_that_fit_a_table() -> None:
    text = report.markdown(report.Run(samples(send__ours=1200), ["a machine"], rounds=3, quick=False))
    rows = [line for line in text.splitlines() if line.startswith("| F")]
    assert len(rows) == len(GOALS)
    assert {line.count("|") for line in rows} == {6}
    assert "| F3 | whole send path, one process | at least 1000 sends/s | 1,200 sends/s | met |" in rows
