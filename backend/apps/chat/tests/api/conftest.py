from __future__ import annotations

import pytest

from apps.chat.tests.api.world import Team, make_team


@pytest.fixture
def team(db: None) -> Team:
    return make_team("Ana")


@pytest.fixture
def others(db: None) -> Team:
    return make_team("Bruno")
