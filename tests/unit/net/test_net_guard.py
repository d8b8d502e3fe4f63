from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sentinella_plugins.net.config import NetConfig
from sentinella_plugins.net.guard import Guard, is_public
from sentinella_plugins.net.models import AddressRefused, UrlRefused

PRIVATE = [
    "0.0.0.0",  # noqa: S104
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1111%eth0",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "168.63.129.17",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("text", PRIVATE)
def test_what_the_internet_cannot_reach_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_the_internet_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_like_itself(address: IPv4Address) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        assert is_public(IPv6Address(int(IPv6Address(prefix)) + int(address))) == is_public(address)


@given(st.ip_addresses())
def test_nothing_that_the_standard_library_calls_private_is_public(
    address: IPv4Address | IPv6Address,
) -> None:
    if address.is_private or address.is_multicast or address.is_loopback or address.is_link_local:
        assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "//api.example.com/",
        "https://",
        "https:///x",
        "http://api.example.com/",
        "ftp://api.example.com/",
        "file:///etc/passwd",
        "gopher://api.example.com/",
        "https://user@api.example.com/",
        "https://user:password@api.example.com/",
        "https://api.example.com:22/",
        "https://api.example.com:0/",
        "https://api.example.com:70000/",
        "https://api.example.com:x/",
        "https://[::1/",
        "https://exa mple.com/",
        "https://example.com\\@127.0.0.1/",
    ],
)
def test_urls_that_may_not_be_asked(url: str) -> None:
    with pytest.raises((UrlRefused, AddressRefused)):
        Guard(NetConfig()).url(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254"])
def test_addresses_in_a_url_are_checked_at_once(host: str) -> None:
    with pytest.raises((UrlRefused, AddressRefused)):
        Guard(NetConfig()).url(f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/x?y=1",
        "https://api.example.com:8443",
        "https://1.1.1.1/",
        "https://[2606:4700::1]/",
    ],
)
def test_urls_that_may_be_asked(url: str) -> None:
    assert str(Guard(NetConfig()).url(url)).startswith(url)


def test_what_the_operator_allows() -> None:
    guard = Guard(NetConfig(allow=("10.1.0.0/16", "API.internal.", "*.corp.example", "fd12::/16")))
    for url in (
        "http://10.1.2.3/",
        "https://[::ffff:10.1.2.3]/",
        "http://api.internal/",
        "http://a.corp.example/",
        "https://[fd12::1]/",
    ):
        guard.url(url)
    guard.address("api.internal", ip_address("127.0.0.1"))
    for url in ("http://10.2.0.1/", "http://corp.example/", "http://api.internal.evil.example/"):
        with pytest.raises((UrlRefused, AddressRefused)):
            guard.url(url)
    with pytest.raises(AddressRefused):
        guard.address("corp.example", ip_address("127.0.0.1"))


def test_plain_http_and_low_ports_by_setting() -> None:
    Guard(NetConfig(http=True)).url("http://api.example.com/")
    Guard(NetConfig(low_ports=(22,))).url("https://api.example.com:22/")
    with pytest.raises(UrlRefused):
        Guard(NetConfig(low_ports=(22,))).url("https://api.example.com/")


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "a b", "https://x", "*", "", "10.0.0.1/8"])
def test_entries_that_mean_nothing_are_refused(entry: str) -> None:
    with pytest.raises(ValidationError):
        NetConfig(allow=(entry,))
