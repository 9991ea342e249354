"""`chat_doctor`: is all well, and if not, what is to be done?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.chat.doctor import Finding, examine


class Command(BaseCommand):
    help = (
        "Look over settings, servers, queues, workers, deliveries and invariants; change nothing. One line per "
        "check: ok, warning or problem, and what to do. Exit code 0: nothing needs a person; 1: something does."
    )
    requires_system_checks: list[str] = []  # they are among what it reports

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
        parser.add_argument("--full", action="store_true", help="check invariants in all of history (slow)")

    def handle(self, *args: Any, **options: Any) -> None:
        found = []
        for finding in examine(full=options["full"]):
            found.append(finding)
            if not options["json"]:
                self._print(finding)
        problems = sum(finding.level == "problem" for finding in found)
        if options["json"]:
            findings = [asdict(finding) for finding in found]
            self.stdout.write(json.dumps({"ok": not problems, "findings": findings}))
        if problems:
            raise CommandError(
                f"{problems} {'problem needs' if problems == 1 else 'problems need'} a person."
            )

    def _print(self, finding: Finding) -> None:
        style = {"ok": self.style.SUCCESS, "warning": self.style.WARNING, "problem": self.style.ERROR}
        do = f" -> {finding.do}" if finding.do else ""
        self.stdout.write(
            f"{style[finding.level](finding.level.ljust(8))} {finding.check}: {finding.text}{do}"
        )
