"""Conversations as a small shop has them, for the screenshots in the README."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from apps.chat.tests.web.stub import Json, Stub, stamp

ANA = {"id": "00000000-0000-7000-8000-000000000002", "name": "Rafael Lima"}


def dress(stub: Stub) -> Json:
    """Fill the stub; answers the conversation to open."""
    for name, text, ago, unread in OTHERS:
        row = stub.conversation(name, unread_count=unread)
        stub.message(row, text, ago=ago)
    group = stub.conversation("Entregas zona sul", conversation_type="group")
    stub.message(
        group, "Cheguei no endereço da Rua das Acácias, ninguém atende.", ago=410, author_name="Seu Jorge"
    )
    return _main(stub)


OTHERS = [
    ("João Pedro Siqueira", "Perfeito, obrigado!", 14, 0),
    ("Beatriz Nogueira", "Vocês entregam em Niterói?", 21, 2),
    ("", "Boa tarde, vi o anúncio do sofá", 38, 1),
    ("Padaria Três Irmãos", "Segue a nota fiscal do mês passado", 66, 0),
    ("Lucas Ferreira", "Pode ser na quinta, depois das 14h", 95, 0),
    ("Ateliê Dona Cida", "A cor é exatamente essa, amei 💛", 1500, 0),
    ("Mariana Couto", "Ok, fico no aguardo", 1700, 0),
    ("Tiago Barros", "Vou falar com minha esposa e te aviso", 2980, 0),
    ("Clínica Bem Viver", "Recebemos as cadeiras, tudo certo", 4400, 0),
    ("Sofia Andrade", "https://www.example.com/catalogo/verao", 7300, 0),
]


def _main(stub: Stub) -> Json:
    row = stub.conversation("Camila Duarte")
    say = stub.message
    say(row, "Oi! O pedido 4821 já saiu?", ago=1452)
    say(row, "Oi, Camila! Saiu hoje cedo, a previsão é amanhã à tarde.", ago=1449, status="seen")
    say(row, "Maravilha, obrigada 😊", ago=1448)
    say(row, "Bom dia! Chegou uma cadeira a menos no pedido. Eram quatro, vieram três.", ago=24)
    say(row, "Tirei uma foto da nota: https://fotos.example.com/p/4821-nota-fiscal", ago=23)
    note = stub.file(b"%PDF-1.7" + b"\0" * 240_000, "Nota fiscal 4821.pdf", "document")
    say(row, "[document]", kind="document", attachments=[note], ago=22)
    say(
        row,
        "Bom dia, Camila. Desculpe por isso! Já pedi ao depósito para conferir.",
        ago=20,
        status="seen",
        sender=ANA,
    )
    say(
        row, "A quarta cadeira ficou no caminhão. Ela sai para você amanhã, sem custo.", ago=12, status="seen"
    )
    liked = [
        {"emoji": "\U0001f44d", "from_me": True, "author": "", "user": {"id": ANA["id"], "name": ANA["name"]}}
    ]
    asked = "Que bom! Pode ser depois das 15h? Antes não tem ninguém em casa."
    say(row, asked, ago=9, reactions=liked)
    say(row, "Pode sim, anotei: amanhã depois das 15h.", ago=7, status="delivered")
    say(
        row,
        "Vou te mandar o código de rastreio assim que a transportadora liberar.",
        ago=1,
        status="retrying",
        attempts=2,
        reason="timed_out",
        reason_text={
            "en": "Evolution did not answer in time, and nothing was sent.",
            "pt": "A Evolution não respondeu a tempo, e nada foi enviado.",
        },
        next_attempt_at=stamp(datetime.now(UTC) + timedelta(seconds=13)),
    )
    return row
