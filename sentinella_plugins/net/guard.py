"""Which URLs and which addresses may be asked. Nothing here touches the network."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import httpx2

from sentinella_plugins.net.config import NetConfig
from sentinella_plugins.net.models import AddressRefused, UrlRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_PORTS = {"http": 80, "https": 443}
_LOW = 1024
_HOST = re.compile(r"[a-z0-9._-]{1,253}")
_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_V6 = IPv6Network("2000::/3")
# RFC 6890 and its registry, written out: what the standard library calls global differs between versions.
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # the host of every Azure machine
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo, ORCHID, benchmarking: all of IETF's protocol assignments
        "2001:db8::/32",
        "2002::/16",  # 6to4: any IPv4 address inside
        "3fff::/20",
    )
)


def is_public(address: Address) -> bool:
    """Whether the whole Internet may reach it: not private, loopback, link-local, shared, multicast or
    reserved, and no such IPv4 address inside an IPv6 one."""
    inner = embedded(address)
    if isinstance(inner, IPv4Address):
        return not any(inner in network for network in _NOT_PUBLIC_V4)
    if inner.scope_id is not None or inner not in _GLOBAL_V6:
        return False
    return not any(inner in network for network in _NOT_PUBLIC_V6)


def embedded(address: Address) -> Address:
    """The IPv4 address that an IPv4-mapped or NAT64 address stands for, else the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def literal(host: str) -> Address | None:
    """The address that a host is written as, if it is one."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def host_of(url: str | httpx2.URL) -> str:
    """In lower case and ASCII, as it is looked up."""
    return httpx2.URL(url).raw_host.decode("ascii")


def fits(patterns: Iterable[str], host: str) -> bool:
    """Whether any of `api.example.com`, `*.example.com` is this host."""
    host = host.lower().rstrip(".")
    return any(host.endswith(name[1:]) if name.startswith("*.") else host == name for name in patterns)


class Guard:
    def __init__(self, config: NetConfig) -> None:
        self._http = config.http
        self._low_ports = frozenset(config.low_ports)
        self._names, self._networks = _split(config.allow)

    def url(self, text: str) -> httpx2.URL:
        """The URL, if it may be asked as far as can be seen without its address. Raises `UrlRefused` or
        `AddressRefused`."""
        try:
            url = httpx2.URL(text)
            host = host_of(url)
            port = _PORTS.get(url.scheme, 0) if url.port is None else url.port
        except (httpx2.InvalidURL, ValueError):
            raise UrlRefused("This is not a URL.") from None
        address = literal(host)
        if url.scheme not in _PORTS or not (address or _HOST.fullmatch(host)):
            raise UrlRefused
        if url.userinfo:
            raise UrlRefused("A URL may not hold a user name or password: use a header.")
        if not 0 < port < 65_536 or (port < _LOW and port not in self._low_ports):
            raise UrlRefused(f"Port {port} may not be asked.")
        if address is not None:
            self.address(host, address)
        if url.scheme == "http" and not self._plain(host, address):
            raise UrlRefused("The URL must begin with `https://`.")
        return url

    def address(self, host: str, address: Address) -> None:
        """Raises `AddressRefused` unless it is public or the operator allows the host or the address."""
        if not (is_public(address) or self.names(host) or self._inside(address)):
            raise AddressRefused

    def names(self, host: str) -> bool:
        """Whether the operator allows this host by its name."""
        return fits(self._names, host)

    def _inside(self, address: Address) -> bool:
        inner = embedded(address)
        return any(inner in network for network in self._networks if network.version == inner.version)

    def _plain(self, host: str, address: Address | None) -> bool:
        return self._http or self.names(host) or (address is not None and self._inside(address))


def _split(entries: Iterable[str]) -> tuple[tuple[str, ...], tuple[Network, ...]]:
    names, networks = [], []
    for entry in entries:
        try:
            networks.append(ip_network(entry))
        except ValueError:
            names.append(entry)
    return tuple(names), tuple(networks)
