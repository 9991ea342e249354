"""What the readers of the environment accept, and what they say to a person who got it wrong."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from alrea_sense import env

NAME = "ALREA_TEST_VARIABLE"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv(NAME, raising=False)
    return monkeypatch


def test_unset_and_empty_mean_the_default(given: pytest.MonkeyPatch) -> None:
    for prepare in (lambda: None, lambda: given.setenv(NAME, ""), lambda: given.setenv(NAME, "  ")):
        prepare()
        assert env.text(NAME, "fallback") == "fallback"
        assert env.number(NAME, 1.5) == 1.5
        assert env.whole(NAME, 7) == 7
        assert env.listing(NAME, ["a"]) == ["a"]
        assert env.choice(NAME, "x", ["x", "y"]) == "x"


@pytest.mark.parametrize("raw", ["1", "true", "YES", " on "])
def test_a_flag_reads_yes(given: pytest.MonkeyPatch, raw: str) -> None:
    given.setenv(NAME, raw)
    assert env.flag(NAME, False) is True


@pytest.mark.parametrize("raw", ["0", "False", "no", "off", ""])
def test_a_flag_reads_no(given: pytest.MonkeyPatch, raw: str) -> None:
    given.setenv(NAME, raw)
    assert env.flag(NAME, True) is False


def test_a_flag_refuses_other_words(given: pytest.MonkeyPatch) -> None:
    given.setenv(NAME, "maybe")
    with pytest.raises(ImproperlyConfigured, match=f"{NAME} must be 1 or 0"):
        env.flag(NAME, False)


@pytest.mark.parametrize("raw", ["nan", "-1", "11", "inf", "-inf"])
def test_a_number_outside_its_bounds_is_refused(given: pytest.MonkeyPatch, raw: str) -> None:
    given.setenv(NAME, raw)
    with pytest.raises(ImproperlyConfigured, match=f"{NAME} must be between 0 and 10"):
        env.number(NAME, 1, most=10)


def test_a_number_that_is_none_is_refused(given: pytest.MonkeyPatch) -> None:
    given.setenv(NAME, "ten")
    with pytest.raises(ImproperlyConfigured, match=f"{NAME} must be a number such as 3, not 'ten'"):
        env.number(NAME, 3)


def test_a_whole_number_refuses_fractions(given: pytest.MonkeyPatch) -> None:
    given.setenv(NAME, "2.5")
    with pytest.raises(ImproperlyConfigured, match=f"{NAME} must be a whole number"):
        env.whole(NAME, 3)
    given.setenv(NAME, "2.0")
    assert env.whole(NAME, 3) == 2


def test_a_listing_drops_blanks(given: pytest.MonkeyPatch) -> None:
    given.setenv(NAME, " a, ,b ,")
    assert env.listing(NAME, []) == ["a", "b"]


def test_a_choice_names_what_is_possible(given: pytest.MonkeyPatch) -> None:
    given.setenv(NAME, "pigeon")
    with pytest.raises(ImproperlyConfigured, match=f"{NAME} must be one of stream, list, not 'pigeon'"):
        env.choice(NAME, "stream", ["stream", "list"])
