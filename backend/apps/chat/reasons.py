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
    "media_circuit": (
        "WhatsApp takes no files from our number at the moment; texts go out. It is tried again soon.",
        "O WhatsApp não aceita arquivos do nosso número no momento; textos saem. Será tentado de novo em breve.",
    ),
    "voice_not_converted": (
        "It could not be turned into a voice message here and goes as a sound to listen to.",
        "Não foi possível convertê-lo em mensagem de voz; vai como arquivo de áudio.",
    ),
    "mute": (
        "WhatsApp confirms nothing that our number sends. An operator must restart it in Evolution; the message waits.",
        "O WhatsApp não confirma nada do que nosso número envia. Reinicie-o na Evolution; a mensagem espera.",
    ),
    "removed": (
        "The number was removed from Evolution. Connect it again, or discard the message.",
        "O número foi removido da Evolution. Conecte-o de novo ou descarte a mensagem.",
    ),
    "receipt_needs_number": (
        "WhatsApp hides this customer's number, so they cannot be told that they were read.",
        "O WhatsApp oculta o número deste cliente, por isso não dá para avisar que a mensagem foi lida.",
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
_OF_MEDIA: Final[dict[str, tuple[str, str]]] = {
    "media_empty": (
        "The file is empty. Ask the sender to send it again.",
        "O arquivo está vazio. Peça ao remetente que o envie de novo.",
    ),
    "media_too_big": (
        "The file is larger than we take. Open it on the phone.",
        "O arquivo é maior do que aceitamos. Abra-o no celular.",
    ),
    "media_type_refused": (
        "Files of this type are not taken, for your safety. Open it on the phone if you trust the sender.",
        "Não aceitamos arquivos deste tipo, por segurança. Abra-o no celular se confiar no remetente.",
    ),
    "media_kind_mismatch": (
        "The file is not what it was sent as. Ask the sender to send it as a document.",
        "O arquivo não é do tipo anunciado. Peça ao remetente que o envie como documento.",
    ),
    "media_length_mismatch": (
        "The file came shorter or longer than WhatsApp said. Download it again, or open it on the phone.",
        "O arquivo veio com tamanho diferente do anunciado. Baixe de novo ou abra no celular.",
    ),
    "media_damaged": (
        "The file is damaged. Download it again, or ask the sender for it.",
        "O arquivo está danificado. Baixe de novo ou peça-o ao remetente.",
    ),
    "media_too_many_pixels": (
        "The picture has more pixels than we take. Open it on the phone.",
        "A imagem tem mais pixels do que aceitamos. Abra-a no celular.",
    ),
    "media_storage_away": (
        "Our storage is away. The file is fetched when it is back.",
        "Nosso armazenamento está fora do ar. O arquivo será baixado quando voltar.",
    ),
    "media_not_found_yet": (
        "Evolution does not know the message yet. We ask again.",
        "A Evolution ainda não conhece a mensagem. Tentaremos de novo.",
    ),
    "media_gone": (
        "WhatsApp no longer has the file. Open it on the phone, or ask the sender for it.",
        "O WhatsApp não tem mais o arquivo. Abra-o no celular ou peça-o ao remetente.",
    ),
    "media_download_failed": (
        "WhatsApp did not give the file. We ask again; you can download it again, too.",
        "O WhatsApp não entregou o arquivo. Tentaremos de novo; você também pode baixar de novo.",
    ),
    "media_unreachable": (
        "The number or Evolution is away. The file is fetched when it is back.",
        "O número ou a Evolution está fora do ar. O arquivo será baixado quando voltar.",
    ),
    "media_from_history": (
        "The file is older than this connection. Press download to fetch it.",
        "O arquivo é anterior a esta conexão. Clique em baixar para buscá-lo.",
    ),
    "media_address_refused": (
        "The file's address is not one we may open. Open it on the phone.",
        "O endereço do arquivo não pode ser aberto por nós. Abra-o no celular.",
    ),
}
WORDS: Final[dict[str, tuple[str, str]]] = {**_OF_EVOLUTION, **_OF_THE_ENGINE, **_OF_MEDIA}


def in_words(reason: str) -> dict[str, str] | None:
    """`{en, pt}`; None when there is no reason or no words for it."""
    words = WORDS.get(reason)
    return {"en": words[0], "pt": words[1]} if words else None
