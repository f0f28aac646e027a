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


# Stream keys and addresses that are a secret altogether (Cloudflare's, Twitch's) stand in the path; so do some names
# that are none, but one that is hidden in a message does less harm.
_PATH_KEY = re.compile(r"(?<=/)[A-Za-z0-9_~-]{32,}(?=[/?#]|$)")


def redacted(url: str) -> str:
    """`url` with what is or may be a secret replaced by ***.

    That is the password, or a user name that stands alone; query values whose names say so; and parts of the path that
    are 32 or more letters and digits long.
    """
    shown, replaced = _USER_PASSWORD.subn(rf"\g<1>{_HIDDEN}@", url)
    if not replaced:
        shown = _USER.sub(rf"\g<1>{_HIDDEN}@", url)
    return _PATH_KEY.sub(_HIDDEN, _QUERY.sub(rf"\g<1>{_HIDDEN}", shown))
