"""The few HTTP calls that tests and the supervisor make to servers on this machine."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

# Proxies named in the environment must not see calls to the loopback.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(
    method: str, url: str, body: object = None, headers: Mapping[str, str] | None = None, timeout: float = 10
) -> Any:
    """The answer's JSON (None for an empty one, text when it is no JSON).

    Raises:
        urllib.error.HTTPError: the answer is not 2xx.
        OSError: no answer.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310  (callers name http URLs)
        url, data, {"Content-Type": "application/json", **(headers or {})}, method=method
    )
    with _opener.open(request, timeout=timeout) as response:
        raw = response.read().decode()
    if "json" in response.headers.get("Content-Type", ""):
        return json.loads(raw) if raw else None
    return raw or None


def answers(url: str, timeout: float = 2) -> bool:
    """Whether a GET gets 2xx."""
    try:
        call("GET", url, timeout=timeout)
    except OSError:
        return False
    return True
