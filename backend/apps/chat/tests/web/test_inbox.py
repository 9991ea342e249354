"""What an agent does all day, in a real browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from apps.chat.tests.web.conftest import Inbox
from apps.chat.tests.web.stub import ME, TENANT, stamp

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

COMPOSER = "textarea"


async def test_the_list_shows_who_wrote_what_and_when(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana Reis", unread_count=3)
    inbox.stub.message(ana, "Oi, tudo bem?", ago=5)
    inbox.stub.message(inbox.stub.conversation(""), "sem nome", ago=60)
    page = await inbox.open()
    await expect(page.locator("a.row")).to_have_count(2)
    first = page.locator("a.row").first
    await expect(first).to_contain_text("Ana Reis")
    await expect(first).to_contain_text("Oi, tudo bem?")
    await expect(first.locator(".badge")).to_contain_text("3 não lidas")
    await expect(page.locator("a.row").last).to_contain_text("+55 11 91234-5602")
    await expect(page).to_have_title("(3) ALREA Sense")


async def test_an_open_and_visible_conversation_is_read(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana", unread_count=1)
    inbox.stub.message(ana, "oi", ago=1)
    page = await inbox.open()
    async with page.expect_request("**/mark_as_read/"):
        await page.locator("a.row").click()
    await expect(page.locator(".badge")).to_have_count(0)
    await expect(page.locator(".unread-line")).to_contain_text("1 mensagem não lida")
    async with page.expect_request("**/mark_as_read/"):
        await inbox.stub.receive(ana, "e agora?")
    await expect(page.locator(".message.incoming")).to_have_count(2)
    await expect(page).to_have_title("ALREA Sense")


async def test_messages_appear_live_and_are_announced(inbox: Inbox) -> None:
    ana, bia = inbox.stub.conversation("Ana"), inbox.stub.conversation("Bia")
    inbox.stub.message(ana, "primeira", ago=9)
    page = await inbox.open(f"/#/c/{ana['id']}")
    await expect(page.locator(".message")).to_have_count(1)
    await inbox.stub.receive(ana, "segunda")
    await expect(page.locator(".message").last).to_contain_text("segunda")
    await expect(page.locator("[aria-live]")).to_have_text("Nova mensagem de Ana: segunda")
    await inbox.stub.receive(bia, "olá")
    await expect(page.locator("a.row").first).to_contain_text("Bia")
    await expect(page.locator("a.row").first.locator(".badge")).to_contain_text("1")
    await expect(page.locator("[aria-live]")).to_have_text("Nova mensagem de Bia em outra conversa")
    new = inbox.stub.conversation("Caio")
    await inbox.stub.receive(new, "sou novo")
    await expect(page.locator("a.row").first).to_contain_text("Caio")


async def test_enter_sends_and_the_bubble_follows_its_message(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    page = await inbox.open(f"/#/c/{ana['id']}")
    composer = page.locator(COMPOSER)
    await expect(composer).to_be_focused()
    await composer.press_sequentially("linha um")
    await composer.press("Shift+Enter")
    await composer.press_sequentially("linha dois")
    await composer.press("Enter")
    bubble = page.locator(".message.outgoing")
    await expect(bubble.locator(".text")).to_have_text("linha um\nlinha dois")
    await expect(composer).to_have_value("")
    await expect(bubble).to_contain_text("Na fila")
    (message,) = inbox.stub.messages[ana["id"]]
    assert inbox.stub.posted("/messages/")[0]["client_message_id"] == message["client_message_id"]
    steps = {
        "sending": "Enviando",
        "submitted": "Repassada",
        "sent": "Enviada",
        "delivered": "Entregue",
        "seen": "Lida",
    }
    for status, words in steps.items():
        await inbox.stub.update(message, status, attempts=1)
        await expect(bubble.locator(".status")).to_contain_text(words)
    await expect(bubble).to_have_count(1)


async def test_a_lost_answer_is_asked_for_again_and_sends_nothing_twice(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    inbox.stub.answers = [0, 503]
    page = await inbox.open(f"/#/c/{ana['id']}")
    await page.locator(COMPOSER).fill("uma vez só")
    await page.keyboard.press("Enter")
    await page.locator(COMPOSER).fill("e depois esta")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message.outgoing .status")).to_have_text(["Na fila", "Na fila"])
    await expect(page.locator(".message.outgoing .text")).to_have_text(["uma vez só", "e depois esta"])
    assert [message["content"] for message in inbox.stub.messages[ana["id"]]] == [
        "uma vez só",
        "e depois esta",
    ]
    ids = [body["client_message_id"] for body in inbox.stub.posted("/messages/")]
    assert ids[0] == ids[1] == ids[2] != ids[3]


async def test_what_was_written_without_a_connection_survives_a_reload(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    page = await inbox.open(f"/#/c/{ana['id']}")
    await expect(page.locator(COMPOSER)).to_be_focused()
    await page.route("**/api/chat/messages/", lambda route: route.abort())
    await page.locator(COMPOSER).fill("guarde isto")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message.outgoing")).to_contain_text("Guardada aqui")
    await page.reload()
    await expect(page.locator(".message.outgoing")).to_contain_text("Guardada aqui")
    await page.unroute("**/api/chat/messages/")
    await expect(page.locator(".message.outgoing .status")).to_have_text("Na fila")
    assert len(inbox.stub.messages[ana["id"]]) == 1


async def test_a_refused_message_says_why_and_can_be_removed(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    inbox.stub.answers = [400]
    page = await inbox.open(f"/#/c/{ana['id']}")
    await page.locator(COMPOSER).fill("ruim")
    await page.keyboard.press("Enter")
    await expect(page.locator(".strip")).to_contain_text("Não foi aceito: The text cannot be sent as given.")
    await page.get_by_role("button", name="Remover").click()
    await expect(page.locator(".message")).to_have_count(0)


@pytest.mark.parametrize(
    ("status", "words", "button", "path", "body"),
    [
        ("queued", "Na fila", "Cancelar", "cancel/", {}),
        ("retrying", "Nova tentativa em", "Cancelar", "cancel/", {}),
        ("verifying", "Verificando se saiu", "", "", {}),
        ("held", "Aguardando você", "Enviar mesmo assim", "release/", {"action": "send"}),
        ("held", "Aguardando você", "Descartar", "release/", {"action": "discard"}),
        ("failed", "Não enviada", "Enviar de novo", "retry-send/", {"failure_gen": 4}),
        ("cancelled", "Cancelada", "", "", {}),
    ],
)
async def test_trouble_says_why_and_offers_what_can_be_done(
    inbox: Inbox, status: str, words: str, button: str, path: str, body: dict[str, object]
) -> None:
    ana = inbox.stub.conversation("Ana")
    inbox.stub.message(
        ana,
        "texto",
        status=status,
        failure_gen=4,
        attempts=2,
        reason="why",
        reason_text={"en": "Because.", "pt": "Porque sim."},
        next_attempt_at=stamp(datetime.now(UTC) + timedelta(seconds=60)),
    )
    page = await inbox.open(f"/#/c/{ana['id']}")
    bubble = page.locator(".message.outgoing")
    await expect(bubble).to_contain_text(words)
    await expect(bubble).to_contain_text("Porque sim.")
    if button:
        await bubble.get_by_role("button", name=button).click()
        await expect(bubble).to_have_attribute(
            "data-status", "queued" if path == "retry-send/" or body == {"action": "send"} else "cancelled"
        )
        assert inbox.stub.posted(path) == [body]
    else:
        await expect(bubble.locator(".strip button")).to_have_count(0)


async def test_the_next_try_counts_down_by_the_servers_clock(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    at = stamp(datetime.now(UTC) + timedelta(seconds=30))
    inbox.stub.message(ana, "texto", status="retrying", next_attempt_at=at)
    page = await inbox.open()
    await page.clock.install(time=datetime.now(UTC) + timedelta(minutes=7))  # this computer's clock is wrong
    await page.goto(f"{inbox.url}/#/c/{ana['id']}")
    await page.reload()
    await expect(page.locator(".strip .status")).to_contain_text("Nova tentativa em 2")
    await page.clock.fast_forward(40_000)
    await expect(page.locator(".strip .status")).to_contain_text("Tentando de novo")


async def test_a_failure_elsewhere_is_shown_and_leads_there(inbox: Inbox) -> None:
    ana, bia = inbox.stub.conversation("Ana"), inbox.stub.conversation("Bia")
    message = inbox.stub.message(bia, "texto", status="sending")
    page = await inbox.open(f"/#/c/{ana['id']}")
    await expect(page.locator(COMPOSER)).to_be_focused()
    await expect(page.locator(".rows")).to_contain_text("Bia")
    await inbox.stub.update(message, "failed")
    await expect(page.locator(".toast")).to_contain_text("Uma mensagem para Bia não foi enviada")
    await page.get_by_role("link", name="Mostrar").click()
    await expect(page.locator(".thread-head h2")).to_have_text("Bia")
    await expect(page.locator(".toast")).to_have_count(0)


async def test_colleagues_see_who_is_writing(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    page = await inbox.open(f"/#/c/{ana['id']}")
    await page.locator(COMPOSER).press_sequentially("abc")
    await inbox.stub.push(
        "typing", conversation_id=ana["id"], user={"id": ME["id"], "name": "eu"}, is_typing=True
    )
    await inbox.stub.push(
        "typing", conversation_id=ana["id"], user={"id": "x", "name": "Rafael"}, is_typing=True
    )
    await expect(page.locator(".typing")).to_have_text("Rafael está escrevendo…")
    await inbox.stub.push("typing", conversation_id=ana["id"], user=None, is_typing=True)
    await expect(page.locator(".typing")).to_have_text("digitando…")
    await inbox.stub.receive(ana, "pronto")
    await expect(page.locator(".typing")).to_have_count(0)
    said = [frame for frame in inbox.stub.socket_says if frame["type"] == "typing"]
    assert said == [{"type": "typing", "conversation_id": ana["id"], "is_typing": True}]


async def test_edits_deletions_groups_and_unknown_kinds(inbox: Inbox) -> None:
    group = inbox.stub.conversation("Entregas", conversation_type="group")
    edited = inbox.stub.message(group, "antes", author_name="Seu Jorge")
    deleted = inbox.stub.message(group, "segredo", author_name="Bia")
    inbox.stub.message(group, "olha", kind="image", status="sent", origin="phone", reply_to=edited["id"])
    inbox.stub.message(group, "", kind="poll_of_the_future")
    page = await inbox.open(f"/#/c/{group['id']}")
    messages = page.locator(".message")
    await expect(messages).to_have_count(4)
    await inbox.stub.push(
        "message_edited",
        message_id=edited["id"],
        conversation_id=group["id"],
        content="depois",
        edited_at=stamp(inbox.stub.now),
    )
    await inbox.stub.push(
        "message_deleted",
        message_id=deleted["id"],
        conversation_id=group["id"],
        deleted_at=stamp(inbox.stub.now),
    )
    await expect(messages.nth(0)).to_contain_text("Seu Jorge")
    await expect(messages.nth(0)).to_contain_text("depois")
    await expect(messages.nth(0)).to_contain_text("editada")
    await expect(messages.nth(1)).to_contain_text("Esta mensagem foi apagada")
    await expect(messages.nth(1)).not_to_contain_text("segredo")
    await expect(messages.nth(2)).to_contain_text("pelo celular")
    await expect(messages.nth(2)).to_contain_text("Foto")
    await expect(messages.nth(2).locator(".quote")).to_contain_text("depois")
    await expect(messages.nth(3)).to_contain_text("Abra no celular")


async def test_a_conversation_begins_with_a_phone_number(inbox: Inbox) -> None:
    page = await inbox.open()
    await expect(page.locator(".list .empty")).to_contain_text("Nenhuma conversa aberta")
    await page.get_by_role("button", name="Nova conversa").click()
    field = page.get_by_label("Número de telefone")
    await expect(field).to_be_focused()
    await field.fill("12")
    await page.keyboard.press("Enter")
    await expect(page.locator(".dialog .hint")).to_contain_text("de 8 a 15 dígitos")
    await field.fill("+55 (11) 98888-7777")
    await page.keyboard.press("Enter")
    await expect(page.locator(".thread-head h2")).to_have_text("+55 11 98888-7777")
    await expect(page.locator("dialog")).to_have_count(0)
    assert inbox.stub.posted("start/") == [{"contact_phone": "+5511988887777", "tenant": TENANT["id"]}]


async def test_search_filters_closing_and_reopening(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana Reis")
    inbox.stub.conversation("Bia Souza", status="closed")
    page = await inbox.open()
    await expect(page.locator("a.row")).to_have_count(1)
    await page.get_by_role("button", name="Encerradas").click()
    await expect(page.locator("a.row")).to_contain_text("Bia Souza")
    await page.get_by_role("button", name="Pendentes").click()
    await expect(page.locator(".list .empty")).to_contain_text("Nada pendente")
    await page.get_by_role("button", name="Abertas").click()
    await page.get_by_label("Buscar nome ou número").fill("bia")
    await expect(page.locator("a.row")).to_contain_text("Bia Souza")
    await page.get_by_label("Buscar nome ou número").fill("ninguém")
    await expect(page.locator(".list .empty")).to_contain_text("Nada encontrado para “ninguém”")
    await page.get_by_role("button", name="Limpar busca").click()
    await page.locator("a.row", has_text="Ana Reis").click()
    await page.get_by_role("button", name="Encerrar conversa").click()
    await expect(page.locator(".thread .banner")).to_contain_text("Esta conversa está encerrada")
    await expect(page.locator("a.row")).to_have_count(0)
    await page.get_by_role("button", name="Reabrir").click()
    await expect(page.locator("a.row")).to_contain_text("Ana Reis")
    assert ana["status"] == "open"


async def test_a_new_customer_is_counted_under_pending(inbox: Inbox) -> None:
    page = await inbox.open()
    await expect(page.locator(".list .empty")).to_contain_text("Clientes novos aparecem em Pendentes")
    await inbox.stub.receive(inbox.stub.conversation("Novo Cliente", status="pending"), "olá")
    pending = page.get_by_role("button", name="Pendentes")
    await expect(pending).to_contain_text("1 com mensagens não lidas")
    await pending.click()
    await expect(page.locator("a.row")).to_contain_text("Novo Cliente")


async def test_a_cancellation_that_came_too_late_says_so(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    inbox.stub.message(ana, "texto", status="retrying")
    inbox.stub.cancel_result = "stopped_maybe"
    page = await inbox.open(f"/#/c/{ana['id']}")
    await page.get_by_role("button", name="Cancelar").click()
    await expect(page.locator(".toast")).to_contain_text("Uma tentativa anterior pode já ter saído.")


async def test_what_does_not_work_is_told_in_words(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    page = await inbox.open(f"/#/c/{ana['id']}")
    await page.route(
        "**/close/", lambda route: route.fulfill(status=409, json={"detail": "It is closed already."})
    )
    await page.get_by_role("button", name="Encerrar conversa").click()
    await expect(page.locator(".toast")).to_contain_text("Isto mudou nesse meio-tempo")
    await page.get_by_role("button", name="Dispensar").click()
    await expect(page.locator(".toast")).to_have_count(0)


async def test_a_list_or_a_thread_that_cannot_be_loaded_says_so_and_can_be_tried_again(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    inbox.stub.message(ana, "oi")
    page = await inbox.open("/login/")
    await page.route("**/api/chat/conversations/**", lambda route: route.abort())
    await page.goto(f"{inbox.url}/#/c/{ana['id']}")
    await expect(page.locator(".thread .empty")).to_contain_text("Não foi possível carregar as mensagens.")
    await expect(page.locator(".list .empty")).to_contain_text("Não foi possível carregar as conversas.")
    await page.unroute("**/api/chat/conversations/**")
    await page.locator(".list .empty button").click()
    await expect(page.locator("a.row")).to_contain_text("Ana")
    await page.locator("a.row").click()
    await page.locator(".thread .empty button").click()
    await expect(page.locator(".message")).to_contain_text("oi")
