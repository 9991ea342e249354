"""What to do when a file did not come: pure. Ages are seconds since it was (last) asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.conf import settings

from apps.chat.evolution.errors import EvolutionError

# Why a file waits that did not come for the number's, the server's or the way's sake.
AWAY: Final = "media_unreachable"
BEHIND_SECONDS: Final = 60.0
_WAIT_LEAST, _WAIT_MOST = 2.0, 300.0
_RETRY_FIRST, _RETRY_MOST = 5.0, 900.0
# Reasons that are about one file; whatever else Evolution says is about the number, the server or the way there.
_ABOUT_THE_FILE: Final = frozenset(
    {"media_not_found_yet", "media_download_failed", "media_gone", "read_timeout"}
)


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after `seconds`; `counted` against CHAT_MEDIA_MAX_TRIES."""

    reason: str
    seconds: float
    counted: bool


@dataclass(frozen=True, slots=True)
class Never:
    """Give it up."""

    reason: str


def after(error: EvolutionError, age: float, tries: int) -> Again | Never:
    """Evolution did not give the file. While its database is behind that is no failure, nor while it is away."""
    if error.reason == "media_gone":
        return Never(error.reason)
    if error.reason not in _ABOUT_THE_FILE:
        return wait(AWAY, age)
    if error.reason == "media_not_found_yet" and age < BEHIND_SECONDS:
        return wait(error.reason, age)
    return retry("media_download_failed" if error.reason == "read_timeout" else error.reason, tries)


def wait(reason: str, age: float) -> Again | Never:
    """Something is away that holds many files: no try is burnt, and we ask more rarely the longer it lasts."""
    if age > settings.CHAT_MEDIA_GIVE_UP_SECONDS:
        return Never(reason)
    return Again(reason, min(max(age / 4, _WAIT_LEAST), _WAIT_MOST), counted=False)


def retry(reason: str, tries: int) -> Again | Never:
    """This file did not come; `tries` failed before."""
    if tries + 1 >= settings.CHAT_MEDIA_MAX_TRIES:
        return Never("media_gone" if reason == "media_not_found_yet" else reason)
    return Again(reason, min(_RETRY_FIRST * 3**tries, _RETRY_MOST), counted=True)
