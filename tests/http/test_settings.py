"""Settings: what the server refuses to start with, which `agentd check` tells beforehand."""

import pytest

from agentd.config.network_checks import check_network
from agentd.config.schema import FleetConfig, HttpConfig
from agentd.http.settings import Settings, SettingsError, parse_listen, read_token
from tests.http.site import TOKEN


@pytest.mark.parametrize(
    "known",
    [
        {"host": "0.0.0.0"},  # noqa: S104 - refused
        {"host": "10.0.0.7"},
        {"host": "machine-3"},
        {"host": "127.0.0.1", "operate": True},
    ],
)
def test_l11_a_server_beyond_its_machine_or_that_operates_needs_a_token(
    known: dict[str, object],
) -> None:
    with pytest.raises(SettingsError):
        Settings(**{"port": 1, **known})
    assert Settings(**{"port": 1, **known, "token": TOKEN}).token


@pytest.mark.parametrize(
    "address",
    [
        *("8484", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:٨٤", "::1:80", ":80", "[]:80"),
        *("[:::]:80", "[fe80::1%1]:8484", "a b:80", "bücher.example:80", "a:80\n"),
    ],
)
def test_an_address_that_is_none_is_refused_by_check_and_server_alike(address: str) -> None:
    with pytest.raises(SettingsError):
        parse_listen(address)
    config = HttpConfig(listen=address, token_file="t")  # noqa: S106 - a file's name
    assert [path for path, _, _ in check_network(config, FleetConfig())] == [("http", "listen")]


def test_addresses_are_read() -> None:
    assert parse_listen("[::1]:0") == ("::1", 0)
    assert parse_listen("127.0.0.1:8484") == ("127.0.0.1", 8484)
    assert parse_listen("machine-3.example:80") == ("machine-3.example", 80)


@pytest.mark.parametrize("text", ["", "short\n", "\nsecond-line-is-not-read-0123456789", "a b" * 9])
def test_a_token_that_could_be_guessed_is_refused(tmp_path, text: str) -> None:  # noqa: ANN001
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(SettingsError):
        read_token(path)
    with pytest.raises(SettingsError):
        read_token(tmp_path / "none")
    path.write_text(f"{TOKEN}\n")
    assert read_token(path) == TOKEN
