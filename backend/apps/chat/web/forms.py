"""The login form."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from apps.chat.web import throttle


class LoginForm(AuthenticationForm):
    """Email and password. Any failure gives one error, whose code (`wrong`, `wait`) the page turns into words."""

    request: HttpRequest

    def clean(self) -> dict[str, Any]:
        address = self.request.META.get("REMOTE_ADDR", "")
        email = self.cleaned_data["username"] = self.cleaned_data.get("username", "").strip().lower()
        if throttle.is_blocked(address, email):
            raise ValidationError("blocked", code="wait")
        try:
            cleaned = super().clean()
        except ValidationError:
            throttle.count_failure(address, email)
            raise ValidationError("wrong", code="wrong") from None
        throttle.forget(address, email)
        return cleaned
