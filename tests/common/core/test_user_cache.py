"""The user's cache: computed once, and never needed."""

from __future__ import annotations

from autophagy.common.core.user_cache import cache_folder, cached_text


def test_text_is_computed_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    computed = []
    assert [cached_text("name-1.txt", lambda: computed.append(1) or "text ä") for _ in range(2)] == ["text ä"] * 2
    assert len(computed) == 1
    assert cache_folder() == tmp_path / "autophagy"


def test_an_unusable_cache_only_costs_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cached_text("name-1.txt", lambda: "text") == "text"


def test_damaged_text_is_computed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached_text("name-1.txt", lambda: "text")
    (tmp_path / "autophagy" / "name-1.txt").write_bytes(b"\xff\xfe\xfd")
    assert cached_text("name-1.txt", lambda: "text") == "text"
