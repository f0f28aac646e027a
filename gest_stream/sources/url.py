"""Addresses as they may be shown: without passwords and tokens."""

from __future__ import annotations

import re

_HIDDEN = "***"
# A password may hold "/", "?" and "#" where its owner did not escape them, so it ends at the last "@"; digits up to a
# "/" after the first colon are a port instead.
_USER_PASSWORD = re.compile(r"^([a-z][a-z0-9+.-]*://[^/@:]*:)(?!\d+/)(.*)@", re.IGNORECASE | re.DOTALL)
_USER = re.compile(r"^([a-z][a-z0-9+.-]*://)([^/@]*)@", re.IGNORECASE)
_QUERY = re.compile(
    r"([?&;][^=&;#]*(?:token|key|pass|pwd|secret|auth|sig|credential|session|jwt)[^=&;#]*=)[^&;#]*", re.IGNORECASE
)


def redacted(url: str) -> str:
    """`url` with the password, or a user name that stands alone, and query values that look secret replaced by ***."""
    shown, replaced = _USER_PASSWORD.subn(rf"\g<1>{_HIDDEN}@", url)
    if not replaced:
        shown = _USER.sub(rf"\g<1>{_HIDDEN}@", url)
    return _QUERY.sub(rf"\g<1>{_HIDDEN}", shown)
