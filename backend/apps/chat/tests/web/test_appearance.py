"""How the page looks and feels: keyboard, phone, languages, themes, contrast, long texts, scrolling."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from apps.chat.tests.web.conftest import Inbox
from apps.chat.tests.web.scenery import dress
from apps.chat.tests.web.stub import Json

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PHONE = {"viewport": {"width": 390, "height": 844}}
TOUCH = PHONE | {"has_touch": True, "is_mobile": True}
CONTRAST_JS = (Path(__file__).parent / "js" / "contrast.js").read_text()


def long_thread(inbox: Inbox, length: int = 75) -> Json:
    conversation = inbox.stub.conversation("Ana")
    for n in range(length):
        inbox.stub.message(conversation, f"mensagem {n}", ago=length - n)
    return conversation


def said(page: Page, text: str) -> Locator:
    return page.locator(".scroll").get_by_text(text, exact=True)


async def scroll_top(page: Page) -> float:
    return float(await page.evaluate("document.querySelector('.scroll').scrollTop"))


async def test_the_keyboard_is_enough(inbox: Inbox) -> None:
    for n, name in enumerate(["Ana", "Bia", "Caio"]):
        inbox.stub.message(inbox.stub.conversation(name), "oi", ago=n + 1)
    page = await inbox.open()
    await expect(page.locator("a.row")).to_have_count(3)
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("a.row", has_text="Ana")).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.locator(".thread-head h2")).to_have_text("Bia")
    await expect(page.locator("textarea")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator(".thread")).to_have_count(0)
    await expect(page.locator("a.row", has_text="Bia")).to_be_focused()
    await page.keyboard.press("/")
    await expect(page.locator("#search")).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("a.row", has_text="Ana")).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await expect(page.locator("#search")).to_be_focused()


async def test_a_phone_shows_one_pane_and_goes_back(inbox: Inbox) -> None:
    inbox.stub.conversation("Ana")
    page = await inbox.open(**TOUCH)
    await page.locator("a.row").tap()
    await expect(page.locator(".sidebar")).to_be_hidden()
    await expect(page.locator("textarea")).to_be_visible()
    await page.locator("textarea").fill("oi")
    await page.locator("textarea").press("Enter")
    await expect(page.locator("textarea")).to_have_value("oi\n")
    await page.get_by_role("button", name="Enviar").tap()
    await expect(page.locator(".message.outgoing")).to_have_count(1)
    await page.get_by_role("link", name="Voltar às conversas").tap()
    await expect(page.locator(".sidebar")).to_be_visible()
    await expect(page.locator(".thread-pane")).to_be_hidden()
    await page.go_back()
    await expect(page.locator(".thread")).to_be_visible()


async def test_language_and_theme_are_changed_and_remembered(inbox: Inbox) -> None:
    inbox.stub.conversation("Ana")
    page = await inbox.open()
    await page.get_by_role("button", name="Menu").click()
    await page.get_by_role("button", name="English").click()
    await expect(page.locator("h1")).to_have_text("Conversations")
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await page.get_by_role("button", name="Dark").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 19, 20)"
    cookies = {cookie["name"]: cookie["value"] for cookie in await page.context.cookies()}
    assert (cookies["django_language"], cookies["theme"]) == ("en", "dark")
    await page.get_by_role("button", name="System").click()
    await expect(page.locator("html")).not_to_have_attribute("data-theme", "dark")
    await page.keyboard.press("Escape")
    await expect(page.locator(".menu-panel")).to_have_count(0)


async def test_each_conversation_keeps_its_draft(inbox: Inbox) -> None:
    ana, bia = inbox.stub.conversation("Ana"), inbox.stub.conversation("Bia")
    page = await inbox.open(f"/#/c/{ana['id']}")
    await page.locator("textarea").fill("quase pronto")
    await page.locator("a.row", has_text="Bia").click()
    await expect(page.locator("textarea")).to_have_value("")
    await expect(page.locator("a.row", has_text="Ana")).to_contain_text("Rascunho: quase pronto")
    await page.reload()
    await page.locator("a.row", has_text="Ana").click()
    await expect(page.locator("textarea")).to_have_value("quase pronto")
    assert bia["id"]


async def test_the_limit_is_told_before_it_is_reached(inbox: Inbox) -> None:
    inbox.stub.max_text = 2_000
    ana = inbox.stub.conversation("Ana")
    page = await inbox.open(f"/#/c/{ana['id']}")
    await page.locator("textarea").fill("x" * 900)
    await expect(page.locator(".counter")).to_have_count(0)
    await page.locator("textarea").fill("🎉" * 1_999)
    await expect(page.locator(".counter")).to_have_text("Resta 1 caractere")
    await page.locator("textarea").fill("🎉" * 2_002)
    await expect(page.locator(".counter")).to_have_text("2 caracteres a mais")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Enviar")).to_be_disabled()
    await expect(page.locator(".message")).to_have_count(0)


async def test_what_a_customer_writes_stays_text(inbox: Inbox) -> None:
    inbox.expected = ["Failed to load resource: the server responded with a status of 404"]
    nasty = '<img src=x onerror="alert(1)"><script>alert(2)</script> javascript:alert(3) https://a.example/?q="><b>x'
    ana = inbox.stub.conversation('<img src=x onerror="alert(4)">')
    inbox.stub.message(ana, nasty)
    page = await inbox.open(f"/#/c/{ana['id']}")
    await expect(page.locator(".message .text")).to_have_text(nasty)
    await expect(page.locator(".message img, .message script, .row img, .thread-head img")).to_have_count(0)
    link = page.locator(".message a")
    await expect(link).to_have_count(1)
    await expect(link).to_have_attribute("href", "https://a.example/?q=")
    await expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")


@pytest.mark.parametrize(
    "viewport",
    [PHONE, {"viewport": {"width": 1280, "height": 800}}, {"viewport": {"width": 800, "height": 600}}],
)
async def test_long_words_and_names_break_and_nothing_is_wider_than_the_page(
    inbox: Inbox, viewport: Json
) -> None:
    word = "Donaudampfschifffahrtsgesellschaftskapitän" * 8
    inbox.stub.instances[0] |= {"name": word[:100], "connection": "close"}
    ana = inbox.stub.conversation(word, unread_count=1234)
    inbox.stub.message(ana, word)
    inbox.stub.message(
        ana, f"https://example.com/{word}?{word}", status="failed", reason_text={"pt": word}, author_name=word
    )
    inbox.stub.message(ana, "🎉" * 200 + " مرحبا بالعالم", status="retrying")
    page = await inbox.open(f"/#/c/{ana['id']}", **viewport)
    await expect(page.locator(".message")).to_have_count(3)
    wider = """[...document.querySelectorAll('body *')].filter((e) => !e.closest('.visually-hidden')
        && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.className)"""
    assert await page.evaluate(wider) == []
    assert await page.evaluate(
        "document.querySelector('.scroll').scrollWidth <= document.querySelector('.scroll').clientWidth"
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
async def test_every_text_has_enough_contrast(inbox: Inbox, theme: str, size: tuple[int, int]) -> None:
    opened = dress(inbox.stub)
    statuses = ["queued", "sending", "sent", "seen", "retrying", "verifying", "held", "failed", "cancelled"]
    for status in statuses:
        inbox.stub.message(
            opened, f"{status} https://example.com", status=status, reason_text={"pt": "motivo"}, attempts=3
        )
    inbox.stub.instances[0]["connection"] = "close"
    page = await inbox.open(
        f"/#/c/{opened['id']}",
        color_scheme=theme,
        viewport={"width": size[0], "height": size[1]},
        reduced_motion="reduce",
    )
    await expect(page.locator(".message").last).to_contain_text("Cancelada")
    assert await page.evaluate(CONTRAST_JS) == []
    await page.goto(f"{inbox.url}/#/")
    await expect(page.locator(".thread")).to_have_count(0)
    await page.get_by_role("button", name="Menu").click()
    assert await page.evaluate(CONTRAST_JS) == []
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Nova conversa").click()
    assert await page.evaluate(CONTRAST_JS) == []
    await page.goto(f"{inbox.url}/login/")
    assert await page.evaluate(CONTRAST_JS) == []


async def test_older_messages_load_without_a_jump(inbox: Inbox) -> None:
    conversation = long_thread(inbox)
    page = await inbox.open(f"/#/c/{conversation['id']}")
    await expect(said(page, "mensagem 74")).to_be_in_viewport()
    await page.wait_for_function("document.querySelectorAll('.message').length === 30")
    marked = said(page, "mensagem 49")
    async with page.expect_response("**cursor=30**"):
        await marked.evaluate("(e) => e.scrollIntoView({block: 'start'})")
        before = await marked.bounding_box()
    await page.wait_for_function("document.querySelectorAll('.message').length === 60")
    after = await marked.bounding_box()
    assert before and after
    assert abs(before["y"] - after["y"]) < 2
    await page.evaluate("document.querySelector('.scroll').scrollTop = 0")
    await expect(said(page, "mensagem 0")).to_be_attached()
    await page.evaluate("document.querySelector('.scroll').scrollTop = 0")
    await expect(page.get_by_text("A conversa começa aqui.")).to_be_in_viewport()
    await page.get_by_role("button", name="Ir para a última mensagem").click()
    await expect(said(page, "mensagem 74")).to_be_in_viewport()


async def test_a_reader_further_up_is_told_of_new_messages_and_not_moved(inbox: Inbox) -> None:
    conversation = long_thread(inbox, 25)
    page = await inbox.open(f"/#/c/{conversation['id']}")
    await expect(said(page, "mensagem 24")).to_be_in_viewport()
    await page.evaluate("document.querySelector('.scroll').scrollTop = 0")
    await page.wait_for_function("document.querySelector('.scroll').scrollTop === 0")
    await inbox.stub.receive(conversation, "nova 1")
    await inbox.stub.receive(conversation, "nova 2")
    pill = page.get_by_role("button", name="2 mensagens novas")
    await expect(pill).to_be_visible()
    assert await scroll_top(page) == 0
    await pill.click()
    await expect(said(page, "nova 2")).to_be_in_viewport()
    await expect(pill).to_have_count(0)
    await inbox.stub.receive(conversation, "nova 3")
    await expect(said(page, "nova 3")).to_be_in_viewport()


async def test_the_list_loads_more_near_its_end(inbox: Inbox) -> None:
    for n in range(65):
        inbox.stub.message(inbox.stub.conversation(f"Contato {n}"), "oi", ago=n)
    page = await inbox.open()
    await expect(page.locator("a.row")).to_have_count(30)
    await page.locator(".list").evaluate("(e) => { e.scrollTop = e.scrollHeight; }")
    await expect(page.locator("a.row")).to_have_count(60)
    await page.get_by_role("button", name="Carregar mais").evaluate("(e) => e.click()")
    await expect(page.locator("a.row")).to_have_count(65)
