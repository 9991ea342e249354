import pytest

from apps.chat.evolution import jids


@pytest.mark.parametrize(
    ("typed", "digits"),
    [
        ("+55 (85) 99000-0001", "5585990000001"),
        ("5585990000001", "5585990000001"),
        (" 5511990000001 ", "5511990000001"),
        ("00 55 85 99000 0001", "5585990000001"),
        ("+55 (085) 99000-0001", "5585990000001"),
        ("\u202a+55 85 99000\u20110001\u202c", "5585990000001"),
        ("5500990000001", "5500990000001"),
        ("558590000001", "558590000001"),
        ("5215512345678", "5215512345678"),
        ("+54 9 11 1234-5678", "5491112345678"),
        ("+39 06 1234 5678", "390612345678"),
        ("+1 (415) 555-0100", "14155550100"),
        ("5511990000001@s.whatsapp.net", "5511990000001"),
        ("5511990000001:12@s.whatsapp.net", "5511990000001"),
        ("5511990000001@c.us", "5511990000001"),
        ("120363000000000001@g.us", "120363000000000001"),
        ("5511990000001-1600000000@g.us", "5511990000001-1600000000"),
        ("123456789012345@lid", "123456789012345"),
    ],
)
def test_it_reads_what_people_and_whatsapp_write(typed: str, digits: str) -> None:
    assert jids.digits_of(typed) == digits


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "   ",
        "+",
        "12",
        "ana",
        "1800FLOWERS",
        "(85) 99000-0001",
        "+55 85 99000-0001 ext 3",
        "55+85990000001",
        "5511990000001 5511990000002",
        "@s.whatsapp.net",
        "ana@s.whatsapp.net",
        "status@broadcast",
        "ana@example.com",
        "1@lid@lid",
    ],
)
def test_it_refuses_with_a_sentence(typed: str) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$|^This is .*0001\.$"):
        jids.digits_of(typed)


@pytest.mark.parametrize(
    "spellings",
    [
        (
            "5585990000001@s.whatsapp.net",
            "558590000001@s.whatsapp.net",
            "5585990000001",
            "558590000001@c.us",
            "5585990000001:12@s.whatsapp.net",
            "+55 (85) 99000-0001",
        ),
        ("5511990000001", "551190000001@s.whatsapp.net"),
        ("5215512345678@s.whatsapp.net", "525512345678"),
        ("5491112345678@s.whatsapp.net", "541112345678@s.whatsapp.net"),
        ("123456789012345:3@lid", "123456789012345@lid"),
        ("120363000000000001@g.us", "120363000000000001"),
    ],
)
def test_all_spellings_of_one_address_share_a_key(spellings: tuple[str, ...]) -> None:
    assert len({jids.canonical_key(spelling) for spelling in spellings}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5511990000001", "5511990000002"),
        ("5511990000001@s.whatsapp.net", "5511990000001@lid"),
        ("5511951234567", "551151234567"),  # a mobile issued with nine digits, and a landline
        ("14155550100", "141555501001"),
        ("123456789012345@lid", "123456789012346@lid"),
    ],
)
def test_different_people_keep_different_keys(one: str, other: str) -> None:
    assert jids.canonical_key(one) != jids.canonical_key(other)


@pytest.mark.parametrize(
    ("digits", "variants"),
    [
        ("5585990000001", {"5585990000001", "558590000001"}),
        ("558590000001", {"5585990000001", "558590000001"}),
        ("525512345678", {"5215512345678", "525512345678"}),
        ("5491112345678", {"5491112345678", "541112345678"}),
        ("551151234567", {"551151234567"}),
        ("14155550100", {"14155550100"}),
    ],
)
def test_variants_start_with_the_given_number(digits: str, variants: set[str]) -> None:
    found = jids.number_variants(digits)
    assert found[0] == digits
    assert set(found) == variants


def test_it_tells_kinds_apart() -> None:
    assert jids.is_group("120363000000000001@g.us")
    assert jids.is_group("120363000000000001")
    assert jids.is_lid("1:2@lid")
    assert jids.is_phone("5511990000001")
    assert jids.is_phone(jids.phone_jid("5511990000001"))
    assert jids.is_status_broadcast("status@broadcast")
    assert jids.is_newsletter("120363000000000002@newsletter")
    assert not jids.is_group("5511990000001@s.whatsapp.net")
    assert not jids.is_phone("120363000000000001@g.us")


@pytest.mark.parametrize(
    "address", ["5511990000001", "5511990000001@s.whatsapp.net", "1@lid", "120363000000000001@g.us"]
)
def test_addresses_that_can_be_sent_to(address: str) -> None:
    assert jids.is_sendable(address)


@pytest.mark.parametrize(
    "address", ["", "ana", "@s.whatsapp.net", "123", "status@broadcast", "1@newsletter", "\ud8001"]
)
def test_garbage_that_evolution_would_accept(address: str) -> None:
    assert not jids.is_sendable(address)
