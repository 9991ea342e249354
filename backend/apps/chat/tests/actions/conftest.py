from apps.chat.tests.api.conftest import others, team

__all__ = ["others", "team"]
