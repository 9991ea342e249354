"""Break the system on purpose, on servers of its own, and let the oracle judge."""

from __future__ import annotations

import importlib
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = (
        "Run reliability drills: a system of its own on spare ports, a seeded load, a fault from outside, and the "
        "verdict of the simulator's accept log. Exit status 1 when a guarantee did not hold."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--fault", action="append", metavar="NAME", help="a scenario by name or number; default all"
        )
        parser.add_argument("--seed", type=int, help="repeats a run's choices; default a random one")
        parser.add_argument("--messages", type=int, default=200, help="size of the load (default 200)")
        parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="sqlite")
        parser.add_argument(
            "--real-times", action="store_true", help="production's lease and settle times: takes minutes"
        )
        parser.add_argument(
            "--keep", action="store_true", help="keep logs and data of runs that were fine, too"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object; progress to stderr")
        parser.add_argument("--list", action="store_true", help="name the scenarios")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["messages"] < 1:
            raise CommandError("--messages must be 1 or more.")
        try:  # by name: the product must run where the tools of development are not installed
            drills = importlib.import_module("drill.main")
        except ModuleNotFoundError as error:
            raise CommandError(
                f"Drills need what development installs ({error.name} is missing): run `make install` in a checkout."
            ) from None
        try:
            sound = drills.main(options, self.stdout, self.stderr)
        except drills.Refused as refused:
            raise CommandError(str(refused)) from None
        if not sound:
            raise SystemExit(1)
