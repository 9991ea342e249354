"""docker-compose.yml, the Dockerfile and .env.example agree with each other and with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICE_KEYS = {
    *(
        "build",
        "command",
        "depends_on",
        "env_file",
        "environment",
        "healthcheck",
        "hostname",
        "image",
        "init",
    ),
    *("ports", "profiles", "restart", "stop_grace_period", "volumes"),
}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def _compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE)
    return loaded


SERVICES: dict[str, dict[str, Any]] = _compose()["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "alrea-sense"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_only_known_keys(name: str) -> None:
    assert set(SERVICES[name]) - SERVICE_KEYS == set()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_services_that_are_there(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how["condition"] in CONDITIONS
        if how["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"], f"{other} says nothing about its health"


def test_every_named_volume_is_declared_and_used() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(_compose()["volumes"])


def test_the_servers_are_those_the_contract_names() -> None:
    images = {SERVICES[name]["image"] for name in ("postgres", "redis", "rabbitmq")}
    assert images == {"postgres:16", "redis:7", "rabbitmq:3.13-management"}
    redis = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in redis
    assert "--maxmemory-policy noeviction" in redis


@pytest.mark.parametrize("name", OURS)
def test_what_it_runs_exists(name: str) -> None:
    command = OURS[name].get("command")
    if command and "manage.py" in command:
        assert command[command.index("manage.py") + 1] in get_commands()
    elif command:
        assert command[:2] == ["python", "-m"]
        assert (ROOT / "backend" / command[2] / "__main__.py").exists()


def test_the_web_server_leaves_consuming_to_the_workers() -> None:
    assert SERVICES["web"]["environment"]["CHAT_DISABLE_ASGI_CONSUMERS"] == "1"
    assert (
        SERVICES["web"]["environment"]["REDIS_URL"] == SERVICES["stream-worker"]["environment"]["REDIS_URL"]
    )


def test_a_worker_may_drain_before_it_is_killed() -> None:
    grace = int(SERVICES["stream-worker"]["stop_grace_period"].rstrip("s"))
    example = re.search(r"^#CHAT_DRAIN_SECONDS=(\d+)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert example
    assert grace > int(example[1])


def test_it_holds_no_secret() -> None:
    for line in COMPOSE.splitlines():
        if re.match(r"\s+\w*(SECRET_KEY|PASSWORD|PASS):", line):
            assert re.search(r": \$\{\w+:\?", line), line
    assert not re.search(r"//\w+:[^$@/]+@", COMPOSE)


def test_every_variable_it_asks_for_is_in_the_example() -> None:
    asked = set(re.findall(r"\$\{(\w+)", COMPOSE))
    offered = set(re.findall(r"^#?(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert asked - offered == set()


def test_the_image_runs_as_nobody_in_particular_and_knows_its_health() -> None:
    assert re.search(r"^USER (?!root)\w+$", DOCKERFILE, re.MULTILINE)
    assert "HEALTHCHECK" in DOCKERFILE
    assert DOCKERFILE.index("USER alrea") < DOCKERFILE.index("\nCMD")


def test_the_line_that_cuts_requirements_is_there() -> None:
    """The Dockerfile and scripts/venv.sh install what stands above it."""
    assert re.search(r"^# Tests and checks", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
