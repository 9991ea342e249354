"""Whatever reason a message can show has words in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apps.chat.reasons import WORDS, in_words

CHAT = Path(__file__).resolve().parents[1]
WRITTEN = re.compile(r"""reason=["']([a-z_]+)["']|reason = '([a-z_]+)'|_held\(step, "([a-z_]+)"\)""")


def used() -> set[str]:
    """Reasons the engine writes, as its source spells them."""
    text = "".join(path.read_text() for path in (CHAT / "delivery").glob("*.py"))
    return {word for found in WRITTEN.findall(text) for word in found if word}


@pytest.mark.any_database
def test_every_reason_of_the_engine_has_words() -> None:
    assert len(used()) > 5
    assert used() <= WORDS.keys()


@pytest.mark.any_database
@pytest.mark.parametrize("reason", sorted(WORDS))
def test_words_are_sentences_in_both_languages(reason: str) -> None:
    words = in_words(reason)
    assert words is not None
    assert all(text[0].isupper() and text.endswith(".") for text in words.values())
    assert words["en"] != words["pt"]
