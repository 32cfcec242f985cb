"""Accounts, instruments and cash; instances, leases and markers; configurations and settings."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import insert

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.models import (
    DEFAULT_ACCOUNT_ID,
    Account,
    AccountMode,
    Base,
    CashFlowKind,
    CommitMarker,
    ConfigDataType,
    InstanceStatus,
    SystemConfig,
    new_id,
)
from gal_friday.dal.models.portfolio import DEFAULT_INITIAL_CAPITAL
from gal_friday.dal.repositories.configuration_repository import config_hash_of
from gal_friday.dal.unit_of_work import UnitOfWork, repository_classes
from gal_friday.database import Database
from gal_friday.errors import AlreadyExists, InvalidValue, NotFound
from tests.concurrency import at_once
from tests.factories import MINUTE, NOON, a_cash_flow, an_instance, an_instrument


async def test_an_account_is_opened_with_its_capital_and_opening_it_again_resets_nothing(
    uow: UnitOfWork,
) -> None:
    account = await uow.accounts.open_account(
        "fund", mode=AccountMode.LIVE, exchange="kraken", reporting_currency="EUR", initial_capital=Decimal(7)
    )
    (state,) = await uow.portfolio_states.of_account("fund")
    assert (account.mode, account.exchange, account.reporting_currency) == (AccountMode.LIVE, "kraken", "EUR")
    assert (state.currency, state.initial_capital, state.closed_equity) == ("EUR", Decimal(7), Decimal(7))
    assert state.peak_equity == Decimal(7)
    state.closed_equity = Decimal(9)
    await uow.portfolio_states.update(state)

    assert await uow.accounts.open_account("fund") is account
    assert (await uow.portfolio_states.of_account("fund"))[0].closed_equity == Decimal(9)


async def test_the_default_account_is_paper_with_five_million(uow: UnitOfWork) -> None:
    account = await uow.accounts.open_account()
    (state,) = await uow.portfolio_states.of_account()
    assert (account.account_id, account.mode) == (DEFAULT_ACCOUNT_ID, AccountMode.PAPER)
    assert state.closed_equity == Decimal(5_000_000)


async def test_a_paper_account_does_not_pass_for_a_live_one(uow: UnitOfWork) -> None:
    await uow.accounts.open_account("practice", exchange="kraken")
    with pytest.raises(AlreadyExists):
        await uow.accounts.open_account("practice", mode=AccountMode.LIVE)
    with pytest.raises(AlreadyExists):
        await uow.accounts.open_account("practice", exchange="binance")
    await uow.accounts.open_account("anywhere")
    with pytest.raises(AlreadyExists) as caught:
        await uow.accounts.open_account("anywhere", exchange="kraken")
    facts = {"account_id": "anywhere", "mode": "PAPER", "exchange": None}
    assert caught.value.facts == facts
    assert (await uow.accounts.open_account("anywhere", mode=AccountMode.PAPER)).exchange is None


async def test_ten_processes_that_open_an_account_at_once_open_one(database: Database) -> None:
    async def open_it(_: int) -> str:
        account: Account = await database.accounts.open_account("fund")
        return account.account_id

    assert await at_once(open_it, 10) == ["fund"] * 10
    assert await database.accounts.count(Account.account_id == "fund") == 1
    assert len(await database.portfolio_states.of_account("fund")) == 1


async def test_instruments_that_can_be_traded_are_listed_by_pair(uow: UnitOfWork) -> None:
    xrp, btc = an_instrument(trading_pair="XRP/USD", base_currency="XRP"), an_instrument()
    gone, elsewhere = an_instrument(trading_pair="LUNA/USD", active=False), an_instrument(exchange="binance")
    await uow.instruments.add_many([xrp, btc, gone, elsewhere])
    assert await uow.instruments.get_active_instruments("kraken") == [btc, xrp]


async def test_cash_is_found_by_the_exchanges_id_and_summed_by_currency(uow: UnitOfWork) -> None:
    deposit = a_cash_flow(amount=Decimal("100.000000000000000001"), venue_id="D1")
    funding = a_cash_flow(
        amount=Decimal("-0.5"), kind=CashFlowKind.FUNDING, venue_id="D1", occurred_at=NOON + MINUTE
    )
    in_euros = a_cash_flow(amount=Decimal(3), currency="EUR", occurred_at=NOON + 2 * MINUTE)
    await uow.cash_flows.add_many([funding, deposit, in_euros])

    assert await uow.cash_flows.get_by_venue_id(CashFlowKind.FUNDING, "D1") is funding
    assert await uow.cash_flows.get_by_venue_id(CashFlowKind.FEE, "D1") is None
    opening = DEFAULT_INITIAL_CAPITAL
    assert await uow.cash_flows.totals() == {
        "USD": opening + Decimal("99.500000000000000001"),
        "EUR": Decimal(3),
    }
    assert await uow.cash_flows.totals(account_id="nobody") == {}
    equity = {state.currency: state.closed_equity for state in await uow.portfolio_states.of_account()}
    assert equity == await uow.cash_flows.totals(), "whoever books money moves the equity"
    span = (NOON, NOON + 2 * MINUTE)
    assert await uow.cash_flows.between(*span) == [deposit, funding]
    assert await uow.cash_flows.between(NOON, NOON + 3 * MINUTE, currency="EUR") == [in_euros]
    assert await uow.cash_flows.between(*span, account_id="nobody") == []


async def test_a_heartbeat_is_taken_by_the_servers_clock(uow: UnitOfWork) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    instance = await uow.instances.add(an_instance(last_heartbeat=long_ago))
    running = await uow.instances.add(an_instance())
    stopped = await uow.instances.add(an_instance(status=InstanceStatus.STOPPED, last_heartbeat=long_ago))
    assert await uow.instances.find_silent(timedelta(minutes=1)) == [instance]

    alive = await uow.instances.heartbeat(instance.instance_id, status=InstanceStatus.DRAINING)

    assert alive is instance
    assert (alive.status, alive.last_heartbeat > long_ago) == (InstanceStatus.DRAINING, True)
    assert await uow.instances.find_silent(timedelta(minutes=1)) == []
    assert set(await uow.instances.get_running()) == {instance, running}
    assert stopped not in await uow.instances.get_running()
    assert await uow.instances.get_running(account_id="nobody") == []
    with pytest.raises(NotFound):
        await uow.instances.heartbeat("nobody")


async def test_commit_markers_are_kept(uow: UnitOfWork) -> None:
    marker = await uow.commit_markers.add(CommitMarker())
    assert await uow.commit_markers.exists(CommitMarker.id == marker.id)


async def test_a_configuration_is_stored_once_however_it_is_spelled(uow: UnitOfWork) -> None:
    first = await uow.configurations.load(
        {"risk": {"max": Decimal("1.50")}, "since": NOON, "day": NOON.date(), "id": new_id()}
    )
    assert (first.is_active, first.config_content["risk"]) == (False, {"max": "1.50"})
    one = await uow.configurations.load({"a": Decimal("1.5"), "b": [1, None, "ü"]})
    same = await uow.configurations.load({"b": [1, None, "ü"], "a": Decimal("1.50")})
    assert same is one
    assert one.config_hash == config_hash_of({"a": "1.5", "b": [1, None, "ü"]})
    assert await uow.configurations.get_by_hash(one.config_hash) is one
    assert await uow.configurations.get_by_hash("0" * 64) is None


@pytest.mark.parametrize(
    "content",
    [{"x": float("nan")}, {"x": Decimal("NaN")}, {"x": object()}, {"x": "\ud800"}, {"x": b"y"}, [1]],
)
async def test_a_configuration_json_has_no_form_for_is_refused(uow: UnitOfWork, content: object) -> None:
    with pytest.raises(InvalidValue):
        await uow.configurations.load(content)  # type: ignore[arg-type]  # on purpose


async def test_one_configuration_is_in_force(uow: UnitOfWork) -> None:
    first = await uow.configurations.load({"version": 1})
    second = await uow.configurations.load({"version": 2})
    assert await uow.configurations.get_active() is None
    await uow.configurations.activate(first.config_hash)
    assert await uow.configurations.get_active() is first
    active = await uow.configurations.activate(second.config_hash)
    assert active is second
    assert (first.is_active, second.is_active) == (False, True)
    assert second.activated_at is not None
    assert first.activated_at is not None
    with pytest.raises(NotFound):
        await uow.configurations.activate("0" * 64)


async def test_of_many_activations_at_once_exactly_one_stands(database: Database) -> None:
    async def load_and_activate(number: int) -> None:
        async with database.transaction() as uow:
            configuration = await uow.configurations.load({"version": number % 4})
            await uow.configurations.activate(configuration.config_hash)

    await at_once(load_and_activate, 12)
    assert await database.configurations.count() == 4
    assert (await database.configurations.get_active()) is not None


@pytest.mark.parametrize(
    ("value", "data_type"),
    [
        ("text", ConfigDataType.STRING),
        (7, ConfigDataType.NUMBER),
        (0.5, ConfigDataType.NUMBER),
        (False, ConfigDataType.BOOLEAN),
        ({"a": [1]}, ConfigDataType.OBJECT),
        ([], ConfigDataType.ARRAY),
    ],
)
async def test_a_setting_comes_back_as_it_was_set(
    uow: UnitOfWork, value: object, data_type: ConfigDataType
) -> None:
    setting = await uow.system_config.set_value("key", value)
    assert setting.data_type is data_type
    found = await uow.system_config.get_value("key")
    assert (found, type(found)) == (value, type(value))


async def test_a_setting_keeps_its_type_and_what_is_said_of_it(uow: UnitOfWork) -> None:
    settings = uow.system_config
    assert await settings.get_value("limit") is None
    assert await settings.get_value("limit", 3) == 3
    setting = await settings.set_value(
        "limit", 5, description="Most orders", category="risk", updated_by="me"
    )
    await settings.set_value("limit", 6, updated_by="you")
    assert (setting.value, setting.description, setting.updated_by) == (6, "Most orders", "you")
    assert await settings.in_category("risk") == [setting]
    with pytest.raises(InvalidValue) as caught:
        await settings.set_value("limit", "six")
    assert caught.value.facts == {"key": "limit", "given": "string", "kept": "number"}
    assert await settings.get_value("limit") == 6


async def test_a_setting_that_is_secret_or_has_no_type_is_refused(uow: UnitOfWork) -> None:
    with pytest.raises(InvalidValue) as caught:
        await uow.system_config.set_value("api_key", "hunter2", is_sensitive=True)
    assert "hunter2" not in str(caught.value)
    secret = {"key": "api_key", "value": "hunter2", "data_type": ConfigDataType.STRING, "is_sensitive": True}
    with pytest.raises(InvalidValue):
        await uow.system_config.upsert_many([SystemConfig(**secret)])
    with pytest.raises(InvalidValue):
        async with uow.savepoint():
            await uow.system_config.add(SystemConfig(**secret))
    for value in (None, Decimal("1.5"), NOON):
        with pytest.raises(InvalidValue):
            await uow.system_config.set_value("key", value)
    setting = SystemConfig(key="key", value="x", data_type=ConfigDataType.STRING)
    await uow.system_config.upsert_many([setting])
    assert await uow.system_config.count() == 1


async def test_a_setting_kept_encrypted_is_not_overwritten_in_plain_text(uow: UnitOfWork) -> None:
    encrypted = {"key": "api_key", "value": "ciphertext", "data_type": "string", "is_sensitive": True}
    await uow.session.execute(insert(SystemConfig).values(encrypted))
    with pytest.raises(InvalidValue):
        await uow.system_config.set_value("api_key", "hunter2")
    assert await uow.system_config.get_value("api_key") == "ciphertext"


async def test_every_repository_is_reached_by_its_name_and_answers(uow: UnitOfWork) -> None:
    for name, repository_class in repository_classes().items():
        repository = getattr(uow, name)
        assert type(repository) is repository_class
        if isinstance(repository, BaseRepository):
            assert await repository.exists() in {True, False}


def test_every_table_a_bot_works_with_has_one_repository() -> None:
    of_later_use = {"event_log", "event_subscriptions", "audit_seals", "schema_revisions"}
    repositories = [kind for kind in repository_classes().values() if issubclass(kind, BaseRepository)]
    tables = [repository.model.__tablename__ for repository in repositories]
    assert len(tables) == len(set(tables))
    assert set(tables) == set(Base.metadata.tables) - of_later_use
