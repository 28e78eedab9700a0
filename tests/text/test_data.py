"""Text data sets: passages, the Bible, local files and data sets of the hub."""

from __future__ import annotations

import json

import pytest
from autophagy import UserError
from autophagy.common.core.pool import Pool
from autophagy.text.data import Bible, HubText, TextFile, passages


def test_passages_end_at_words_and_short_remainders_are_dropped():
    assert passages(["a b c d e", "f"], words=4) == ["a b c d"]
    assert passages(["a b c d e f"], words=4) == ["a b c d", "e f"]


def test_bible_has_two_testaments_in_disjoint_splits():
    splits = Bible(words=48).load(eval_size=100)
    assert len(splits["base"]) > 10_000
    assert len(splits["train"]) > 3_000
    assert any("In the beginning God created" in text for text in splits["base"].list("text")[:2])
    assert not any(set("[]") & set(text) for text in splits["train"].list("text"))
    train, heldout, control = (set(splits[name].list("text")) for name in ("train", "heldout", "control"))
    assert not train & heldout
    assert not heldout & control


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".parquet"])
def test_text_file_formats(tmp_path, suffix):
    documents = [" ".join(f"w{number}x{word}" for word in range(30)) for number in range(40)]
    path = tmp_path / f"data{suffix}"
    if suffix == ".parquet":
        Pool.of(text=documents).table.to_pandas().to_parquet(path)
    else:
        path.write_text("\n".join(json.dumps({"text": text}) if suffix == ".jsonl" else text for text in documents))
    splits = TextFile(path=str(path), words=10).load(eval_size=5)
    assert {name: len(pool) for name, pool in splits.items()} == {"heldout": 5, "control": 5, "train": 50, "base": 60}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"\xff\xfe caf\xe9", "is not UTF-8: byte 0 is 0xff"),
        ("a.txt", b"", "has 0 rows; eval_size = 5 alone takes 10"),
        ("a.jsonl", b'{"text": 1}', "a.jsonl, record 0: column 'text' holds 1, which is not text"),
        ("a.jsonl", b"{nope", "a.jsonl, line 1 is not valid JSON"),
        ("a.jsonl", b'{"text": "\\ud800"}', "a.jsonl, record 0: column 'text' has half of a surrogate pair"),
        ("a.parquet", b"PAR1 not really", "cannot be read"),
    ],
)
def test_invalid_text_file_is_rejected_with_a_reason(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        TextFile(path=str(tmp_path / name), words=10).load(eval_size=5)


def test_line_separators_inside_json_do_not_end_a_record(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a\u2028b " * 200}, ensure_ascii=False))
    assert sum(map(len, TextFile(path=str(tmp_path / "a.jsonl"), words=10).load(eval_size=5).values())) == 40


def test_unreachable_hub_is_one_clear_message():
    with pytest.raises(UserError, match="data.path: data set 'nobody/nothing' cannot be loaded"):
        HubText(path="nobody/nothing").load(eval_size=5)


def test_hub_data_set_is_loaded_from_a_local_folder(tmp_path):
    rows = [json.dumps({"text": " ".join(f"w{number}x{word}" for word in range(30))}) for number in range(40)]
    (tmp_path / "train.jsonl").write_text("\n".join(rows))
    splits = HubText(path=str(tmp_path), words=10, documents=20).load(eval_size=5)
    assert sum(map(len, splits.values())) == 60
    with pytest.raises(UserError, match="has no column 'body'"):
        HubText(path=str(tmp_path), column="body").load(eval_size=5)


def test_hub_lines_are_joined_and_heldout_has_its_own_split(tmp_path):
    for split in ("train", "test"):
        lines = [json.dumps({"text": f" {split} word{number} . \n" if number % 2 else ""}) for number in range(400)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    settings = {"path": str(tmp_path), "joined": True, "words": 30, "base_share": 0.25}
    splits = HubText(**settings, heldout="test").load(eval_size=9)
    assert {name: len(pool) for name, pool in splits.items()} == {"heldout": 9, "control": 9, "train": 15, "base": 5}
    assert all(len(text.split()) == 30 for pool in splits.values() for text in pool.list("text"))
    for name, pool in splits.items():
        source, other = ("test", "train") if name in ("heldout", "control") else ("train", "test")
        assert all(source in text and other not in text for text in pool.list("text"))
        assert (pool.array("_generation") == -1).all()
    assert not set(splits["heldout"].list("text")) & set(splits["control"].list("text"))
    assert sum(map(len, HubText(**settings).load(eval_size=5).values())) == 20  # the train split alone
    with pytest.raises(UserError, match="data.heldout: test: has 20 rows; eval_size = 10 alone takes 20"):
        HubText(**settings, heldout="test").load(eval_size=10)
    with pytest.raises(UserError, match="Unknown split"):
        HubText(**settings, heldout="dev").load(eval_size=5)


def test_rows_can_be_whole_documents(tmp_path):
    assert passages([" a  b\n", "", "c " * 99], words=None) == ["a b", " ".join("c" * 99)]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps({"text": "w " * length}) for length in range(1, 41)))
    splits = HubText(path=str(tmp_path), words=None, base_share=0).load(eval_size=5)
    assert sorted(len(text.split()) for pool in splits.values() for text in pool.list("text")) == list(range(1, 41))
    with pytest.raises(ValueError, match="would be a single row"):
        HubText(path=str(tmp_path), words=None, joined=True)


def test_hub_record_without_text_is_named(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "a b c d"}\n{"text": null}\n')
    with pytest.raises(UserError, match=r"data\.column: .*, record 1: column 'text' is null"):
        HubText(path=str(tmp_path)).load(eval_size=1)
