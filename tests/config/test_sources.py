"""Which source wins, and how a wrong setting is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from sdxl_gateway.config import Auth, ConfigProblem, Server, Settings, cautions, load_settings


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def _file(text: str) -> Path:
    path = Path("settings.toml")
    path.write_text(text, "utf-8")
    return path


def _problems(text: str = "") -> str:
    with pytest.raises(ConfigProblem) as raised:
        load_settings(_file(text))
    return str(raised.value)


def test_flags_beat_environment_beats_file_beats_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDXL_GATEWAY__SERVER__PORT", "2")
    monkeypatch.setenv("SDXL_GATEWAY__SERVER__HOST", "::1")
    file = _file('[server]\nport = 1\nhost = "0.0.0.0"\nstrict = true\n')

    server = load_settings(file, {"server": {"port": 3}}).server

    assert (server.port, server.host, server.strict) == (3, "::1", True)
    assert server.receive_timeout_seconds == Server().receive_timeout_seconds


def test_config_toml_beside_the_caller_is_read_unasked() -> None:
    Path("config.toml").write_text("[server]\nport = 4\n", "utf-8")

    assert load_settings().server.port == 4


def test_lists_in_the_environment_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDXL_GATEWAY__AUTH__API_KEYS", "sk-one, sk-two,")
    monkeypatch.setenv("SDXL_GATEWAY__ENGINE__COMPILED_SIZES", "1024x1024,1536x1024")

    assert [key.get_secret_value() for key in load_settings().auth.api_keys] == ["sk-one", "sk-two"]
    assert load_settings().engine.compiled_sizes == ("1024x1024", "1536x1024")


@pytest.mark.parametrize(("text", "sizes"), [("auto", "auto"), ("", ()), ("1024x1024", ("1024x1024",))])
def test_sizes_to_compile_for_are_a_list_or_auto(monkeypatch: pytest.MonkeyPatch, text: str, sizes: object) -> None:
    monkeypatch.setenv("SDXL_GATEWAY__ENGINE__COMPILED_SIZES", text)

    assert load_settings().engine.compiled_sizes == sizes


def test_tables_are_filled_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDXL_GATEWAY__CHECKPOINTS__BASE__PATH", "org/name")

    assert load_settings().checkpoints["base"].path == "org/name"


def test_settings_made_directly_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDXL_GATEWAY__SERVER__PORT", "2")

    assert Settings().server.port == Server().port


def test_a_setting_outside_of_its_section_is_told_where_it_belongs() -> None:
    assert _problems("port = 9000\n") == "port (settings.toml): no such setting; did you mean 'server.port'?"


def test_what_should_be_a_table_is_told_so() -> None:
    told = _problems('[models.style]\nloras = ["ink"]\n')
    assert told == "models.style.loras (settings.toml): should be a table of settings."


def test_an_unknown_key_is_named_with_the_nearest_known_one() -> None:
    told = _problems("[server]\nprot = 1\n")

    assert told == "server.prot (settings.toml): no such setting; did you mean 'port'?"


def test_an_unknown_section_in_the_environment_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDXL_GATEWAY__SERVR__PORT", "1")

    assert "SDXL_GATEWAY__SERVR" in _problems()
    assert "did you mean 'server'?" in _problems()


def test_an_unknown_key_in_a_table_entry_is_compared_with_that_tables_keys() -> None:
    assert "did you mean 'path'?" in _problems('[checkpoints.a]\npath = "x"\npaht = "y"\n')


def test_a_wrong_value_is_told_with_key_and_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDXL_GATEWAY__LORAS__WATCH", "perhaps")

    assert _problems().startswith("loras.watch (SDXL_GATEWAY__LORAS__WATCH): should be a valid boolean")


def test_all_problems_are_told_at_once() -> None:
    told = _problems('[server]\nport = 99999\n[checkpoints.a]\n[memory]\nvram_budget_bytes = "much"\n')

    assert [line.split(" ")[0].rstrip(":") for line in told.splitlines()] == [
        "server.port",
        "memory.vram_budget_bytes",
        "checkpoints.a.path",
    ]
    assert "pydantic" not in told


def test_a_file_that_is_not_there_or_not_toml_is_told_plainly() -> None:
    with pytest.raises(ConfigProblem, match=r"nowhere\.toml: cannot be read"):
        load_settings(Path("nowhere.toml"))
    assert "not valid TOML" in _problems("[server")


def test_secrets_are_not_repeated() -> None:
    told = _problems('[auth]\napi_keys = ["sk-very-secret", ""]\n')

    assert "auth.api_keys" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    "text",
    [
        '[checkpoints."a+b"]\npath = "x"',
        '[aliases]\n"gpt-*+ink" = "default"',
        '[engine]\ndevice = "gpu"',
        '[engine]\ncompiled_sizes = ["1000x1000", "1020x1024"]',
        '[engine]\ncompiled_sizes = ["auto"]',
        '[server]\npublic_base_url = "example.org"',
    ],
)
def test_what_could_never_work_is_refused(text: str) -> None:
    assert _problems(text)


def test_an_open_server_without_keys_is_cautioned_against() -> None:
    public = Settings(server=Server(host="0.0.0.0"), auth=Auth(allow_anonymous=True))

    assert "auth.allow_anonymous is true" in cautions(public)[0]
    assert not cautions(public.model_copy(update={"auth": Auth(api_keys=(SecretStr("sk-x"),))}))
    assert not cautions(Settings())


def test_what_crosses_to_an_engine_process_holds_no_keys() -> None:
    settings = Settings(auth=Auth(api_keys=(SecretStr("sk-very-secret"),)))

    assert "sk-very-secret" not in settings.engine_process().model_dump_json()
