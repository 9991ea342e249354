"""What the page does while the server is away, and when it is back."""

from __future__ import annotations

import random

import pytest
from playwright.async_api import expect

from apps.chat.tests.web.conftest import Inbox

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


async def test_a_lost_connection_is_told_and_nothing_is_missed(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    message = inbox.stub.message(ana, "olá", status="submitted")
    page = await inbox.open(f"/#/c/{ana['id']}")
    await expect(page.locator(".status")).to_have_text("Repassada ao WhatsApp")
    inbox.stub.refuse_sockets = True
    await inbox.stub.hang_up()
    await expect(page.locator(".banner")).to_contain_text("Reconectando. O que você enviar fica guardado.")
    inbox.stub.lose(
        "message_status_update",
        message_id=message["id"],
        conversation_id=ana["id"],
        status="seen",
        attempts=1,
    )
    reply = inbox.stub.message(ana, "oi!")
    inbox.stub.lose("message_received", conversation_id=ana["id"], message=reply, conversation=ana)
    inbox.stub.refuse_sockets = False
    await page.get_by_role("button", name="Reconectar agora").click()
    await expect(page.locator(".status")).to_have_text("Lida")
    await expect(page.locator(".message")).to_have_count(2)
    await expect(page.locator(".banner")).to_have_count(0)
    assert [frame for frame in inbox.stub.socket_says if frame["type"] == "resume"] == [
        {"type": "resume", "last_seq": 1000}
    ]


async def test_when_what_was_missed_cannot_be_told_everything_is_read_again(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    page = await inbox.open(f"/#/c/{ana['id']}")
    await expect(page.locator("textarea")).to_be_focused()
    await inbox.stub.push("typing", conversation_id="x")
    inbox.stub.replays = False
    inbox.stub.message(ana, "enquanto isso")
    inbox.stub.lose("lost")
    await inbox.stub.push("noticed")
    await expect(page.locator(".message")).to_contain_text("enquanto isso")


async def test_a_hole_in_the_numbers_is_filled(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    page = await inbox.open(f"/#/c/{ana['id']}")
    await expect(page.locator("textarea")).to_be_focused()
    first = inbox.stub.message(ana, "primeira", ago=1)
    inbox.stub.lose("message_received", conversation_id=ana["id"], message=first, conversation=ana)
    await inbox.stub.receive(ana, "segunda")
    await expect(page.locator(".message .text")).to_have_text(["primeira", "segunda"])


@pytest.mark.parametrize(("code", "words"), [(4001, "Sua sessão terminou"), (4003, "não tem mais acesso")])
async def test_who_may_not_come_in_is_told_why(inbox: Inbox, code: int, words: str) -> None:
    inbox.stub.close_code = code
    page = await inbox.open()
    await expect(page.locator(".banner")).to_contain_text(words)


async def test_a_session_that_ended_keeps_what_was_written(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    inbox.stub.answers = [401]
    page = await inbox.open(f"/#/c/{ana['id']}")
    await page.locator("textarea").fill("importante")
    await page.keyboard.press("Enter")
    await expect(page.locator(".banner.bad")).to_contain_text("O que você escreveu está guardado")
    await expect(page.get_by_role("link", name="Entrar de novo")).to_have_attribute("href", "/login/")
    await page.reload()
    await expect(page.locator(".message.outgoing .status")).to_have_text("Na fila")


async def test_a_disconnected_number_is_told(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    page = await inbox.open(f"/#/c/{ana['id']}")
    await expect(page.locator("textarea")).to_be_focused()
    instance = inbox.stub.instances[0] = inbox.stub.instances[0] | {"connection": "close"}
    await inbox.stub.push("instance_status_changed", instance=instance)
    await expect(page.locator(".thread .banner")).to_contain_text("O número vendas está desconectado")
    await expect(page.locator(".away-note")).to_contain_text("vendas")
    await inbox.stub.push(
        "instance_status_changed", instance=instance | {"connection": "open", "gate": "frozen"}
    )
    await expect(page.locator(".thread .banner")).to_contain_text("O envio por vendas está em pausa")
    await inbox.stub.push(
        "instance_status_changed", instance=instance | {"connection": "open", "gate": "open"}
    )
    await expect(page.locator(".thread .banner")).to_have_count(0)
    await expect(page.locator(".away-note")).to_have_count(0)


async def test_dropped_at_random_the_page_ends_with_what_the_server_has(inbox: Inbox) -> None:
    seed = random.randrange(2**31)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ana = inbox.stub.conversation("Ana")
    page = await inbox.open(f"/#/c/{ana['id']}")
    await expect(page.locator("textarea")).to_be_focused()
    expected = []
    for n in range(40):
        text = f"mensagem {n}"
        if chance.random() < 0.3:
            message = inbox.stub.message(ana, text)
            inbox.stub.lose("message_received", conversation_id=ana["id"], message=message, conversation=ana)
        else:
            await inbox.stub.receive(ana, text)
        if chance.random() < 0.15:
            await inbox.stub.hang_up()
        expected.append(text)
    await inbox.stub.hang_up()
    await expect(page.locator(".message .text")).to_have_text(expected)
