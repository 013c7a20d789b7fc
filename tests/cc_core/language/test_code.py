"""Code in answers is left out, fenced or not; prose stays, whatever signs it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_core.language.code import without_code

PYTHON = """# add all the numbers of a list
import sys
from pathlib import Path

def total(numbers: list[int]) -> int:
    \"\"\"Return the sum of the numbers.\"\"\"
    result = 0
    for number in numbers:
        # skip the negative ones
        if number > 0:
            result += number
        else:
            continue
    return result

print(total([1, 2, 3]))"""
JAVASCRIPT = """// greet the user by name
const greet = (name) => {
  console.log(`hello ${name}`);
  return name.length;
};
if (process.argv.length > 2) {
  greet(process.argv[2]);
} else {
  greet("world");
}"""
JAVA = """import java.util.List;

public class Main {
    public static void main(String[] args) {
        int total = 0;
        for (int number : List.of(1, 2, 3)) {
            total += number;
        }
        System.out.println("The total is " + total);
    }
}"""
C = """#include <stdio.h>
/* print the sum */
int main(void) {
    int total;
    total = 1 + 2;
    printf("the total is %d", total);
    return 0;
}"""
SQL = """SELECT name, population
FROM cities
WHERE country = 'Kenya'
ORDER BY population DESC;"""
SHELL = """$ git clone https://example.org/project
sudo apt install python3
pip install numpy
curl -o file.txt https://example.org"""
HTML = """<!DOCTYPE html>
<div class="card">
<p>hello there, this is a page about the city</p>
</div>"""
JSON = """{
  "city": "Nairobi",
  "answer": "the capital of the country is a large city"
}"""

RUBY = """def greet(name)
  puts "hello there, #{name}, how are you"
end

[1, 2, 3].each do |number|
  puts number
end"""
BASH = """#!/bin/bash
for file in *.txt; do
  echo "the file is called $file and it is here"
done
if [ -f input.txt ]; then
  cat input.txt
fi"""
CSS = """body {
  color: red;
  font-family: sans-serif;
}
.card > a:hover { text-decoration: none; }"""
GO = """package main

import "fmt"

func main() {
\ttotal := 0
\tfmt.Println("the total of the numbers is", total)
}"""
SMALL_SQL = "select name, count(*) from users\nwhere age > 18\ngroup by name;"
CODE = [PYTHON, JAVASCRIPT, JAVA, C, SQL, SMALL_SQL, SHELL, BASH, RUBY, CSS, GO]


@pytest.mark.parametrize("code", [*CODE, HTML, JSON])
@pytest.mark.parametrize("form", ["{}", "```\n{}\n```", "```python\n{}\n```", "~~~\n{}", "````md\n```\n{}\n```\n````"])
def test_an_answer_of_code_is_left_out(code: str, form: str) -> None:
    assert without_code(form.replace("{}", code)).strip() == ""


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize("form", ["{}", "```\n{}\n```", "```text\n{}\n```"])
def test_what_is_said_about_code_stays(code: str, form: str) -> None:
    before, after = "So addiert man die Zahlen einer Liste:", "# Hinweis\nDas gibt die Summe aus."
    answer = f"{before}\n\n{form.replace('{}', code)}\n\nDanach:\n{after}"
    assert without_code(answer).splitlines() == [before, "Danach:", *after.splitlines()]


@pytest.mark.parametrize(
    "json",
    [
        '{"शहर": "नई दिल्ली", "देश": "भारत"}',
        '  [{"a": 1}, {"b": 2}]',
        '["red", "green"]',
        "[1, 2, 3]",
        "[true, false]",
        '{"answer": "the capital of',
        "[]",
    ],
)
def test_json_is_left_out_though_it_is_cut_off(json: str) -> None:
    assert without_code(json) == ""


@pytest.mark.parametrize(
    "prose",
    [
        "[1] Das ist die Quelle, die am häufigsten genannt wird.",
        "[Hinweis] Der Zug fährt jede Stunde.",
        "If you want to go there, take the train for an hour:",
        "For example, while it rains, with an umbrella:",
        "For the journey there are three things to know:",
        "from here you can import goods",
        "return to the station and ask for help",
        "class begins at nine:",
        "Import goods, from other countries.",
        "Bürger(innen) wählen die Abgeordneten (siehe oben)",
        "# Überschrift",
        "* ein Punkt, der eine Sache nennt;",
        "1) primero, hay que leer el texto;",
        "Select the right answer from the list.",
        "Let me know whether this helps.",
        '«Ja», sagte er; "nein", sagte sie.',
        "Die Formel a² + b² = c² gilt für rechtwinklige Dreiecke.",
        "- while he slept, it rained -",
        "do what you can",
        "the end of the story",
        "Group by group they left.",
        "echo of the mountains",
        "  - ein Unterpunkt der Liste",
        "Antwort: ja, das geht",
        "答案是(二)。",
    ],
)
def test_prose_stays(prose: str) -> None:
    assert without_code(prose) == prose
    assert without_code(f"{prose}\n\n{prose}") == f"{prose}\n{prose}"


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text_is_read(answer: str) -> None:
    assert len(without_code(answer)) <= len(answer) + 1
