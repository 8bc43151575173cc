"""The daemon's configuration: strict, complete, all problems at once."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from byteord.deployment.config import (
    ConfigError,
    default_config,
    load,
    lock_paths,
    parse,
    private_config,
    with_directories,
)
from byteord.deployment.config_flat import flat_config, words_of
from byteord.deployment.config_keys import KEYS, check_tables
from byteord.deployment.model import Environment
from byteord.errors import NotFoundError

EXAMPLE = Path(__file__).parents[2] / "deploy" / "byteord.example.toml"


def paths_of(table: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the dotted paths of all leaves."""
    paths: set[str] = set()
    for name, value in table.items():
        inner = paths_of(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
        paths |= inner
    return paths


def problems_of(text: str) -> dict[str, Any]:
    """Return the problems of a configuration by path."""
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "byteord.toml")
    return {problem.path: problem for problem in caught.value.problems}


def test_the_example_loads_and_shows_every_key() -> None:
    """The shipped example is accepted and documents each key there is."""
    config = load(str(EXAMPLE))
    assert config.listen.socket == "/run/byteor/byteord.sock"
    assert paths_of(tomllib.loads(EXAMPLE.read_text())) == set(KEYS)


def test_the_example_shows_defaults_where_they_are_fixed() -> None:
    """A key of the example has its default where that is fixed."""
    values, problems = check_tables(tomllib.loads(EXAMPLE.read_text()))
    assert not problems
    fixed = {path: key.default for path, key in KEYS.items() if key.default not in ("", None, [])}
    assert {path: values[path] for path in fixed} == fixed


def test_every_key_of_a_file_is_found_again_in_what_applies() -> None:
    """The configuration as it applies has exactly the keys there are, with the file's values."""
    said = check_tables(tomllib.loads(EXAMPLE.read_text()))[0]
    applies = flat_config(load(str(EXAMPLE)))
    assert set(applies) == set(KEYS)
    assert {key: list(v) if isinstance(v, tuple) else v for key, v in applies.items()} == said
    assert words_of("log.format") == ("auto", "json", "console")
    assert words_of("paths.state") == ()


def test_an_empty_file_gives_the_defaults() -> None:
    """Nothing is required: what is left out has a sensible value for dev."""
    config = parse(b"", "byteord.toml")
    assert config.authority.environment is Environment.DEV
    assert config.authority.code_dirs == ()
    assert config.on_stop == "leave"
    assert config.listen.mode == 0o660
    assert config.listen.reflection is True


def test_every_problem_is_reported_at_once_with_its_path() -> None:
    """Five mistakes in one file are five problems."""
    found = problems_of(
        """
        environment = "production"
        on_stop = 3
        [listen]
        mode = 660
        sockt = "/run/x"
        [ceilings]
        runs_max = true
        [allow]
        connect = ["1.2.3.4:80", "nowhere"]
        code_dirs = ["relative"]
        """
    )
    assert set(found) == {
        "environment",
        "on_stop",
        "listen.mode",
        "listen.sockt",
        "ceilings.runs_max",
        "allow.connect",
        "allow.code_dirs",
    }
    assert "one of dev, staging, prod" in str(found["environment"])
    assert "0o660" in str(found["listen.mode"])
    assert "item 1" in str(found["allow.connect"])


def test_a_password_in_a_url_is_not_repeated() -> None:
    """It is refused with the host of the URL, without user and password."""
    found = problems_of("[allow]\nurl_prefixes = ['https://me:hush@host/x', 'https://b/y']")
    text = str(found["allow.url_prefixes"])
    assert "https://***@host/x" in text
    assert "hush" not in text


@pytest.mark.parametrize(
    ("text", "path", "nearest"),
    [
        ("[listen]\nsokcet = '/x'", "listen.sokcet", "listen.socket"),
        ("enviroment = 'dev'", "enviroment", "environment"),
        ("runs_max = 4", "runs_max", "ceilings.runs_max"),
        ("[lisen]\nsocket = '/x'", "lisen", "listen"),
    ],
)
def test_an_unknown_key_names_the_nearest(text: str, path: str, nearest: str) -> None:
    """A misspelt or misplaced key is an error that says which key was likely meant."""
    assert problems_of(text)[path].fix == f"did you mean {nearest}?"


@pytest.mark.parametrize(
    "path",
    ["relative", "/a/../b", "/a/", "/" + "x" * 107],
)
def test_a_socket_path_must_be_absolute_plain_and_short(path: str) -> None:
    """A path that a socket cannot have is refused before anything is bound."""
    assert "listen.socket" in problems_of(f'[listen]\nsocket = "{path}"')


@pytest.mark.parametrize("mode", ["0o666", "0o604", "-1", "true", "'0660'"])
def test_a_socket_is_never_for_others(mode: str) -> None:
    """Permissions beyond owner and group are refused."""
    assert "listen.mode" in problems_of(f"[listen]\nmode = {mode}")


def test_a_table_where_a_value_is_wanted_is_a_problem() -> None:
    """`[environment]` as a table is told apart from an unknown key."""
    assert "environment" in problems_of("[environment]\nname = 'dev'")


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"\xff\xfe", "byte 0xff at offset 0"),
        (b"a = = 1", "line 1"),
        (b"#" * ((1 << 20) + 1), "more than 1048576 bytes"),
        (b"a = " + b"[" * 100_000, "nesting"),
    ],
)
def test_what_is_no_toml_is_said_so(content: bytes, seen: str) -> None:
    """Junk gives one problem that says where."""
    with pytest.raises(ConfigError) as caught:
        parse(content, "byteord.toml")
    assert seen in caught.value.message


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """`--config` never falls back to defaults."""
    with pytest.raises(NotFoundError, match=r"absent\.toml: No such file"):
        load(str(tmp_path / "absent.toml"))


def test_reflection_is_off_in_prod_unless_asked_for() -> None:
    """The API describes itself in prod only when the file says so."""
    assert parse(b"environment = 'prod'", "x").listen.reflection is False
    asked = b"environment = 'prod'\n[listen]\nreflection = true"
    assert parse(asked, "x").listen.reflection is True


def test_without_a_file_the_working_directory_is_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defaults reach no further than the working directory, and nowhere from the root."""
    monkeypatch.chdir(tmp_path)
    authority = default_config().authority
    assert authority.code_dirs == authority.read_dirs == authority.write_dirs == (str(tmp_path),)
    monkeypatch.chdir("/")
    assert default_config().authority.write_dirs == ()


def test_options_widen_dev_alone() -> None:
    """Directories on the command line are added in dev and refused elsewhere."""
    dev = with_directories(parse(b"", "x"), code_dirs=["/a"], read_dirs=[], write_dirs=["/b"])
    assert (dev.authority.code_dirs, dev.authority.write_dirs) == (("/a",), ("/b",))
    prod = parse(b"environment = 'prod'", "x")
    with pytest.raises(ConfigError, match="--code-dir"):
        with_directories(prod, code_dirs=["/a"], read_dirs=[], write_dirs=[])


def test_locks_cover_socket_state_and_regions() -> None:
    """Two daemons that share any of the three meet at one lock at least."""
    first = parse(b"[paths]\nruntime='/a'\nstate='/b'\nregions='/c'", "x")
    for key in ("runtime", "state", "regions"):
        places = {"runtime": "/1", "state": "/2", "regions": "/3"} | {
            key: f"/{'abc'[('runtime', 'state', 'regions').index(key)]}"
        }
        text = "[paths]\n" + "\n".join(f"{name}='{path}'" for name, path in places.items())
        assert set(lock_paths(first)) & set(lock_paths(parse(text.encode(), "x")))


def test_a_private_daemon_lives_in_its_directory() -> None:
    """Socket, lock and state of a private daemon are below the directory it was given."""
    config = private_config("/p", regions="/r", code_dirs=["/c"], read_dirs=[], write_dirs=[])
    assert config.listen.socket == "/p/byteord.sock"
    assert config.paths.state.startswith("/p/")
    assert config.authority.environment is Environment.DEV
    assert config.metrics_address == ""
    assert str(os.geteuid()) in lock_paths(config)[-1]
