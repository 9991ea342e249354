"""Why a message is where it is, in words: reason -> (English, Portuguese).

What Evolution's answers mean stands in `evolution.reasons`; here is what the engine and people add. The first half of a
sentence says what happened, the second what to do or what happens next.
"""

from __future__ import annotations

from typing import Final

from apps.chat.evolution.reasons import REASONS as _OF_EVOLUTION

_OF_THE_ENGINE: Final[dict[str, tuple[str, str]]] = {
    "worker_lost": (
        "The process that was sending it stopped. We are checking whether it went out.",
        "O processo que a enviava parou. Estamos verificando se ela saiu.",
    ),
    "unclear": (
        "It is not clear whether it went out. We are checking.",
        "Não está claro se ela saiu. Estamos verificando.",
    ),
    "not_sent_after_check": (
        "We checked: it had not gone out.",
        "Verificamos: ela não tinha saído.",
    ),
    "evidence_missing": (
        "It may have gone out, and nothing proves it either way. Look at the phone, then send or discard it.",
        "Ela pode ter saído, e nada prova o contrário. Confira no celular e então envie ou descarte.",
    ),
    "evidence_ambiguous": (
        "More than one message fits what WhatsApp shows. Look at the phone, then send or discard it.",
        "Mais de uma mensagem combina com o que o WhatsApp mostra. Confira no celular e envie ou descarte.",
    ),
    "provider_id_clash": (
        "Evolution gave one id to two messages. Look at the phone, then send or discard it.",
        "A Evolution deu o mesmo id a duas mensagens. Confira no celular e então envie ou descarte.",
    ),
    "proof_withdrawn": (
        "The proof belonged to another message. We are checking this one again.",
        "A prova era de outra mensagem. Estamos verificando esta de novo.",
    ),
    "cancelled_by_person": ("Cancelled before it went out.", "Cancelada antes de sair."),
    "replaced_by_newer": (
        "A newer reaction took its place before it went out.",
        "Uma reação mais nova tomou o lugar dela antes de sair.",
    ),
    "discarded_by_person": (
        "Discarded. An earlier try may have gone out.",
        "Descartada. Uma tentativa anterior pode ter saído.",
    ),
    "target_not_sent": (
        "The message it is about never went out, so there was nothing to change.",
        "A mensagem a que se refere não saiu, então não havia o que mudar.",
    ),
    "kind_unknown": (
        "This kind of message cannot be sent yet. Tell support.",
        "Este tipo de mensagem ainda não pode ser enviado. Avise o suporte.",
    ),
    "stale": (
        "The number was away for so long that this may be out of date. Read it again, then send or discard it.",
        "O número ficou fora por tanto tempo que isto pode estar desatualizado. Releia e então envie ou descarte.",
    ),
    "cold_cap": (
        "The daily number of messages to people who never wrote to us is reached. It goes out tomorrow.",
        "O limite diário de mensagens a quem nunca nos escreveu foi atingido. Ela sai amanhã.",
    ),
    "cold_hold": (
        "WhatsApp rejected messages to people who never wrote to us. Such messages rest for a day; answers go out.",
        "O WhatsApp recusou mensagens a quem nunca nos escreveu. Elas descansam por um dia; respostas saem.",
    ),
    "mute": (
        "WhatsApp confirms nothing that our number sends. An operator must restart it in Evolution; the message waits.",
        "O WhatsApp não confirma nada do que nosso número envia. Reinicie-o na Evolution; a mensagem espera.",
    ),
    "number_rechecked": (
        "WhatsApp did not find the number; it knows it in another spelling. It is tried once more.",
        "O WhatsApp não achou o número, mas o conhece com outra grafia. Será tentado mais uma vez.",
    ),
    "disconnected": (
        "The number is disconnected from WhatsApp. It goes out when the number is back.",
        "O número está desconectado do WhatsApp. Ela sai quando o número voltar.",
    ),
    "logged_out": (
        "The number was logged out of WhatsApp. It goes out once somebody scans the QR code again.",
        "O número saiu do WhatsApp. Ela será enviada quando alguém ler o QR code de novo.",
    ),
}
WORDS: Final[dict[str, tuple[str, str]]] = {**_OF_EVOLUTION, **_OF_THE_ENGINE}


def in_words(reason: str) -> dict[str, str] | None:
    """`{en, pt}`; None when there is no reason or no words for it."""
    words = WORDS.get(reason)
    return {"en": words[0], "pt": words[1]} if words else None
