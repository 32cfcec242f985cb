"""The exchange in the settings, and ccxt's class made from them."""

import sys

import pytest

from gal_friday.adapters.ccxt_client import open_exchange
from gal_friday.config import ExchangeSettings, Settings
from gal_friday.errors import ConfigurationError

SECRETS = {"name": "kraken", "api_key": "k1", "secret": "s2", "password": "p3", "options": '{"uid": "u4"}'}


def test_credentials_are_never_shown() -> None:
    shown = repr(Settings(exchange=SECRETS)) + str(Settings(exchange=SECRETS).exchange)
    assert not [secret for secret in ("k1", "s2", "p3", "u4") if secret in shown]


async def test_ccxt_is_given_what_is_configured() -> None:
    async with open_exchange(ExchangeSettings.model_validate(SECRETS)) as exchange:
        given = [getattr(exchange, name) for name in ("id", "apiKey", "secret", "password", "uid")]
        assert given == ["kraken", "k1", "s2", "p3", "u4"]
        assert getattr(exchange, "enableRateLimit") is True  # noqa: B009 -- of ccxt, not of the protocol


def test_without_any_there_is_nothing_to_give() -> None:
    assert ExchangeSettings.model_validate({"options": ""}).ccxt_config() == {"enableRateLimit": True}


@pytest.mark.parametrize("options", ["topsecret", '["topsecret"]'])
def test_what_is_no_json_object_is_refused_and_not_repeated(options: str) -> None:
    with pytest.raises(ConfigurationError, match="is no JSON object") as raised:
        Settings(exchange={"options": options})
    assert "topsecret" not in str(raised.value)


@pytest.mark.parametrize(("name", "words"), [(None, "no exchange is named"), ("krakken", "knows no such")])
async def test_an_exchange_ccxt_does_not_know_is_said(name: str | None, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        async with open_exchange(ExchangeSettings(name=name)):
            raise AssertionError


async def test_that_ccxt_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt.async_support", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'gal_friday\[ccxt\]'"):
        async with open_exchange(ExchangeSettings.model_validate(SECRETS)):
            raise AssertionError
