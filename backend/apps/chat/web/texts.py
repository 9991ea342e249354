"""What the server-rendered pages say, in both languages. The inbox's own texts are in static/chat/js/texts/."""

from __future__ import annotations

LANGUAGES = {"pt": ("pt-br", "Português"), "en": ("en", "English")}

TEXTS: dict[str, dict[str, str]] = {
    "pt": {
        "html_lang": "pt-BR",
        "login_title": "Entrar",
        "login_lead": "Suas conversas de WhatsApp, num só lugar.",
        "email": "E-mail",
        "password": "Senha",
        "login_button": "Entrar",
        "login_wrong": "E-mail ou senha incorretos. Confira os dois e tente de novo.",
        "login_wait": "Muitas tentativas. Espere alguns minutos e tente de novo.",
        "demo_lead": "Demonstração: entre com",
        "language": "Idioma",
        "needs_script": "A caixa de entrada precisa de JavaScript. Ative-o neste navegador e recarregue a página.",
        "no_team": "Sua conta ainda não faz parte de uma equipe. Peça a quem administra que inclua você.",
        "logout": "Sair",
        "loading": "Abrindo a caixa de entrada",
        "ops_title": "Operação",
        "ops_loading": "Abrindo a página de operação",
        "ops_needs_script": "Esta página precisa de JavaScript. Ative-o neste navegador e recarregue.",
    },
    "en": {
        "html_lang": "en",
        "login_title": "Sign in",
        "login_lead": "Your WhatsApp conversations, in one place.",
        "email": "Email",
        "password": "Password",
        "login_button": "Sign in",
        "login_wrong": "Wrong email or password. Check both and try again.",
        "login_wait": "Too many attempts. Wait a few minutes and try again.",
        "demo_lead": "Demo: sign in with",
        "language": "Language",
        "needs_script": "The inbox needs JavaScript. Turn it on in this browser and reload the page.",
        "no_team": "Your account is not part of a team yet. Ask your administrator to add you.",
        "logout": "Sign out",
        "loading": "Opening the inbox",
        "ops_title": "Operations",
        "ops_loading": "Opening the operations page",
        "ops_needs_script": "This page needs JavaScript. Turn it on in this browser and reload.",
    },
}


def language_key(code: str) -> str:
    """`pt` or `en` for a Django language code such as `pt-br`; Portuguese when in doubt."""
    return "en" if code.lower().startswith("en") else "pt"
