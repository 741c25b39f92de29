"""Who may ask: a server on loopback is in reach of every web page that its user opens.

Two ways in are closed. DNS rebinding: a page makes its own name point at 127.0.0.1; then the
Host is that name. IP addresses cannot be rebound, names must be known. Requests across
origins: browsers send them without a question, and say so in Origin and Sec-Fetch-Site; other
programs send neither header.
"""

import ipaddress
import re
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """ASGI middleware: refuses requests of other origins, adds headers to all answers.

    Args:
        hosts: names, besides localhost and IP addresses, by which this server is known.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()):
        self.app = app
        # "" is what `_name` calls malformed.
        self.hosts = {"localhost", *(_name(host).lower() for host in hosts)} - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self.refusal(scope["method"], scope["path"], Headers(scope=scope))
        app = JSONResponse({"error": refusal}, 403) if refusal else self.app
        return await app(scope, receive, guarded)

    def refusal(self, method: str, path: str, headers: Headers) -> str:
        """Why a request is refused; "" when it is not."""
        host = headers.get("host", "")
        if not self.is_known(_name(host)):
            return (
                f"Expected a Host that is an IP address or one of {sorted(self.hosts)}, "
                f"received {host[:100]!r}. The flag --allowed_hosts=NAME adds one."
            )
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return f"Expected a request of this server's own page, not of {origin[:100]!r}."
        opened = method == "GET" and path == "/" and headers.get("sec-fetch-mode") == "navigate"
        if not opened and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return "Expected a request of this server's own page, not of another site."
        return ""

    def is_known(self, name: str) -> bool:
        """Whether a host name cannot be somebody else's."""
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.lower() in self.hosts
        return True


def _name(host):
    """A Host without its port: `[::1]:8501` -> `::1`; "" when it is malformed."""
    found = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::\d*)?", host)
    return (found[1] or found[2]) if found else ""
