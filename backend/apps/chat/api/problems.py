"""Errors as problem details (RFC 9457): `{type, title, status, detail, instance, code, errors?}`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotFound, JsonResponse
from django.http.response import HttpResponseServerError
from rest_framework import exceptions
from rest_framework.response import Response

from apps.chat.errors import ChatError

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
_API = "/api/"


class BodyTooLarge(exceptions.APIException):
    """The request's body is longer than any request of this API needs."""

    status_code = 413
    default_detail = "The request is too large."
    default_code = "too_large"


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: what was raised on purpose becomes a problem, the rest stays a defect (None)."""
    request = context["request"]
    if isinstance(error, ChatError):
        return _response(request, error.status, error.code, str(error))
    known = _known(error)
    if known is None:
        return None
    response = _response(request, known.status_code, _code(known), _detail(known), list(_errors(known)))
    if getattr(known, "auth_header", None):
        response["WWW-Authenticate"] = known.auth_header  # type: ignore[attr-defined]
    if getattr(known, "wait", None):
        response["Retry-After"] = str(int(known.wait) + 1)  # type: ignore[attr-defined]
    return response


def problem(
    status: int, code: str, detail: str, instance: str, errors: list[Any] | None = None
) -> dict[str, Any]:
    """The body of a problem."""
    body = {
        "type": f"urn:alrea:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": code,
    }
    return body | {"errors": errors} if errors else body


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 404: a problem under /api/, plain words elsewhere."""
    if not request.path.startswith(_API):
        return HttpResponseNotFound("Not found", content_type="text/plain")
    return _plain(404, "not_found", "There is nothing at this address.", request.path)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 400 (a forged Host header, say)."""
    return _plain(400, "bad_request", "The request cannot be understood.", request.path)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's 500: says nothing of what went wrong, the log does."""
    if not request.path.startswith(_API):
        return HttpResponseServerError("Something went wrong", content_type="text/plain")
    return _plain(500, "internal_error", "Something went wrong here. Try again.", request.path)


def body_too_large(path: str) -> HttpResponse:
    """The 413 of a body that was not read to its end."""
    return _plain(413, BodyTooLarge.default_code, BodyTooLarge.default_detail, path)


def _known(error: Exception) -> exceptions.APIException | None:
    if isinstance(error, Http404):
        return exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, RequestDataTooBig):
        return BodyTooLarge()
    if isinstance(error, OperationalError):
        logger.error("database away", extra={"error": type(error).__name__})
        return _Unavailable()
    return error if isinstance(error, exceptions.APIException) else None


class _Unavailable(exceptions.APIException):
    status_code = 503
    default_detail = "The database is away. Nothing was stored; try again."
    default_code = "database_away"
    wait = 1


def _code(error: exceptions.APIException) -> str:
    if isinstance(error, exceptions.ValidationError):
        return "invalid"
    codes = error.get_codes()
    return codes if isinstance(codes, str) else error.default_code


def _detail(error: exceptions.APIException) -> str:
    if not isinstance(error, exceptions.ValidationError):
        return str(error.detail)
    first = next(_errors(error), None)
    if first is None:
        return "The request is not valid."
    return f"{first['field']}: {first['detail']}" if first["field"] else first["detail"]


def _errors(error: exceptions.APIException) -> Iterator[dict[str, str]]:
    """What is wrong with each field."""
    if isinstance(error, exceptions.ValidationError):
        yield from _flat(error.detail, "")


def _flat(detail: Any, field: str) -> Iterator[dict[str, str]]:
    if isinstance(detail, dict):
        for key, value in detail.items():
            inner = "" if key == "non_field_errors" else str(key)
            yield from _flat(value, ".".join(part for part in (field, inner) if part))
    elif isinstance(detail, list):
        for value in detail:
            yield from _flat(value, field)
    else:
        yield {"field": field, "detail": str(detail), "code": getattr(detail, "code", "invalid")}


def _response(request: Any, status: int, code: str, detail: str, errors: list[Any] | None = None) -> Response:
    body = problem(status, code, detail, request.path, errors)
    return Response(body, status=status, content_type=CONTENT_TYPE)


def _plain(status: int, code: str, detail: str, path: str) -> JsonResponse:
    return JsonResponse(problem(status, code, detail, path), status=status, content_type=CONTENT_TYPE)
