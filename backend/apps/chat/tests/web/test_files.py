"""Files and reactions in a real browser: chosen, dropped, pasted, sent, seen, and what does not come."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from apps.chat.tests.web.conftest import Inbox
from apps.chat.tests.web.stub_files import attachment, picture

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

COMPOSER = "textarea"
LIKE, LOVE = "\U0001f44d", "\u2764\ufe0f"
PDF = {"name": "orçamento.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7\n" + b"\0" * 4000}
PHOTO = {"name": "praia.jpg", "mimeType": "image/jpeg", "buffer": picture()}

_DROP = """([files, kind]) => {
  const transfer = new DataTransfer();
  for (const {name, type} of files) transfer.items.add(new File(["%PDF-1.7 x"], name, {type}));
  const target = document.querySelector(kind === "paste" ? "textarea" : ".thread");
  if (kind === "paste") target.dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true}));
  else for (const name of ["dragenter", "dragover", kind]) {
    target.dispatchEvent(new DragEvent(name, {dataTransfer: transfer, bubbles: true, cancelable: true}));
  }
}"""


async def choose(page: Page, *files: object) -> None:
    await page.locator("input[type=file]").set_input_files(list(files))  # type: ignore[arg-type]


async def test_chosen_files_are_uploaded_and_sent_with_a_caption(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    page = await inbox.open(f"/#/c/{ana['id']}")
    inbox.stub.uploads_wait.clear()
    await choose(page, PHOTO, PDF)
    await expect(page.locator(".chosen")).to_have_count(2)
    await expect(page.locator(".chosen progress")).to_have_count(2)
    await expect(page.locator(".chosen img")).to_have_count(1)
    await expect(page.get_by_role("button", name="Enviar", exact=True)).to_be_disabled()
    inbox.stub.uploads_wait.set()
    await expect(page.locator(".chosen.ready")).to_have_count(2)
    await page.locator(COMPOSER).fill("Segue")
    await page.keyboard.press("Enter")
    bubbles = page.locator(".message.outgoing")
    await expect(bubbles).to_have_count(2)
    await expect(bubbles.first.locator(".picture img")).to_have_count(1)
    await expect(bubbles.first).to_contain_text("Segue")
    await expect(bubbles.last.locator(".document")).to_contain_text("orçamento.pdf")
    await expect(bubbles.last.locator(".document")).to_contain_text("PDF · 4 kB")
    await expect(page.locator(".chosen")).to_have_count(0)
    await expect(page.locator("a.row .row-preview")).to_have_text("Documento")
    (posted,) = inbox.stub.posted("/messages/")
    assert [inbox.stub.attachments[pk]["file_name"] for pk in posted["attachments"]] == [
        "praia.jpg",
        "orçamento.pdf",
    ]


@pytest.mark.parametrize("kind", ["drop", "paste"])
async def test_files_are_dropped_or_pasted_and_may_be_removed(inbox: Inbox, kind: str) -> None:
    ana = inbox.stub.conversation("Ana")
    page = await inbox.open(f"/#/c/{ana['id']}")
    await expect(page.locator(COMPOSER)).to_be_visible()
    files = [{"name": f"{n}.pdf", "type": "application/pdf"} for n in (1, 2)]
    await page.evaluate(_DROP, [files, kind])
    await expect(page.locator(".chosen.ready")).to_have_count(2)
    await expect(page.locator(".drop-here")).to_have_count(0)
    await page.get_by_role("button", name="Remover 1.pdf").click()
    await expect(page.locator(".chosen")).to_have_text(["2.pdf1 kB"])
    await page.locator(COMPOSER).press("Enter")
    await expect(page.locator(".message.outgoing .document")).to_have_count(1)


async def test_a_drag_shows_where_to_drop(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    page = await inbox.open(f"/#/c/{ana['id']}")
    await expect(page.locator(COMPOSER)).to_be_visible()
    await page.evaluate(_DROP, [[{"name": "a.pdf", "type": "application/pdf"}], "dragover"])
    await expect(page.locator(".drop-here")).to_contain_text("Solte os arquivos aqui")


async def test_a_refused_file_says_why_and_holds_the_message(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    page = await inbox.open(f"/#/c/{ana['id']}")
    inbox.stub.upload_answer = (400, "O tipo do arquivo não é aceito.")
    await choose(page, PDF)
    await expect(page.locator(".chosen.refused")).to_contain_text("O tipo do arquivo não é aceito.")
    await expect(page.get_by_role("button", name="Enviar", exact=True)).to_be_disabled()
    await expect(page.locator(".chosen").get_by_role("button", name="Tentar de novo")).to_have_count(0)
    await page.get_by_role("button", name="Remover orçamento.pdf").click()
    inbox.stub.upload_answer = (503, "away")
    await choose(page, PDF)
    again = page.locator(".chosen").get_by_role("button", name="Tentar de novo")
    await expect(again).to_be_visible()
    inbox.stub.upload_answer = None
    await again.click()
    await expect(page.locator(".chosen.ready")).to_have_count(1)


async def test_what_customers_send_is_shown_by_its_kind(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    stub = inbox.stub
    photo = stub.file(picture(), "foto.jpg", "image", width=640, height=480)
    paper = stub.file(b"%PDF-1.7", "nota fiscal.pdf", "document")
    voice = stub.file(b"OggS", "", "voice", duration_ms=65_000, waveform=[50] * 64)
    film = stub.file(b"\0\0\0\x18ftypmp42", "v.mp4", "video")
    for row in (photo, paper, voice, film):
        kind = "audio" if row["kind"] == "voice" else row["kind"]
        stub.message(ana, f"[{kind}]", kind=kind, attachments=[row], ago=2)
    page = await inbox.open(f"/#/c/{ana['id']}")
    await expect(page.locator("a.row .row-preview")).to_have_text("Vídeo")
    await expect(page.locator(".message .text")).to_have_count(0)
    await expect(page.locator("audio")).to_have_attribute("aria-label", "Mensagem de voz, 1:05")
    await expect(page.locator(".waveform rect")).to_have_count(64)
    await expect(page.locator("video")).to_have_attribute("src", film["url"])
    await expect(page.locator(".document")).to_have_attribute("download", "nota fiscal.pdf")
    await page.get_by_role("button", name="Abrir foto.jpg").click()
    box = page.locator("dialog.lightbox img")
    await expect(box).to_be_visible()
    assert await box.evaluate("image => image.decode().then(() => image.naturalWidth)") == 640
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)
    await expect(page.locator(".thread")).to_be_visible()


async def test_a_file_that_does_not_come_says_why_and_is_fetched_again(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    words = {"en": "It is gone.", "pt": "O WhatsApp não tem mais o arquivo."}
    row = attachment("image", status="failed", reason="media_gone", reason_text=words, file_name="foto.jpg")
    inbox.stub.attachments[row["id"]] = row
    message = inbox.stub.message(ana, "[image]", kind="image", attachments=[row])
    page = await inbox.open(f"/#/c/{ana['id']}")
    missing = page.locator(".missing")
    await expect(missing).to_contain_text("O WhatsApp não tem mais o arquivo.")
    await missing.get_by_role("button", name="Baixar de novo").click()
    await expect(missing).to_contain_text("Recebendo o arquivo")
    here = inbox.stub.file(picture(), "foto.jpg", "image") | {"id": row["id"]}
    await inbox.stub.push("attachment_updated", message_id=message["id"], attachment=here)
    await expect(page.locator(".picture img")).to_have_count(1)
    await expect(missing).to_have_count(0)


async def test_a_link_that_ended_is_asked_for_again(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    row = inbox.stub.file(picture(), "foto.jpg", "image")
    inbox.stub.message(ana, "[image]", kind="image", attachments=[{**row, "url": "/files/over"}])
    page = await inbox.open(f"/#/c/{ana['id']}")
    await expect(page.locator(".picture img")).to_have_attribute("src", row["url"])
    inbox.complaints.clear()


async def test_reactions_are_shown_given_and_taken_back(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    theirs = {"emoji": LOVE, "from_me": False, "author": "5511", "user": None}
    asked = inbox.stub.message(ana, "Que horas?", reactions=[theirs])
    page = await inbox.open(f"/#/c/{ana['id']}")
    message = page.locator(".message")
    await expect(message.locator(".chip")).to_have_text([LOVE])
    await message.hover()
    await message.get_by_role("button", name="Reagir", exact=True).click()
    await expect(page.locator(".picker button").first).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator(".picker")).to_have_count(0)
    await expect(page.locator(".thread")).to_be_visible()
    await message.get_by_role("button", name="Reagir", exact=True).click()
    await page.get_by_role("button", name=f"Reagir com {LIKE}").click()
    await expect(message.locator(".chip")).to_have_text([LOVE, LIKE])
    assert inbox.stub.posted("/reactions/add/") == [{"message": asked["id"], "emoji": LIKE}]
    await message.locator(".chip.mine").click()
    await expect(message.locator(".chip")).to_have_text([LOVE])
    await message.locator(".chip").click()
    await expect(message.locator(".chip")).to_have_text([f"{LOVE}2"])
    await message.get_by_role("button", name="Reagir", exact=True).click()
    await page.locator(".picker input").fill("\U0001f389")
    await page.keyboard.press("Enter")
    await expect(message.locator(".chip")).to_have_text([LOVE, "\U0001f389"])
    why = {"emoji": LIKE, "reason": "x", "reason_text": {"en": "Because.", "pt": "Porque sim."}}
    await inbox.stub.push("message_reaction_update", message_id=asked["id"], reactions=[theirs], failed=why)
    await expect(message.locator(".chip")).to_have_text([LOVE])
    await expect(page.locator(".toast")).to_contain_text(f"A reação {LIKE} não foi enviada. Porque sim.")


async def test_a_reply_quotes_its_message(inbox: Inbox) -> None:
    ana = inbox.stub.conversation("Ana")
    asked = inbox.stub.message(ana, "Que horas?", ago=3)
    page = await inbox.open(f"/#/c/{ana['id']}")
    await page.locator(".message").hover()
    await page.get_by_role("button", name="Responder", exact=True).click()
    await expect(page.locator(".replying")).to_contain_text("Que horas?")
    await expect(page.locator(COMPOSER)).to_be_focused()
    await page.keyboard.type("Às dez")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message.outgoing .quote")).to_contain_text("Que horas?")
    await expect(page.locator(".replying")).to_have_count(0)
    assert inbox.stub.posted("/messages/")[0]["reply_to"] == asked["id"]
