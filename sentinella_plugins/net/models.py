"""What goes out, what comes back, and what may go wrong between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sentinella_plugins.kernel.errors import SentinellaError, Unprocessable


class UrlRefused(Unprocessable):
    """This URL may not be asked: use `https://host/path` without a user name, on an ordinary port."""

    code = "url_not_allowed"


class AddressRefused(Unprocessable):
    """This host leads to an address that is not public. Ask the operator to add it to `net.allow`."""

    code = "address_not_allowed"


class OutboundFailed(SentinellaError):
    """The server could not be asked."""

    status = 502
    code = "outbound_failed"
    type = "upstream_error"


class HostUnknown(OutboundFailed):
    """The host's name leads to no address."""

    code = "outbound_host_unknown"


class ConnectionFailed(OutboundFailed):
    """The server could not be reached, or broke the connection off."""

    code = "outbound_connection"


class DeadlinePassed(OutboundFailed):
    """The server did not answer in time."""

    status = 504
    code = "outbound_timeout"


class ResponseTooLarge(OutboundFailed):
    """The server's response is larger than this gateway takes."""

    code = "outbound_too_large"


class ResponseUnreadable(OutboundFailed):
    """The server's response breaks HTTP or its own compression."""

    code = "outbound_unreadable"


class TooManyRedirects(OutboundFailed):
    """The server sent the request on too often."""

    code = "outbound_redirects"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outbound:
    """A request. Redirects may lead to `hosts` only (`None`: to any that the guard lets pass); `headers`
    are left behind where the origin changes."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes | None = field(default=None, repr=False)
    hosts: frozenset[str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Inbound:
    """A whole response, decompressed. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    redirects: int = 0
