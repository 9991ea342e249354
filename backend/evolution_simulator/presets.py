"""Named faults: how Evolution and WhatsApp really fail, one per row of the failure catalogue.

A preset is a partial fault; whatever the caller sends along overrides it. Where the catalogue says
"maybe sent", the preset accepts and leaves evidence (echo, stored row, acks): override `accept` or
`evidence` to get the other cases.
"""

from __future__ import annotations

from typing import Any


def _standard(status: int, error: str, message: Any) -> dict[str, Any]:
    return {"status": status, "body": {"status": status, "error": error, "response": {"message": message}}}


def _bad(*messages: Any) -> dict[str, Any]:
    return _standard(400, "Bad Request", list(messages))


def _crash(message: Any) -> dict[str, Any]:
    return _standard(500, "Internal Server Error", message)


def _undefined(name: str) -> str:
    return f"Cannot read properties of undefined (reading '{name}')"


_MEDIA = {"endpoint": "message/sendMedia"}
_GATEWAY = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"

_ROWS: dict[str, dict[str, Any]] = {
    "E1": {"accept": False, "answer": _bad(['instance requires property "text"'])},
    "E2": {"accept": False, "answer": _bad({"jid": "$jid", "exists": False, "number": "$number"})},
    "E3": {"accept": False, "answer": _bad("Text is required")},
    "E4": {"accept": False, "answer": _crash("Connection Closed")},
    "E5": {"accept": False, "answer": _crash("Timed Out")},
    "E6": {"accept": False, "answer": _crash(["Error: Connection Closed"]), "match": _MEDIA},
    "E7": {"accept": True, "answer": _bad("Error: Connection Closed")},
    "E8": {"accept": True, "answer": _bad("Error: Timed Out")},
    "E9": {"accept": False, "answer": _bad("SessionError: No sessions")},
    "E10": {"accept": False, "answer": _crash("rate-overlimit")},
    "E11": {"accept": False, "answer": _bad("[object Object]")},
    "E12": {
        "accept": True,
        "answer": _bad("PrismaClientKnownRequestError: Invalid `prisma.message.create()` invocation"),
        "echo": "none",
        "persist": False,
    },
    "E13": {"accept": False, "answer": _crash(_undefined("onWhatsApp"))},
    "E14": {"accept": False, "answer": _crash(["Error: Media upload failed on all hosts"]), "match": _MEDIA},
    "E15": {"accept": False, "answer": _crash("Maximum call stack size exceeded"), "match": _MEDIA},
    "E16": {
        "accept": False,
        "answer": _crash(["AxiosError: Request failed with status code 403"]),
        "match": _MEDIA,
    },
    "E17": {
        "accept": False,
        "answer": _standard(404, "Not Found", ['The "$instance" instance does not exist']),
    },
    "E18": {"accept": False, "answer": _standard(401, "Unauthorized", "Unauthorized")},
    "E19": {
        "accept": False,
        "answer": _standard(413, "Internal Server Error", "request entity too large"),
    },
    "E20": {"accept": True, "answer": {"status": 504, "body": _GATEWAY.format("504 Gateway Time-out")}},
    "E21": {"accept": False, "answer": "reset"},
    "E22": {"accept": True, "answer": "reset"},
    "E23": {"acks": []},
    "E24": {"acks": ["ERROR"]},
    "E25": {"acks": ["SERVER_ACK"]},
    "E26": {
        "match": {"endpoint": "instance/*"},
        "answer": {"status": 200, "body": {"error": True, "message": "[object Object]"}},
    },
}

_OTHERS: dict[str, dict[str, Any]] = {
    "bad_gateway": {"accept": True, "answer": {"status": 502, "body": _GATEWAY.format("502 Bad Gateway")}},
    "hang": {"accept": True, "answer": "hang"},
    "slow_accept": {"accept": True, "delay": 60.0},
    "not_persisted": {"persist": False},
    "nul_in_database": {
        "accept": True,
        "answer": _bad("DriverAdapterError: unsupported Unicode escape sequence"),
    },
    "find_empty": {"match": {"endpoint": "chat/find*"}, "answer": "empty"},
    "find_500": {
        "match": {"endpoint": "chat/find*"},
        "answer": _crash("\nInvalid `this.prismaRepository.message.findMany()` invocation"),
    },
    "no_webhooks": {"webhook": "drop"},
    "acks_dropped": {"webhook": "drop", "match": {"event": "messages.update"}},
    "echo_dropped": {"webhook": "drop", "match": {"event": "send.message"}},
    "webhooks_doubled": {"webhook": "duplicate", "seconds": 0.05},
    "webhooks_shuffled": {"webhook": "shuffle", "seconds": 0.5},
}

PRESETS = {**_ROWS, **_OTHERS}
"""Preset name -> partial fault description, as POST /_control/faults takes it."""
