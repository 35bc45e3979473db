"""URLs for records and messages: without passwords and tokens."""

from __future__ import annotations

import re

HIDDEN = "***"

_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:@\[\]]*)(:\d*)?")


def without_secrets(url: str) -> str:
    """Return a URL without its user name and password, and with the values of its query hidden.

    People write passwords with ``@``, ``/`` and ``?`` as they are. Where it is not certain which
    part is the password, rather too much is removed. A text that is no URL is returned as it is.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    authority, path = (re.split(pattern, rest, maxsplit=1)[0] for pattern in ("[/?#]", "[?#]"))
    host = _HOST_AND_PORT.fullmatch(authority)
    last = rest.rfind("@")
    if last >= 0 and ":" in re.sub(r"^\[[^\]]*\]", "", rest[:last]):
        if host is None or "@" in path:
            rest = rest[last + 1 :]
        elif host[2]:  # "host:80/?to=a@b", or the user "host" with a password that begins with 80
            return f"{scheme}://{host[1]}:{HIDDEN}"
    elif "@" in authority:
        rest = rest[authority.rfind("@") + 1 :]
    address, _, query = rest.partition("#")[0].partition("?")
    if not query:
        return f"{scheme}://{address}"
    names = (each.partition("=") for each in query.split("&"))
    hidden = (f"{name}={HIDDEN}" if equals else HIDDEN for name, equals, _ in names)
    return f"{scheme}://{address}?{'&'.join(hidden)}"
