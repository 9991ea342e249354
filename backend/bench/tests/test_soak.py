"""What a soak's samples say: a line through noise, what grew, and the verdict."""

from __future__ import annotations

import random

import pytest

from bench import soak
from bench.soak import Finding, Sample, Slope


def sample(at: float, **changed: object) -> Sample:
    """A quiet look, but for what the test changes."""
    values: dict[str, object] = {
        "at": at,
        "memory_mb": {"server": 150.0, "worker": 120.0},
        "files": {"server": 40, "worker": 20},
        "cpu": {"server": 0.3, "worker": 0.2, "machine": 0.5},
        "posted": 450,
        "api_p50": 12.0,
        "api_p95": 30.0,
        "provider_p50": 20.0,
        "provider_p95": 60.0,
        "streams": 0,
        "pending": 0,
        "lists": 0,
        "journal": 2,
        "connections": 9,
    }
    return Sample(**{**values, **changed})  # type: ignore[arg-type]


def half_an_hour(**changed: object) -> list[Sample]:
    """Sixty looks; what is changed is a function of the seconds."""
    return [
        sample(at, **{name: value(at) if callable(value) else value for name, value in changed.items()})
        for at in (30.0 * n for n in range(1, 61))
    ]


def named(found: list[Finding], name: str) -> Finding:
    return next(one for one in found if one.name == name)


def test_the_slope_of_a_straight_line_is_exact() -> None:
    assert soak.slope([(0, 1), (2, 5), (4, 9)]) == Slope(2.0, 0.0)


def test_the_slope_of_noise_is_within_three_of_its_errors() -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    line = soak.slope([(x, 0.5 * x + draw.gauss(0, 1)) for x in range(200)])
    assert line.error > 0
    assert abs(line.rise - 0.5) < 6 * line.error


@pytest.mark.parametrize("points", [[(0, 1), (1, 2)], [(1, 1), (1, 2), (1, 3)]])
def test_a_slope_needs_three_points_at_different_places(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="slope"):
        soak.slope(points)


@pytest.mark.parametrize(
    ("mb_in_10_minutes", "grew"), [(0.0, False), (1.9, False), (2.1, True), (-5.0, False)]
)
def test_memory_that_rises_two_megabytes_in_ten_minutes_grew(mb_in_10_minutes: float, grew: bool) -> None:
    samples = half_an_hour(memory_mb=lambda at: {"server": 100 + mb_in_10_minutes * at / 600})
    found = soak.memory("server", [(one.at, one.memory_mb["server"]) for one in samples])
    assert found.grew is grew
    assert f"{mb_in_10_minutes:+.2f} MB" in found.told


def test_the_first_third_may_fill_what_is_meant_to_fill() -> None:
    points = [(30.0 * n, 100.0 + min(n, 20)) for n in range(1, 61)]
    assert soak.memory("server", points).grew is False


def test_a_short_run_tells_the_slope_and_judges_nothing() -> None:
    found = soak.memory("server", [(10.0 * n, 100.0 + n) for n in range(12)])
    assert found.grew is None
    assert "too short" in found.told


@pytest.mark.parametrize(("last", "grew"), [(12.0, False), (15.0, False), (16.0, True)])
def test_latency_may_end_at_most_a_third_above_its_beginning(last: float, grew: bool) -> None:
    samples = half_an_hour(api_p50=lambda at: last if at > 1200 else 12.0)
    assert named(soak.findings(samples), "API p50").grew is grew


def test_latency_on_a_full_machine_is_told_and_not_judged() -> None:
    cpu = {"server": 0.3, "worker": 0.2, "machine": 0.99}
    samples = half_an_hour(api_p50=lambda at: 40.0 if at > 1200 else 12.0, cpu=cpu)
    found = named(soak.findings(samples), "API p50")
    assert (found.grew, "machine was full" in found.told) == (None, True)


@pytest.mark.parametrize(("last", "grew"), [(0.3, False), (0.38, False), (0.45, True)])
def test_a_load_that_costs_more_and_more_grew(last: float, grew: bool) -> None:
    samples = half_an_hour(
        cpu=lambda at: {"server": last if at > 1200 else 0.3, "worker": 0.02, "machine": 0.5}
    )
    assert named(soak.findings(samples), "processor time of the server").grew is grew


def test_twice_as_much_of_almost_nothing_is_noise() -> None:
    assert soak.cost("processor time", [0.01] * 5 + [0.02] * 5).grew is False


def test_samples_in_which_nothing_was_sent_have_no_latency() -> None:
    samples = half_an_hour(provider_p50=None)
    assert named(soak.findings(samples), "to WhatsApp p50").grew is None


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("webhooks to apply", {"journal": lambda at: int(at)}),
        ("stream entries", {"streams": lambda at: int(at)}),
        ("list items", {"lists": lambda at: int(at)}),
        ("database connections", {"connections": lambda at: 5 + int(at / 60)}),
        ("open files of the worker", {"files": lambda at: {"server": 40, "worker": 20 + int(at / 60)}}),
    ],
)
def test_what_piles_up_grew(name: str, changed: dict[str, object]) -> None:
    found = soak.findings(half_an_hour(**changed))
    assert [one.name for one in found if one.grew] == [name]


def test_files_that_come_and_go_are_no_leak() -> None:
    busy = half_an_hour(files=lambda at: {"server": 40 + int(at) % 7 * 9 * (at > 900), "worker": 20})
    assert named(soak.findings(busy), "open files of the server").grew is False


@pytest.mark.parametrize(("left", "grew"), [(42, False), (55, True)])
def test_what_is_open_at_rest_decides(left: int, grew: bool) -> None:
    busy = half_an_hour(files=lambda at: {"server": 40 + int(at / 60), "worker": 20})
    rest = sample(1900.0, files={"server": left, "worker": 20})
    assert named(soak.findings(busy, rest), "open files of the server").grew is grew


def test_a_steady_half_hour_is_steady() -> None:
    found = soak.findings(half_an_hour())
    assert all(one.grew is False for one in found)
    assert soak.verdict(found, []) == "verdict: steady, nothing lost, doubled or out of order"


def test_the_verdict_names_what_is_wrong_and_what_is_unsure() -> None:
    grew, unsure = Finding("API p50", True, "1 to 9 ms"), Finding("memory of the worker", None, "too short")
    assert (
        soak.verdict([grew, unsure], ["lost = 1"]) == "verdict: NOT STEADY: lost = 1; API p50 grew: 1 to 9 ms"
    )
    assert soak.verdict([unsure], []).endswith("not judged: memory of the worker")
    assert soak.verdict([], [], interrupted=True).endswith("; interrupted")


def test_no_samples_are_no_findings_of_growth() -> None:
    assert all(one.grew is None for one in soak.findings([]))


def test_a_line_of_the_table_tells_what_was_looked_at() -> None:
    told = soak.line(sample(90.0, api_p50=None))
    assert "1.5" in told
    assert "150.0   40  30%" in told
    assert len(told) == len(soak.head(["server", "worker"]))
    assert "20.0/60.0" in told
