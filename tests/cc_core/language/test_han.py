"""Japanese and Chinese where there is little or no kana."""

from __future__ import annotations

import pytest

from cc_core.language.han import japanese_probability, standing


@pytest.mark.parametrize(
    "text",
    [
        "東京都千代田区",
        "経済産業省",
        "名古屋城",
        "図書館",
        "自転車",
        "会社員",
        "東京へ行く",
        "佐々木",
        "天気",
        "優の良品",
    ],
)
def test_japanese(text: str) -> None:
    assert japanese_probability(text) > 0.9


@pytest.mark.parametrize("text", ["人人生而自由", "國際機場", "再见", "今天天氣", "我爱の家", "你好"])
def test_chinese(text: str) -> None:
    assert japanese_probability(text) < 0.2


@pytest.mark.parametrize(
    "text", ["這個問題", "這本書", "換一個", "手機", "資料庫", "消費者保護法", "推薦電影", "西遊記"]
)
def test_what_traditional_chinese_writes_often_is_chinese(text: str) -> None:
    assert all(standing(character)[0] < 1 for character in text)  # JIS has them, too
    assert japanese_probability(text) < 0.4


@pytest.mark.parametrize("text", ["郵便局", "駐車場", "準備中", "採用情報", "在庫切", "相撲", "天丼", "電車", "新幹線"])
def test_what_japanese_writes_often_is_japanese(text: str) -> None:
    assert japanese_probability(text) > 0.6


@pytest.mark.parametrize(
    ("simplified", "traditional"),
    [("后面", "後面"), ("这里", "這裡"), ("几个", "幾個"), ("程序", "程式")],
)
def test_each_standard_has_its_own_frequencies(simplified: str, traditional: str) -> None:
    assert japanese_probability(simplified) < 0.4
    assert japanese_probability(traditional) < 0.6


@pytest.mark.parametrize("text", ["愛", "大学"])
def test_what_both_write_is_open(text: str) -> None:
    assert 0.3 < japanese_probability(text) < 0.7


def test_a_character_is_foreign_to_what_lacks_it() -> None:
    assert standing("経") == (0, 1, 1)
    assert standing("经") == (1, 0, 1)
    assert standing("經")[2] == 0 < standing("經")[0] < standing("經")[1] == 1
    assert standing("人") == (0, 0, 0)
    assert standing("\U00020000") == (1, 1, 1)
