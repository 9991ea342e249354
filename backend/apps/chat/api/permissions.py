"""Who may call at all. What they see is decided by each look-up, which filters by their tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.chat.api.authentication import tenants_of

if TYPE_CHECKING:  # rest_framework.views imports this module, which the settings name
    from rest_framework.views import APIView


class IsMember(BasePermission):
    """A known user who belongs to at least one tenant."""

    message = "You do not belong to a team."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user.is_authenticated and tenants_of(request.user))
