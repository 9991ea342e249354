from hypothesis import given
from hypothesis import strategies as st

from apps.chat.evolution.idle import IdleStacks


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_freshest_of_the_same_place_comes_first() -> None:
    stacks: IdleStacks[object] = IdleStacks(4)
    a, b, elsewhere = object(), object(), object()
    stacks.put("x", a)
    stacks.put("x", b)
    stacks.put("y", elsewhere)
    assert [stacks.take("x"), stacks.take("x"), stacks.take("x")] == [b, a, None]
    assert stacks.take("y") is elsewhere
    assert len(stacks) == 0


def test_what_is_too_old_comes_out_the_oldest_first() -> None:
    clock = Clock()
    stacks: IdleStacks[object] = IdleStacks(4, clock)
    things = [object(), object(), object()]
    for thing in things:
        stacks.put("x", thing)
        clock.now += 2
    assert [stacks.pop_expired(), stacks.pop_expired(), stacks.pop_expired()] == [things[0], things[1], None]
    assert stacks.take("x") is things[2]


@given(st.lists(st.sampled_from(["take x", "take y", "put x", "put y", "expire", "wait"]), max_size=60))
def test_nothing_is_lost_or_handed_out_twice(steps: list[str]) -> None:
    clock = Clock()
    stacks: IdleStacks[object] = IdleStacks(4, clock)
    kept: dict[int, tuple[str, object]] = {}
    for step in steps:
        verb, _, place = step.partition(" ")
        clock.now += 1 if verb == "wait" else 0
        if verb == "put":
            thing = object()
            stacks.put(place, thing)
            kept[id(thing)] = (place, thing)
        elif verb in ("take", "expire"):
            found = stacks.take(place) if verb == "take" else stacks.pop_expired()
            where = kept.pop(id(found))[0] if found else place
            assert where == place or verb == "expire"
    assert len(stacks) == len(kept)
