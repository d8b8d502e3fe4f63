from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import insert

from sentinella_plugins.auth.config import AuthConfig
from sentinella_plugins.auth.models import NewKey, StaticKeys
from sentinella_plugins.auth.service import AuthService
from sentinella_plugins.auth.stage import AuthStage
from sentinella_plugins.kernel.call import Call
from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.kernel.errors import BadRequest, Conflict, NotFound, Unauthenticated, Unavailable
from sentinella_plugins.kernel.limits import Limits
from sentinella_plugins.kernel.secrets import Secret, new_key
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import tenants

STATIC: StaticKeys = {"admin": Secret("the-master-key"), "member": Secret("the-default-key")}
DAY = 86_400


@dataclass(frozen=True)
class Desk:
    database: Database
    clock: ManualClock
    auth: AuthService

    def other_worker(self, config: AuthConfig | None = None) -> AuthService:
        return AuthService(self.database, self.clock, config or AuthConfig(), STATIC)


async def add_tenant(database: Database, tenant: str) -> None:
    row = {"id": tenant, "document": "{}", "created_at": 0.0, "updated_at": 0.0}
    await database.write(lambda connection: connection.execute(insert(tenants), row).close())


@asynccontextmanager
async def desk(folder: Path, config: AuthConfig | None = None) -> AsyncIterator[Desk]:
    clock = ManualClock()
    database = Database(f"sqlite:///{folder / 'auth.db'}", clock=clock)
    await database.open()
    try:
        for tenant in ("acme", "bolt"):
            await add_tenant(database, tenant)
        auth = AuthService(database, clock, config or AuthConfig(), STATIC)
        yield Desk(database, clock, auth)
        await auth.close()
    finally:
        await database.close()


async def refusal(auth: AuthService, credential: str | None) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await auth.authenticate(credential)
    return caught.value.message


@pytest.mark.asyncio
async def test_static_keys(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        admin = await at.auth.authenticate("the-master-key")
        member = await at.auth.authenticate("the-default-key")
        assert (admin.tenant, admin.key_id, admin.role) == ("default", "master", "admin")
        assert (member.tenant, member.key_id, member.role) == ("default", "default", "member")


@pytest.mark.asyncio
async def test_without_static_keys_nobody_is_the_master(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        auth = AuthService(at.database, at.clock, AuthConfig(), {"admin": Secret("")})
        for credential in ("", "the-master-key", None):
            await refusal(auth, credential)


@pytest.mark.asyncio
async def test_a_key_proves_who_calls(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        new = NewKey(name="ci", role="admin", models=("gpt-*",), limits=Limits(requests_per_day=7))
        issued = await at.auth.create("acme", new)
        who = await at.auth.authenticate(issued.key)
        assert (who.tenant, who.key_id, who.key_name, who.role) == ("acme", issued.id, "ci", "admin")
        assert (who.models, who.limits) == (("gpt-*",), Limits(requests_per_day=7))
        assert issued.key not in repr(issued)
        assert issued.hint == f"sk-sen-...{issued.key[-4:]}"


@pytest.mark.asyncio
async def test_refusals_tell_why(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        issued = await at.auth.create("acme", NewKey(name="ci", expires_at=int(at.clock.now()) + 100))
        assert "Send `Authorization" in await refusal(at.auth, None)
        assert "mistyped" in await refusal(at.auth, issued.key[:-1])
        assert "mistyped" in await refusal(at.auth, "sk-sen-" + "\ud800" * 46)
        unknown = new_key()
        message = await refusal(at.auth, unknown)
        assert "is unknown" in message and unknown not in message
        await at.auth.authenticate(issued.key)
        at.clock.advance(99.999)
        await at.auth.authenticate(issued.key)
        at.clock.advance(0.001)
        assert "expired at 2023-11-14 22:15:00 UTC" in await refusal(at.auth, issued.key)
        await at.auth.revoke("acme", issued.id)
        assert "has been revoked" in await refusal(at.auth, issued.key)


@pytest.mark.asyncio
async def test_expiry_is_checked_at_every_call_and_not_only_when_read(tmp_path: Path) -> None:
    async with desk(tmp_path, AuthConfig(cache_ttl_s=0.9)) as at:
        at.clock.advance(0.5)
        issued = await at.auth.create("acme", NewKey(name="ci", expires_at=int(at.clock.now()) + 1))
        await at.auth.authenticate(issued.key)
        at.clock.advance(0.5)
        assert "expired" in await refusal(at.auth, issued.key)


@pytest.mark.asyncio
async def test_a_mistyped_key_does_not_reach_the_store(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        key = new_key()
        await at.database.close()
        assert "mistyped" in await refusal(at.auth, "sk-sen-" + key[8:] + key[7])
        with pytest.raises(Unavailable):
            await at.auth.authenticate(key)


@pytest.mark.asyncio
async def test_a_revocation_holds_here_at_once_and_elsewhere_within_a_second(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        other = at.other_worker()
        issued = await at.auth.create("acme", NewKey(name="ci"))
        await asyncio.gather(at.auth.authenticate(issued.key), other.authenticate(issued.key))
        await at.auth.revoke("acme", issued.id)
        await refusal(at.auth, issued.key)
        at.clock.advance(1.0)
        await refusal(other, issued.key)
        await other.close()


@pytest.mark.asyncio
async def test_an_unknown_key_is_remembered_no_longer_than_a_known_one(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        issued = await at.auth.create("acme", NewKey(name="ci"))
        await at.auth.revoke("acme", issued.id)
        await refusal(at.auth, issued.key)
        at.clock.advance(0.5)
        await refusal(at.auth, issued.key)


@pytest.mark.asyncio
async def test_when_the_database_is_down(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        lenient = at.other_worker(AuthConfig(on_failure="open"))
        issued = await at.auth.create("acme", NewKey(name="ci", expires_at=int(at.clock.now()) + 60))
        for auth in (at.auth, lenient):
            await auth.authenticate(issued.key)
        await at.database.close()
        at.clock.advance(30)
        with pytest.raises(Unavailable):
            await at.auth.authenticate(issued.key)
        assert (await lenient.authenticate(issued.key)).tenant == "acme"
        with pytest.raises(Unavailable):
            await lenient.authenticate(new_key())
        at.clock.advance(30)
        assert "expired" in await refusal(lenient, issued.key)
        assert (await at.auth.authenticate("the-master-key")).role == "admin"
        await lenient.close()


@pytest.mark.asyncio
async def test_rotation_without_grace(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        new = NewKey(name="ci", models=("gpt-*",), limits=Limits(max_concurrency=2), expires_at=2_000_000_000)
        old = await at.auth.create("acme", new)
        await at.auth.authenticate(old.key)
        heir = await at.auth.rotate("acme", old.id)
        kept = {"name", "role", "models", "limits", "expires_at"}
        assert heir.model_dump(include=kept) == old.model_dump(include=kept)
        assert heir.replaces == old.id
        assert "revoked" in await refusal(at.auth, old.key)
        assert (await at.auth.authenticate(heir.key)).key_id == heir.id
        with pytest.raises(NotFound):
            await at.auth.rotate("acme", old.id)


@pytest.mark.asyncio
async def test_rotation_with_grace(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        old = await at.auth.create("acme", NewKey(name="ci"))
        heir = await at.auth.rotate("acme", old.id, grace_s=30 * DAY)
        with pytest.raises(Conflict, match=heir.id):
            await at.auth.rotate("acme", old.id)
        at.clock.advance(30 * DAY - 1)
        await at.auth.authenticate(old.key)
        at.clock.advance(1)
        assert "expired" in await refusal(at.auth, old.key)
        assert (await at.auth.authenticate(heir.key)).key_name == "ci"


@pytest.mark.asyncio
async def test_grace_does_not_prolong_a_key_and_an_expired_one_has_no_heir(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        old = await at.auth.create("acme", NewKey(name="ci", expires_at=int(at.clock.now()) + 10))
        await at.auth.rotate("acme", old.id, grace_s=DAY)
        at.clock.advance(10)
        await refusal(at.auth, old.key)
        with pytest.raises(Conflict, match="expired"):
            await at.auth.rotate("acme", old.id)


@pytest.mark.asyncio
async def test_two_rotations_at_once_give_one_heir(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        old = await at.auth.create("acme", NewKey(name="ci"))
        rotations = [at.auth.rotate("acme", old.id, grace_s=60) for _ in range(10)]
        results = await asyncio.gather(*rotations, return_exceptions=True)
        assert sum(not isinstance(result, Conflict) for result in results) == 1


@pytest.mark.asyncio
async def test_keys_stay_in_their_tenant(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        issued = await at.auth.create("acme", NewKey(name="ci"))
        for verb in (at.auth.get, at.auth.revoke, at.auth.rotate):
            with pytest.raises(NotFound):
                await verb("bolt", issued.id)
        assert (await at.auth.page("bolt")).data == ()
        await at.auth.authenticate(issued.key)


@pytest.mark.asyncio
async def test_unknown_tenants_and_past_expiries_are_refused(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        for tenant in ("nobody", "NUL\0", "x" * 64):
            with pytest.raises(NotFound):
                await at.auth.create(tenant, NewKey(name="ci"))
            with pytest.raises(NotFound):
                await at.auth.page(tenant)
        with pytest.raises(BadRequest, match="expires_at"):
            await at.auth.create("acme", NewKey(name="ci", expires_at=int(at.clock.now())))


@pytest.mark.asyncio
async def test_pages(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        made = [(await at.auth.create("acme", NewKey(name=str(number)))).id for number in range(5)]
        await at.auth.revoke("acme", made[1])
        first = await at.auth.page("acme", limit=2)
        rest = await at.auth.page("acme", limit=2, after=first.data[-1].id)
        assert first.has_more and not rest.has_more
        assert {key.id for key in (*first.data, *rest.data)} == set(made) - {made[1]}


@pytest.mark.asyncio
async def test_last_use_is_noted_once_a_minute(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        issued = await at.auth.create("acme", NewKey(name="ci"))
        first = int(at.clock.now())
        for seconds, noted in ((0, first), (30, first), (31, first + 61)):
            at.clock.advance(seconds)
            await at.auth.authenticate(issued.key)
            await at.auth.close()
            assert (await at.auth.get("acme", issued.id)).last_used_at == noted


@pytest.mark.asyncio
async def test_the_stage_puts_the_principal_on_the_call_and_drops_the_credential(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        call = Call(
            id="r", route="/v1/chat/completions", model="m", body={}, received_at=0, started=0,
            credential=Secret("the-default-key"),
        )  # fmt: skip
        entered = await AuthStage(at.auth).enter(call)
        assert entered.principal.key_id == "default"
        assert entered.credential is None
        with pytest.raises(Unauthenticated):
            await AuthStage(at.auth).enter(call.evolve(credential=None))
