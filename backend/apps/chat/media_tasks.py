"""The waist between callers and workers for what comes beside the text: contacts' pictures and names, groups, files."""

from __future__ import annotations

from apps.chat.enrichment.handlers import (
    handle_fetch_contact_name,
    handle_fetch_group_info,
    handle_fetch_profile_pic,
)

__all__ = [
    "handle_fetch_contact_name",
    "handle_fetch_group_info",
    "handle_fetch_profile_pic",
]
