"""Settings: read from the environment, refused with sentences, listed in `.env.example`."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from actors.config import Limits
from doorstep.settings.base import env_name
from doorstep.settings.secret_files import local_secret
from doorstep.settings.settings import Settings, SettingsError, explain_settings, load_settings
from integrations.registry import PORTS

ROOT = Path(__file__).parents[2]
LONG = "f3a91c07be54d268" + "0b7e82d1465fa93c"
OTHER = "1d4c8e5f7a20b396" + "ce71a9058f2b64d3"
PRODUCTION: dict[str, str] = {
    "DOORSTEP_ENV": "production",
    "JWT_SECRET": LONG,
    "INTERNAL_TOKEN": OTHER,
    "ALLOW_FAKE_VENDORS": "true",
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for row in explain_settings():
        monkeypatch.delenv(row.name, raising=False)
    monkeypatch.chdir(tmp_path)  # no .env of the developer's
    return monkeypatch


def setenv(environment: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        environment.setenv(name, value)


def test_defaults_need_nothing() -> None:
    settings = load_settings()
    assert settings.environment == "local"
    assert settings.region_ids == ("tx-dfw",)
    assert settings.database_url is None


def test_environment_wins_over_dotenv(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=8001\nHOST=0.0.0.0\nSOME_OTHER_PROGRAM=1\nREDIS_URL=\n")
    clean_environment.setenv("PORT", "8002")
    settings = load_settings()
    assert (settings.port, settings.host, settings.redis_url) == (8002, "0.0.0.0", None)
    assert load_settings(port=8003).port == 8003


def test_a_driver_is_lost_no_sooner_than_left_out(clean_environment: pytest.MonkeyPatch) -> None:
    setenv(clean_environment, {"DRIVER_STALE_S": "900"})
    with pytest.raises(
        SettingsError, match=r"^DRIVER_LOST_S must be at least DRIVER_STALE_S, and is 600 against 900$"
    ):
        load_settings()
    clean_environment.setenv("DRIVER_LOST_S", "900")
    assert load_settings().driver_lost_s == 900
    clean_environment.setenv("DRIVER_LOST_S", "59")
    with pytest.raises(SettingsError, match=r"^DRIVER_LOST_S: "):
        load_settings()


def test_only_its_own_name_sets_the_environment(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("ENVIRONMENT", "something else's")
    assert load_settings().environment == "local"
    assert load_settings(environment="test").environment == "test"


def test_unknown_names_in_code_are_refused() -> None:
    with pytest.raises(TypeError, match="porrt is not a setting"):
        load_settings(porrt=1)


def test_every_problem_is_a_sentence_naming_its_variable(clean_environment: pytest.MonkeyPatch) -> None:
    bad = {
        "PORT": "99999",
        "SPEED": "fast",
        "REGIONS": "tx-dfw,Dallas",
        "DATABASE_URL": "mysql://u:hunter2@h/d",
        "JWT_SECRET": "hunter2",
        "DOORSTEP_ENV": "prod",
    }
    setenv(clean_environment, bad)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    lines = str(caught.value).splitlines()
    assert {line.split(":")[0] for line in lines} == set(bad)
    assert "'Dallas' is none" in str(caught.value)
    assert "hunter2" not in str(caught.value), "secrets are not repeated"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("postgresql://u:p@h:5432/d", "postgresql://u:p@h:5432/d"),
        ("postgresql+asyncpg://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgres://u:p@h/d", "postgresql://u:p@h/d"),
    ],
)
def test_database_url_is_brought_to_one_form(given: str, kept: str) -> None:
    assert load_settings(database_url=given).database_url == kept


def test_production_with_everything_set_is_accepted(clean_environment: pytest.MonkeyPatch) -> None:
    setenv(clean_environment, PRODUCTION)
    settings = load_settings()
    assert (settings.jwt_key(), settings.internal_key()) == (LONG, OTHER)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"SPEED": "2"}, "SPEED must be 1 in production, and is 2"),
        ({"JWT_SECRET": ""}, "JWT_SECRET is required in production"),
        ({"INTERNAL_TOKEN": ""}, "INTERNAL_TOKEN is required in production"),
        ({"JWT_SECRET": "x" * 31}, "JWT_SECRET: must be at least 32 bytes long"),
        ({"ALLOW_FAKE_VENDORS": ""}, "IDENTITY_VENDOR must name a real vendor in production"),
        ({"ALLOW_FAKE_VENDORS": ""}, "PAYMENT_VENDOR must name a real vendor in production"),
        ({"INTERNAL_TOKEN": LONG}, "JWT_SECRET must not be another secret as well"),
        ({"METRICS_TOKEN": OTHER}, "METRICS_TOKEN must not be another secret as well"),
        ({"JWT_SECRET": "0" * 64}, "JWT_SECRET must be random in production"),
        ({"INTERNAL_TOKEN": "change-me-" * 8}, "INTERNAL_TOKEN must be random in production"),
        ({"METRICS_TOKEN": "0123" * 16}, "METRICS_TOKEN must be random in production"),
        ({"JWT_SECRET": "0" * 60 + "1234"}, "JWT_SECRET must be random in production"),
        ({"OPS_OPEN": "true"}, "OPS_OPEN must be off in production"),
    ],
)
def test_production_refuses(
    clean_environment: pytest.MonkeyPatch, change: dict[str, str], sentence: str
) -> None:
    setenv(clean_environment, PRODUCTION | change)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("hunter2", "must be a JSON object"),
        ("[1]", "must be a JSON object"),
        ("[" * 100_000, "must be a JSON object"),
        ('{"silence": "hunter2"}', "there is no option silence; did you mean silence_s?"),
        ('{"silence_s": "hunter2"}', "Expected `float`, got `str` - at `$.silence_s`"),
        ('{"silence_s": 0}', "Expected `float` > 0.0 - at `$.silence_s`"),
    ],
)
@pytest.mark.parametrize("port", ["IDENTITY", "PAYMENT"])
def test_a_vendors_options_are_refused_in_one_line_that_repeats_none(
    clean_environment: pytest.MonkeyPatch, port: str, given: str, sentence: str
) -> None:
    clean_environment.setenv(f"{port}_OPTIONS", given)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == f"{port}_OPTIONS: {sentence}"


def test_a_vendors_options_of_another_type_are_not_repeated_either() -> None:
    with pytest.raises(SettingsError, match="IDENTITY_OPTIONS: input should be a valid string") as caught:
        load_settings(identity_options={"api_key": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_vendors_options_are_handed_on_and_do_not_show(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv(
        "EVENT_BUS_OPTIONS", '{"redis_url": "redis://:hunter2@elsewhere", "stream_length": 7}'
    )
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    assert settings.options_of("event_bus") == {"redis_url": "redis://:hunter2@elsewhere", "stream_length": 7}
    assert settings.options_of("identity") == {}


@pytest.mark.parametrize("name", ["IDENTITY_VENDOR", "PAYMENT_VENDOR"])
@pytest.mark.parametrize("vendor", ["onfido", "stripe", "FAKE", "fake "])
def test_a_vendor_that_is_not_known_is_refused_in_one_line(
    clean_environment: pytest.MonkeyPatch, name: str, vendor: str
) -> None:
    clean_environment.setenv(name, vendor)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    [line] = str(caught.value).splitlines()
    known = ", ".join(sorted(PORTS[name.removesuffix("_VENDOR").lower()]))
    assert line.startswith(f"{name}: must be one of: {known} (given: {vendor!r})")


def test_fake_vendors_in_production_have_to_be_asked_for(clean_environment: pytest.MonkeyPatch) -> None:
    fakes = {"IDENTITY_VENDOR": "fake", "PAYMENT_VENDOR": "fake"}
    setenv(clean_environment, PRODUCTION | fakes)
    assert load_settings().identity_vendor == "fake"


def test_generated_secrets_are_kept_and_private(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    first = settings.jwt_key()
    assert len(first.encode()) >= 32
    assert first != settings.internal_key()
    assert load_settings(data_dir=tmp_path / "data").jwt_key() == first
    kept = sorted((tmp_path / "data").iterdir())
    assert [path.name for path in kept] == ["internal_token", "jwt_secret"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


def test_a_secret_made_by_someone_faster_is_taken_over(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def link(_draft: Path, path: Path) -> None:
        Path(path).write_text("theirs")
        raise FileExistsError

    clean_environment.setattr(os, "link", link)
    assert local_secret(tmp_path, "key") == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_secrets_do_not_show() -> None:
    assert LONG not in repr(load_settings(jwt_secret=LONG))


def test_rate_limits_are_not_off_in_production(clean_environment: pytest.MonkeyPatch) -> None:
    setenv(clean_environment, PRODUCTION | {"RATE_LIMITS": "off"})
    with pytest.raises(SettingsError, match="RATE_LIMITS must not be off in production"):
        load_settings()
    setenv(clean_environment, {"RATE_LIMITS": "on", "RATE_LIMIT_RULES": "order=5 per minute"})
    assert load_settings().rate_limit_rules == "order=5 per minute"


def test_a_rate_limit_that_cannot_be_meant(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("RATE_LIMIT_RULES", "orders=5 per minute")
    with pytest.raises(SettingsError, match="RATE_LIMIT_RULES: 'orders' is none of the limits"):
        load_settings()


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("post.batch=5", "'post' is no carrier; there are bus, tasks, payments"),
        ("bus.batch=0", "bus.batch: Input should be greater than or equal to 1"),
        ("bus.deadline_s=121", "bus.deadline_s: Input should be less than or equal to 120"),
        ("payments.retry_s=nan", "payments.retry_s: Input should be less than or equal to 300"),
    ],
)
def test_a_carriers_option_that_cannot_be_meant(
    clean_environment: pytest.MonkeyPatch, rule: str, sentence: str
) -> None:
    clean_environment.setenv("OUTBOX_RULES", rule)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"OUTBOX_RULES: {sentence}")


def test_example_file_lists_every_setting_with_its_default_and_meaning() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = [
        (lines[i].removeprefix("#"), lines[i - 1].removeprefix("# "))
        for i in range(len(lines))
        if lines[i].startswith("#") and not lines[i].startswith("# ")
    ]
    assert pairs == [(f"{row.name}={row.default}", row.description) for row in explain_settings()]


def test_example_file_uncommented_is_the_defaults(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text()
    (tmp_path / ".env").write_text("\n".join(line[1:] for line in text.splitlines() if line[:2] > "# "))
    assert load_settings() == Settings(_env_file=None)


def test_every_limit_of_the_actors_can_be_set_and_has_the_same_default() -> None:
    settings, limits = load_settings(), Limits()
    for name in Limits.__struct_fields__:
        assert getattr(settings, name, "no such setting") == getattr(limits, name), name


def test_every_setting_says_what_it_is() -> None:
    for row in explain_settings():
        assert row.description, row.name


def test_every_area_is_explained_and_no_setting_stands_in_two() -> None:
    names = [row.name for row in explain_settings()]
    assert len(names) == len(set(names))
    assert {env_name(name) for name in Settings.model_fields} == set(names)
