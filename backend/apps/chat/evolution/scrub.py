"""Make a webhook body fit for storing: without credentials, in text that any database accepts."""

import math
from collections.abc import Mapping
from typing import Final

from .wire import storable

_MAX_DEPTH: Final = 64
# Compared without case, hyphens and underscores. The envelope carries the instance's token as `apikey`, the
# error webhook the global key as `api_key`; `server_url` and `destination` are addresses nobody may call.
_SECRET_FIELDS: Final = frozenset(
    {
        "apikey",
        "apiurl",
        "serverurl",
        "destination",
        "authorization",
        "proxyauthorization",
        "bearer",
        "cookie",
        "setcookie",
        "jwt",
        "jwtkey",
        "jwttoken",
        "token",
        "accesstoken",
        "accesstokenwabusiness",
        "refreshtoken",
        "password",
        "secret",
        "clientsecret",
    }
)


def strip_credentials(body: object) -> dict[str, object]:
    """Return a copy of a webhook body without credentials and internal addresses, at any depth.

    Whatever is nested deeper than 64 levels becomes null, NUL and lone surrogates become U+FFFD, and numbers
    JSON does not know become null. A body that is no object is kept under the key `body`. Never raises.
    """
    cleaned = _clean(body, _MAX_DEPTH)
    return cleaned if isinstance(cleaned, dict) else {"body": cleaned}


def _clean(value: object, depth: int) -> object:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if depth == 0:
        return None
    if isinstance(value, Mapping):
        return _clean_object(value, depth)
    return [_clean(item, depth - 1) for item in value] if isinstance(value, list | tuple) else None


def _clean_object(value: Mapping[object, object], depth: int) -> dict[str, object]:
    return {
        storable(str(key)): _clean(item, depth - 1) for key, item in value.items() if not _is_secret(str(key))
    }


def _is_secret(field: str) -> bool:
    return field.lower().replace("_", "").replace("-", "") in _SECRET_FIELDS
