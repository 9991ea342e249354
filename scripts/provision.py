"""Brings the database up to date and provisions the demo, in one process because each costs a second to start.

    provision.py '{"tenant": …, "agents": [email, …], "password": …, "instance": …, "evolution_url": …, "api_key": …}'

Prints what `chat_bootstrap --json` prints, as a list with one object for each agent.
"""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "backend"))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alrea_sense.settings")

import django


def main() -> None:
    wanted = json.loads(sys.argv[1])
    django.setup()
    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=0)
    print(json.dumps([_bootstrap(wanted, email) for email in wanted["agents"]]))


def _bootstrap(wanted: dict[str, Any], email: str) -> Any:
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    printed = io.StringIO()
    options = {name: wanted[name] for name in ("tenant", "instance", "evolution_url", "api_key")}
    if not get_user_model().objects.filter(email=email).exists():
        options["password"] = wanted["password"]
    call_command("chat_bootstrap", email=email, json=True, stdout=printed, **options)
    return json.loads(printed.getvalue())


if __name__ == "__main__":
    main()
