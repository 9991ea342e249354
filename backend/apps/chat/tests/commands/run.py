"""Running a command in this process, as the shell would see it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

from django.core.management import CommandError, call_command


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*args: object) -> Ran:
    """Exit code, stdout and stderr of `manage.py args`."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        call_command(*[str(arg) for arg in args], stdout=out, stderr=err)
    except CommandError as error:
        code = error.returncode
        err.write(str(error))
    except SystemExit as ended:
        code = int(ended.code or 0)
    return Ran(code, out.getvalue(), err.getvalue())
