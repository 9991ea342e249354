from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from apps.chat.tests.flow.world import World, build


@pytest.fixture
def world(child_env: Mapping[str, str]) -> Iterator[World]:
    with build(child_env) as built:
        yield built
