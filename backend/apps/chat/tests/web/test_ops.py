"""The operations page in a real browser: is anything stuck, why, what do I press?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from apps.chat.tests.web.conftest import Inbox
from apps.chat.tests.web.scenery_ops import trouble
from apps.chat.tests.web.stub import serving
from apps.chat.tests.web.stub_ops import OpsStub

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PHONE = {"viewport": {"width": 390, "height": 844}}
CONTRAST_JS = (Path(__file__).parent / "js" / "contrast.js").read_text()


class Ops(Inbox):
    stub: OpsStub


@pytest_asyncio.fixture(loop_scope="module")
async def ops(browser: Browser) -> AsyncIterator[Ops]:
    stub = OpsStub()
    async with serving(stub) as url:
        opened = Ops(browser, stub, url)
        yield opened
        for context in opened.contexts:
            await context.close()
    assert opened.complaints == []


async def test_all_quiet_is_said_in_one_line_and_trouble_appears_by_itself(ops: Ops) -> None:
    page = await ops.open("/ops/")
    await expect(page.locator(".headline h2")).to_have_text("Tudo calmo")
    await expect(page.locator("#letters")).to_contain_text("Nenhuma mensagem da sua equipe falhou de vez.")
    await expect(page.locator(".alert")).to_have_count(0)
    await expect(page.locator(".queues tbody tr")).to_have_count(9)
    await expect(page.locator(".worker")).to_contain_text("Ativo")
    trouble(ops.stub)
    await expect(page.locator(".headline h2")).to_have_text("5 coisas pedem atenção")
    await expect(page.locator("[aria-live]")).to_have_text("5 coisas pedem atenção")
    first = page.locator(".alert").first
    await expect(first).to_contain_text("Mensagens a enviar: a mais antiga espera há 75 s.")
    card = page.locator(".card").first
    await expect(card).to_contain_text("suporte")
    await expect(card).to_contain_text("31 mensagens esperam")
    await expect(card).to_contain_text("Nova verificação em")
    row = page.locator(".queues tr", has_text="Mensagens a enviar").first
    await expect(row.locator("td")).to_have_text(["230", "12", "75 s", "1", ""])
    await expect(page.locator(".worker").last).to_contain_text("Em silêncio")


async def test_dead_letters_are_shown_by_reason_without_texts_or_whole_numbers(ops: Ops) -> None:
    trouble(ops.stub)
    page = await ops.open("/ops/")
    groups = page.locator(".group")
    await expect(groups).to_have_count(2)
    await expect(groups.first).to_contain_text(
        "Este número não está no WhatsApp. Confira o número com o cliente."
    )
    await expect(groups.last).to_contain_text(
        "O WhatsApp demorou para consultar o número. Todas as tentativas"
    )
    await expect(groups.last).not_to_contain_text("Será tentado")
    await expect(groups.last).to_contain_text("vendas, 5 tentativas")
    link = page.locator(".letter a").first
    assert f"#/c/{ops.stub.letters[0]['message']['conversation']}" in str(await link.get_attribute("href"))
    phone = ops.stub.letters[1]["contact"]["phone"]
    assert phone not in await page.content()
    await expect(groups.first).to_contain_text(f"… {phone[-4:]}")


async def test_sending_again_is_previewed_and_tells_what_others_did(ops: Ops) -> None:
    trouble(ops.stub)
    ops.stub.beaten.add(ops.stub.letters[2]["id"])
    page = await ops.open("/ops/")
    await page.get_by_label("Escolher todas com este motivo: Este número").check()
    await expect(page.locator(".toolbar")).to_contain_text("3 escolhidas")
    await page.get_by_role("button", name="Enviar de novo").click()
    dialog = page.get_by_role("dialog", name="Enviar 3 mensagens de novo?")
    await expect(dialog).to_contain_text("vendas: 3")
    assert ops.stub.posted("/dead-letters/replay/")[0]["dry_run"] is True
    assert len(ops.stub.letters) == 4
    await dialog.get_by_role("button", name="Enviar de novo").click()
    await expect(dialog).to_have_count(0)
    await expect(page.locator(".toast")).to_contain_text("2 mensagens voltaram à fila; 1 já foi resolvida")
    await expect(page.locator(".letter")).to_have_count(1)


async def test_discarding_is_previewed_and_can_be_left_with_escape(ops: Ops) -> None:
    ops.stub.letter("Ana")
    ops.stub.letter("Bia")
    page = await ops.open("/ops/")
    await page.get_by_label("Escolher a mensagem para Ana").check()
    await page.get_by_role("button", name="Descartar").click()
    await expect(page.get_by_role("dialog", name="Descartar 1 mensagem?")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert len(ops.stub.letters) == 2
    await page.get_by_role("button", name="Descartar").click()
    await page.get_by_role("dialog").get_by_role("button", name="Descartar").click()
    await expect(page.locator(".letter")).to_have_count(1)
    await expect(page.locator(".toast")).to_contain_text("1 mensagem descartada")
    await expect(page.locator("#letters")).to_be_focused()
    assert ops.stub.posts[-1][1] == {"failure_gen": 1}


async def test_a_choice_may_go_beyond_what_is_shown(ops: Ops) -> None:
    for n in range(60):
        ops.stub.letter(f"Contato {n}")
    page = await ops.open("/ops/")
    await expect(page.locator(".letter")).to_have_count(4)
    await page.get_by_role("button", name="Mais 46 com este motivo").click()
    await expect(page.locator(".letter")).to_have_count(50)
    await page.get_by_label("Escolher todas", exact=True).check()
    await page.get_by_role("button", name="Escolher também as que não aparecem").click()
    await expect(page.get_by_role("button", name="Descartar")).to_be_disabled()
    await page.get_by_role("button", name="Enviar de novo").click()
    dialog = page.get_by_role("dialog", name="Enviar 60 mensagens de novo?")
    await dialog.get_by_role("button", name="Enviar de novo").click()
    await expect(page.locator(".headline h2")).to_have_text("Tudo calmo")


async def test_numbers_offer_what_helps_and_only_to_administrators(ops: Ops) -> None:
    trouble(ops.stub)
    page = await ops.open("/ops/")
    await page.get_by_role("button", name="Enviar todas").click()
    await (
        page.get_by_role("dialog", name="Enviar 2 mensagens antigas?")
        .get_by_role("button", name="Enviar todas")
        .click()
    )
    await expect(page.locator(".toast")).to_contain_text("2 mensagens decididas")
    await page.get_by_role("button", name="Conectar por QR code").click()
    await expect(page.get_by_role("img", name="QR code de suporte")).to_be_visible()
    ops.stub.instances[1] |= {"connection": "open", "gate": "open", "gate_reason": ""}
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator(".toast").last).to_contain_text("suporte está conectado")
    ops.stub.admin = False
    ops.stub.instances[1] |= {"gate": "parked", "gate_reason": "mute"}
    agent = await ops.open("/ops/")
    await expect(agent.locator(".card").first).to_contain_text("Quem administra a equipe")
    await expect(agent.get_by_role("button", name="Reiniciar")).to_have_count(0)


async def test_old_figures_do_not_pass_for_new_ones(ops: Ops) -> None:
    page = await ops.open("/ops/")
    await expect(page.locator(".headline h2")).to_have_text("Tudo calmo")
    ops.stub.broken = 503
    await expect(page.get_by_role("alert").first).to_contain_text("Não é possível atualizar esta página")
    ops.stub.broken = None
    await expect(page.locator(".banner")).to_have_count(0)
    ops.stub.broken = 401
    await expect(page.get_by_role("link", name="Entrar de novo")).to_be_visible()
    ops.stub.broken = None  # signed in again in another tab
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(page.locator(".banner")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_phone_and_can_be_read(ops: Ops, scheme: str) -> None:
    trouble(ops.stub)
    ops.stub.lang = "en"
    page = await ops.open("/ops/", color_scheme=scheme, **PHONE)
    await expect(page.locator(".headline h2")).to_have_text("5 things need attention")
    await expect(page.locator(".letter")).to_have_count(4)
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
    assert await page.evaluate(CONTRAST_JS) == []
    await page.locator(".alert a", has_text="Dead letters").click()
    await expect(page.locator("#letters")).to_be_focused()
