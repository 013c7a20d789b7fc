"""Japanese and Chinese where there is little or no kana."""

from __future__ import annotations

import pytest

from cc_core.language.han import japanese_probability, standing


@pytest.mark.parametrize(
    "text", ["東京都千代田区", "経済産業省", "名古屋城", "東京へ行く", "佐々木", "天気", "優の良品"]
)
def test_japanese(text: str) -> None:
    assert japanese_probability(text) > 0.9


@pytest.mark.parametrize("text", ["人人生而自由", "國際機場", "再见", "今天天氣", "我爱の家", "你好"])
def test_chinese(text: str) -> None:
    assert japanese_probability(text) < 0.2


@pytest.mark.parametrize("text", ["郵便局", "駐車場", "準備中", "採用情報"])
def test_what_simplified_chinese_lacks_is_rather_japanese(text: str) -> None:
    assert 0.6 < japanese_probability(text) < 0.8


@pytest.mark.parametrize("text", ["愛", "大学"])
def test_what_both_write_is_open(text: str) -> None:
    assert 0.3 < japanese_probability(text) < 0.7


def test_a_character_is_foreign_to_what_lacks_it() -> None:
    assert standing("経") == (0, 1, 1)
    assert standing("经") == (1, 0, 1)
    assert standing("經")[2] == 0 < standing("經")[0] < standing("經")[1] == 1
    assert standing("人") == (0, 0, 0)
    assert standing("\U00020000") == (1, 1, 1)
