"""The operator's page: is anything stuck, why, and what to press. All it shows comes from REST, for its reader."""

from __future__ import annotations

import json

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie

from apps.chat.web.modules import modules_of
from apps.chat.web.views import boot_data, page_context
from apps.tenancy.models import Membership, Tenant, User

ENTRY = "chat/js/ops/main.js"


@never_cache
@login_required
@ensure_csrf_cookie
def ops(request: HttpRequest) -> HttpResponse:
    """Queues, numbers and dead letters of the user's teams; a sentence for a user who is in none yet."""
    assert isinstance(request.user, User)  # login_required saw to it
    context = page_context(request)
    tenants = list(Tenant.objects.filter(memberships__user=request.user).order_by("name"))
    if not tenants:
        return render(request, "chat/no_team.html", context, status=403)
    wanted = request.GET.get("tenant", "")
    tenant = next((one for one in tenants if str(one.id) == wanted), tenants[0])
    boot = boot_data(request.user, tenants, tenant, context["lang"]) | {"admin": _administers(request.user)}
    return render(
        request, "chat/ops.html", context | {"boot": json.dumps(boot), "modules": modules_of(ENTRY)}
    )


def _administers(user: User) -> bool:
    """Whether the page offers what only administrators may press; the API decides anew, team by team."""
    return Membership.objects.filter(user=user, role=Membership.Role.ADMIN).exists()
