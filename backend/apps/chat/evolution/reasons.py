"""Why a send ended as it did, in words for the agent: reason -> (English, Portuguese).

The first half says what happened, the second what to do. Every reason of `outcomes` and `client` is here.
"""

from typing import Final

REASONS: Final[dict[str, tuple[str, str]]] = {
    "accepted": (
        "WhatsApp took the message. Nothing to do.",
        "O WhatsApp recebeu a mensagem. Nada a fazer.",
    ),
    "not_on_whatsapp": (
        "This number is not on WhatsApp. Check the number with the customer.",
        "Este número não está no WhatsApp. Confira o número com o cliente.",
    ),
    "body_rejected": (
        "The message was refused because of its form and was not sent. Tell support.",
        "A mensagem foi recusada por causa do formato e não foi enviada. Avise o suporte.",
    ),
    "text_unsendable": (
        "The text is empty or has characters that cannot be sent. Change it and send again.",
        "O texto está vazio ou tem caracteres que não podem ser enviados. Altere e envie de novo.",
    ),
    "method_unavailable": (
        "This kind of message cannot be sent through this number. Send it in another form.",
        "Este tipo de mensagem não pode ser enviado por este número. Envie de outra forma.",
    ),
    "too_large": (
        "The message is too large and was not sent. Send a smaller file.",
        "A mensagem é grande demais e não foi enviada. Envie um arquivo menor.",
    ),
    "media_refused": (
        "The file was refused and not sent. Attach it again or in another format.",
        "O arquivo foi recusado e não foi enviado. Anexe de novo ou em outro formato.",
    ),
    "media_too_large_inline": (
        "The file is too large to be sent this way. It needs to go as a link.",
        "O arquivo é grande demais para ser enviado desta forma. Precisa ir como link.",
    ),
    "media_fetch_failed": (
        "The file could not be fetched for sending. It will be tried once more.",
        "Não foi possível buscar o arquivo para envio. Será tentado mais uma vez.",
    ),
    "media_upload_failed": (
        "WhatsApp did not take the file. It will be tried again; texts still go out.",
        "O WhatsApp não recebeu o arquivo. Será tentado de novo; textos continuam saindo.",
    ),
    "media_failed": (
        "The file could not be prepared for sending. It will be tried again.",
        "Não foi possível preparar o arquivo para envio. Será tentado de novo.",
    ),
    "media_unreadable": (
        "Our own copy of the file could not be read. It will be tried again; if it lasts, attach it anew.",
        "Não foi possível ler nossa cópia do arquivo. Será tentado de novo; se persistir, anexe outra vez.",
    ),
    "media_interrupted": (
        "The connection to Evolution broke before the file was complete; nothing was sent. It is tried again.",
        "A conexão com a Evolution caiu antes do fim do arquivo; nada foi enviado. Será tentado de novo.",
    ),
    "media_too_slow": (
        "The file took too long on its way to Evolution and was stopped before it was complete. It is tried again.",
        "A entrega do arquivo à Evolution demorou demais e foi interrompida antes do fim. Será tentado de novo.",
    ),
    "connection_closed": (
        "Our number is disconnected from WhatsApp. The message waits until it is back.",
        "Nosso número está desconectado do WhatsApp. A mensagem espera até ele voltar.",
    ),
    "connection_lost_in_send": (
        "Our number lost its connection during the send. We check whether it went out before trying again.",
        "Nosso número perdeu a conexão durante o envio. Verificamos se saiu antes de tentar de novo.",
    ),
    "lookup_timed_out": (
        "WhatsApp was too slow to look up the number. It will be tried again.",
        "O WhatsApp demorou para consultar o número. Será tentado de novo.",
    ),
    "timed_out": (
        "WhatsApp did not confirm in time. We check whether it went out before trying again.",
        "O WhatsApp não confirmou a tempo. Verificamos se saiu antes de tentar de novo.",
    ),
    "no_sessions": (
        "The group's encryption is not ready. It will be tried again.",
        "A criptografia do grupo não está pronta. Será tentado de novo.",
    ),
    "rate_limited": (
        "WhatsApp asks us to slow down. The message waits its turn.",
        "O WhatsApp pediu para diminuir o ritmo. A mensagem espera a vez.",
    ),
    "group_unreachable": (
        "The group cannot be reached now. We check whether we are still in it.",
        "O grupo não está acessível agora. Verificamos se ainda participamos dele.",
    ),
    "group_not_found": (
        "The group does not exist or we are no longer in it. Ask to be added again.",
        "O grupo não existe ou não participamos mais dele. Peça para ser adicionado de novo.",
    ),
    "failed_after_send": (
        "Evolution failed after it probably sent the message. We check before trying again.",
        "A Evolution falhou depois de provavelmente enviar a mensagem. Verificamos antes de tentar de novo.",
    ),
    "instance_not_loaded": (
        "Our number is not running in Evolution. An operator must restart it; the message waits.",
        "Nosso número não está ativo na Evolution. Um operador precisa reiniciá-lo; a mensagem espera.",
    ),
    "instance_missing": (
        "Our number does not exist in Evolution. An operator must check the settings; the message waits.",
        "Nosso número não existe na Evolution. Um operador deve conferir a configuração; a mensagem espera.",
    ),
    "instance_action_failed": (
        "Evolution could not connect or restart the number. An operator must look at it.",
        "A Evolution não conseguiu conectar ou reiniciar o número. Um operador precisa verificar.",
    ),
    "wrong_base_url": (
        "Evolution's address is wrong. An operator must check the settings; the message waits.",
        "O endereço da Evolution está errado. Um operador deve conferir a configuração; a mensagem espera.",
    ),
    "unauthorized": (
        "Evolution refused our key. It will be tried again; if it lasts, an operator must check the key.",
        "A Evolution recusou nossa chave. Será tentado de novo; se persistir, um operador deve conferi-la.",
    ),
    "forbidden": (
        "Evolution refused access. An operator must check the settings; the message waits.",
        "A Evolution negou o acesso. Um operador deve conferir a configuração; a mensagem espera.",
    ),
    "meta_refused": (
        "WhatsApp Business refused the message, it was not sent. See the details.",
        "O WhatsApp Business recusou a mensagem, ela não foi enviada. Veja os detalhes.",
    ),
    "gateway_error": (
        "The way to Evolution failed during the send. We check whether it went out before trying again.",
        "O caminho até a Evolution falhou durante o envio. Verificamos se saiu antes de tentar de novo.",
    ),
    "unexplained_answer": (
        "Evolution answered in a way we do not know. We check whether it went out before trying again.",
        "A Evolution respondeu de um modo desconhecido. Verificamos se saiu antes de tentar de novo.",
    ),
    "connect_failed": (
        "Evolution cannot be reached. Nothing was sent; it will be tried again.",
        "A Evolution está inacessível. Nada foi enviado; será tentado de novo.",
    ),
    "busy": (
        "Too many sends are under way to this server. Nothing was sent; it will be tried again.",
        "Há envios demais em andamento para este servidor. Nada foi enviado; será tentado de novo.",
    ),
    "bad_address": (
        "Evolution's address or key cannot be used. An operator must check the settings; the message waits.",
        "O endereço ou a chave da Evolution é inválido. Um operador precisa conferir; a mensagem espera.",
    ),
    "read_timeout": (
        "Evolution did not answer in time. We check whether it went out before trying again.",
        "A Evolution não respondeu a tempo. Verificamos se saiu antes de tentar de novo.",
    ),
    "reset_after_write": (
        "The connection broke during the send. We check whether it went out before trying again.",
        "A conexão caiu durante o envio. Verificamos se saiu antes de tentar de novo.",
    ),
    "cancelled": (
        "The send was stopped before anything left. It will be tried again.",
        "O envio foi interrompido antes de sair. Será tentado de novo.",
    ),
    "cancelled_after_write": (
        "The send was interrupted half-way. We check whether it went out before trying again.",
        "O envio foi interrompido no meio. Verificamos se saiu antes de tentar de novo.",
    ),
    "fenced": (
        "The send came too late and was stopped before anything left. It will be tried again.",
        "O envio atrasou e foi interrompido antes de sair. Será tentado de novo.",
    ),
    "no_ack": (
        "WhatsApp has not confirmed the message. If this goes on, an operator must check the number.",
        "O WhatsApp não confirmou a mensagem. Se persistir, um operador precisa verificar o número.",
    ),
    "rejected_by_whatsapp": (
        "WhatsApp rejected the message after taking it. Decide whether to send it again.",
        "O WhatsApp rejeitou a mensagem depois de recebê-la. Decida se quer enviar de novo.",
    ),
}
