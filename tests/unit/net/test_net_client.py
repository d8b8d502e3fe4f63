from __future__ import annotations

import asyncio
import gzip
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.net.backend import Resolve
from sentinella_plugins.net.client import GuardedClient
from sentinella_plugins.net.config import NetConfig
from sentinella_plugins.net.models import (
    AddressRefused,
    ConnectionFailed,
    DeadlinePassed,
    HostUnknown,
    Outbound,
    ResponseTooLarge,
    ResponseUnreadable,
    TooManyRedirects,
    UrlRefused,
)
from tests import wild_servers as ws
from tests.servers import free_port

pytestmark = pytest.mark.asyncio
HERE = ws.Names(tool_test=["127.0.0.1"], other_test=["127.0.0.1"], evil_test=["127.0.0.1"])
ALLOWED = NetConfig(allow=("tool.test", "other.test"), max_response_bytes=10_000)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ws.Wild]:
    async with ws.wild() as found:
        yield found


@asynccontextmanager
async def guarded(
    config: NetConfig = ALLOWED, resolve: Resolve | None = HERE, tls: ssl.SSLContext | None = None
) -> AsyncIterator[GuardedClient]:
    client = GuardedClient(config, resolve=resolve, tls=tls)
    try:
        yield client
    finally:
        await client.close()


async def failure(client: GuardedClient, url: str, within_s: float = 5, **more: object) -> SentinellaError:
    with pytest.raises(SentinellaError) as caught:
        await client.fetch(Outbound(method="GET", url=url, **more), within_s=within_s)  # type: ignore[arg-type]
    return caught.value


async def test_an_answer_comes_whole(server: ws.Wild) -> None:
    server.paths["/x"] = ws.says('{"ok": true}')
    async with guarded() as client:
        request = Outbound(
            method="POST", url=server.url("/x?y=%20z"), headers={"X-Key": "k"}, content=b"hello"
        )
        answer = await client.fetch(request, within_s=5)
    assert (answer.status, answer.content, answer.redirects) == (200, b'{"ok": true}', 0)
    asked = server.asked[0]
    assert (asked.method, asked.target, asked.body) == ("POST", "/x?y=%20z", b"hello")
    assert (asked.headers["host"], asked.headers["x-key"]) == (f"tool.test:{server.port}", "k")
    assert "k" not in repr(request).replace("tool.test", "")[50:] and "hello" not in repr(request)


async def test_an_error_status_is_an_answer(server: ws.Wild) -> None:
    server.paths["/x"] = ws.says("no", status=418)
    async with guarded() as client:
        assert (await client.fetch(Outbound(method="GET", url=server.url("/x")), within_s=5)).status == 418


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.0.0.1"])
async def test_names_that_lead_home_are_refused(server: ws.Wild, host: str) -> None:
    """By the machine's own resolver."""
    async with guarded(NetConfig(http=True), resolve=None) as client:
        error = await failure(client, server.url("/x", host=host))
    assert isinstance(error, AddressRefused) and server.asked == []


async def test_a_name_that_cannot_be_looked_up() -> None:
    async with guarded(NetConfig(http=True), resolve=None) as client:
        assert isinstance(await failure(client, f"https://{64 * 'x'}.test/"), HostUnknown)


async def test_one_refused_address_among_many_refuses_the_host(server: ws.Wild) -> None:
    names = ws.Names(
        mixed_test=["1.1.1.1", "127.0.0.1"], flood_test=["1.1.1.1", *(f"1.1.1.{i}" for i in range(2, 19))]
    )
    async with guarded(NetConfig(http=True), names) as client:
        assert isinstance(await failure(client, server.url("/x", "mixed.test")), AddressRefused)
        assert isinstance(await failure(client, server.url("/x", "flood.test")), HostUnknown)
    assert server.asked == []


async def test_the_connection_leads_to_the_address_that_was_checked(server: ws.Wild) -> None:
    """A name that leads elsewhere at the second look: there is no second look."""

    class Rebinding(ws.Names):
        async def __call__(self, host: str, port: int):  # type: ignore[no-untyped-def]
            found = await super().__call__(host, port)
            self.names[host] = ["10.9.9.9"]
            return found

    names = Rebinding(rebind_test=["127.0.0.1"])
    server.paths["/x"] = ws.says("{}")
    async with guarded(NetConfig(allow=("127.0.0.0/8",), http=True), names) as client:
        answer = await client.fetch(Outbound(method="GET", url=server.url("/x", "rebind.test")), within_s=5)
        assert (answer.status, names.asked) == (200, ["rebind.test"])
    async with guarded(NetConfig(allow=("127.0.0.0/8",), http=True), names) as client:
        assert isinstance(await failure(client, server.url("/x", "rebind.test")), AddressRefused)


async def test_the_next_address_is_tried(server: ws.Wild) -> None:
    names = ws.Names(tool_test=["127.0.0.2", "127.0.0.1"])
    server.paths["/x"] = ws.says("{}")
    async with guarded(resolve=names) as client:
        assert (await client.fetch(Outbound(method="GET", url=server.url("/x")), within_s=5)).status == 200
        assert isinstance(await failure(client, f"http://tool.test:{free_port()}/"), ConnectionFailed)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("http://169.254.169.254/latest/meta-data/", AddressRefused),
        ("http://127.0.0.1:{port}/y", AddressRefused),
        ("//127.0.0.1:{port}/y", AddressRefused),
        ("http://[::1]:{port}/y", AddressRefused),
        ("http://evil.test:{port}/y", UrlRefused),
        ("https://evil.test:{port}/y", AddressRefused),
        ("https://user@tool.test/", UrlRefused),
        ("ftp://tool.test/", UrlRefused),
        ("https://[::1", ResponseUnreadable),
    ],
)
async def test_every_hop_is_checked(server: ws.Wild, target: str, kind: type[SentinellaError]) -> None:
    server.paths["/x"] = ws.redirects(target.format(port=server.port))
    server.paths["/y"] = ws.says("secret")
    async with guarded() as client:
        assert isinstance(await failure(client, server.url("/x")), kind)
    assert [asked.target for asked in server.asked] == ["/x"]


async def test_redirects_end(server: ws.Wild) -> None:
    server.paths["/x"] = ws.redirects("/x")
    async with guarded() as client:
        assert isinstance(await failure(client, server.url("/x")), TooManyRedirects)
    assert len(server.asked) == ALLOWED.max_redirects + 1


async def test_only_the_hosts_of_the_request(server: ws.Wild) -> None:
    server.paths |= {"/x": ws.redirects(server.url("/y", "other.test")), "/y": ws.says("{}")}
    async with guarded() as client:
        hosts = frozenset({"tool.test"})
        assert isinstance(await failure(client, server.url("/x"), hosts=hosts), UrlRefused)
        both = Outbound(method="GET", url=server.url("/x"), hosts=frozenset({"tool.test", "*.test"}))
        assert (await client.fetch(both, within_s=5)).redirects == 1


@pytest.mark.parametrize(
    ("status", "method", "host", "then", "keeps"),
    [
        (302, "GET", "tool.test", "GET", True),
        (302, "GET", "other.test", "GET", False),
        (303, "POST", "tool.test", "GET", True),
        (307, "POST", "tool.test", "POST", True),
        (308, "POST", "other.test", "POST", False),
    ],
)
async def test_secrets_stay_with_their_origin(
    server: ws.Wild, status: int, method: str, host: str, then: str, keeps: bool
) -> None:
    server.paths |= {"/x": ws.redirects(server.url("/y", host), status), "/y": ws.says("{}")}
    headers = {"Authorization": "Bearer s", "X-Api-Key": "s", "content-type": "text/x", "accept": "text/y"}
    content = b"data" if method == "POST" else None
    async with guarded() as client:
        await client.fetch(
            Outbound(method=method, url=server.url("/x"), headers=headers, content=content), within_s=5
        )
    second = server.asked[1]
    assert second.method == then and second.body == (b"data" if then == "POST" else b"")
    assert ("authorization" in second.headers, "x-api-key" in second.headers) == (keeps, keeps)
    assert second.headers["accept"] == "text/y"
    assert second.headers["host"] == f"{host}:{server.port}"


async def test_a_silent_server(server: ws.Wild) -> None:
    server.paths["/x"] = ws.silent
    async with guarded() as client:
        assert isinstance(await failure(client, server.url("/x"), within_s=0.1), DeadlinePassed)


async def test_a_trickle_does_not_outwit_the_deadline(server: ws.Wild) -> None:
    server.paths["/x"] = ws.trickling
    async with guarded() as client:
        assert isinstance(await failure(client, server.url("/x"), within_s=0.2), DeadlinePassed)
    await asyncio.wait_for(server.gone.wait(), 5)


async def test_an_endless_body_is_cut(server: ws.Wild) -> None:
    server.paths["/x"] = ws.endless
    async with guarded() as client:
        assert isinstance(await failure(client, server.url("/x")), ResponseTooLarge)
    await asyncio.wait_for(server.gone.wait(), 5)


@pytest.mark.parametrize(
    ("behave", "kind"),
    [
        (ws.cut(b"{}", 100), ConnectionFailed),
        (ws.cut(b"{}", 10**15), ConnectionFailed),
        (ws.says(b"x" * 10_001), ResponseTooLarge),
        (ws.says(b"{}", content_length="-1"), ConnectionFailed),
        (ws.says(b"{}", content_encoding="gzip"), ResponseUnreadable),
        (ws.says(b"{}", content_encoding="br"), ResponseUnreadable),
        (ws.says(gzip.compress(gzip.compress(b"x")), content_encoding="gzip, gzip"), ResponseUnreadable),
        (ws.says(b"", x=("y" * 200_000)), ConnectionFailed),
    ],
)
async def test_lies(server: ws.Wild, behave: ws.Behave, kind: type[SentinellaError]) -> None:
    server.paths["/x"] = behave
    async with guarded() as client:
        assert type(await failure(client, server.url("/x"))) is kind


async def test_a_body_longer_than_it_says_ends_where_it_says(server: ws.Wild) -> None:
    server.paths["/x"] = ws.says(b"{}" + b"HTTP/1.1 200 OK", content_length="2")
    async with guarded() as client:
        answer = await client.fetch(Outbound(method="GET", url=server.url("/x")), within_s=5)
    assert answer.content == b"{}"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZip", "identity"])
async def test_compressed_answers(server: ws.Wild, encoding: str) -> None:
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding.lower()]
    server.paths["/x"] = ws.says(pack(b"y" * 10_000), content_encoding=encoding)
    async with guarded() as client:
        answer = await client.fetch(Outbound(method="GET", url=server.url("/x")), within_s=5)
    assert answer.content == b"y" * 10_000 and "content-encoding" not in answer.headers


async def test_a_bomb_is_never_unpacked(server: ws.Wild) -> None:
    server.paths["/x"] = ws.bomb(50_000_000)
    async with guarded() as client:
        server.paths["/warm"] = ws.says("{}")
        await client.fetch(Outbound(method="GET", url=server.url("/warm")), within_s=5)
        tracemalloc.start()
        try:
            assert isinstance(await failure(client, server.url("/x")), ResponseTooLarge)
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()


async def test_this_machines_proxies_are_not_asked(server: ws.Wild, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.paths["/x"] = ws.says("{}")
    async with guarded() as client:
        assert (await client.fetch(Outbound(method="GET", url=server.url("/x")), within_s=5)).status == 200
        async with httpx2.AsyncClient(transport=client.lend()) as lent:
            assert (await lent.get(server.url("/x"))).status_code == 200


async def test_the_pool_is_bounded(server: ws.Wild) -> None:
    server.paths["/x"] = ws.silent
    config = ALLOWED.model_copy(update={"max_connections": 2})
    async with guarded(config) as client:
        first = [asyncio.ensure_future(failure(client, server.url("/x"), within_s=1)) for _ in range(2)]
        later = await asyncio.gather(*(failure(client, server.url("/x"), within_s=0.2) for _ in range(3)))
        assert {type(error) for error in later} == {DeadlinePassed} and len(server.asked) == 2
        assert {type(error) for error in await asyncio.gather(*first)} == {DeadlinePassed}


async def test_what_is_lent_is_guarded_too(server: ws.Wild) -> None:
    server.paths |= {"/x": ws.says("{}"), "/big": ws.endless}
    async with guarded() as client:
        async with httpx2.AsyncClient(transport=client.lend(), headers={"x-key": "k"}) as lent:
            assert (await lent.get(server.url("/x"))).json() == {}
            with pytest.raises(ResponseTooLarge):
                await lent.get(server.url("/big"))
            with pytest.raises(AddressRefused):
                await lent.get(f"http://127.0.0.1:{server.port}/x")
        assert server.asked[0].headers["x-key"] == "k"
        assert (await client.fetch(Outbound(method="GET", url=server.url("/x")), within_s=5)).status == 200


async def test_tls_keeps_the_name(tmp_path: Path) -> None:
    """The certificate is checked against the name, although the connection went to an address."""
    served, trusting = _certificate(tmp_path, "tool.test")
    names: list[str | None] = []
    served.sni_callback = lambda _socket, name, _context: names.append(name)
    async with ws.wild(served) as server, guarded(tls=trusting) as client:
        server.paths["/x"] = ws.says("{}")
        good = Outbound(method="GET", url=server.url("/x", scheme="https"))
        assert (await client.fetch(good, within_s=5)).status == 200
        wrong = await failure(client, server.url("/x", "other.test", "https"))
    assert isinstance(wrong, ConnectionFailed)
    assert names == ["tool.test", "other.test"] and server.asked[0].headers["host"].startswith("tool.test")


def _certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pem, private)
    return served, ssl.create_default_context(cafile=str(pem))
