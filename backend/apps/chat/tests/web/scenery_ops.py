"""A system in trouble, for the tests and the pictures of the operations page."""

from __future__ import annotations

from apps.chat.tests.web.stub_ops import OpsStub, ago


def trouble(stub: OpsStub) -> None:
    """A bit of everything."""
    stub.instances = [
        stub.number("vendas", waiting=2, held=2, stale=2),
        stub.number(
            "suporte",
            connection="close",
            gate="parked",
            gate_reason="logged_out",
            gate_since=ago(12),
            next_probe_at=ago(-0.5),
            waiting=31,
        ),
    ]
    for name in ("Camila Duarte", "", "Padaria Três Irmãos"):
        stub.letter(name)
    stub.letter("Lucas Ferreira", "lookup_timed_out", attempts=5)
    stub.streams["send_message"] |= {"pending": 12, "lag": 230, "length": 242, "oldest_age_seconds": 75.0}
    stub.workers.append(
        {"name": "web-2-90-77aa01bc", "alive": False, "beat_at": ago(3), "started_at": ago(300)}
    )
    for code in ("stream_long", "stream_old"):
        stub.alerts.append({"queue": "send_message_stream", "code": code, "level": "warning", "message": "x"})
