#!/usr/bin/env python
"""Django's command line for ALREA Sense."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alrea_sense.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        _ = settings.INSTALLED_APPS
    except ImproperlyConfigured as error:
        sys.exit(f"{error}")  # a wrong setting is one sentence, not a traceback
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
