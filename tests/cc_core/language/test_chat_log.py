"""Who speaks in an exported chat, and that a server's log is none."""

from __future__ import annotations

import pytest

from cc_core.language.chat_log import with_speakers
from cc_core.language.detector import LanguageDetector

detector = LanguageDetector()
TEXTS = {
    "de": "Mein Handy lädt seit gestern nicht mehr",
    "en": "My phone has not been charging since yesterday",
    "sw": "Simu yangu haichaji tangu jana",
    "tr": "Sonbaharda yapraklar neden sararır?",
    "zh": "我的手机从昨天开始充不上电了",
}
CHATS = {
    "help desk": "[10:02] Agent: Welcome! How may I be of service?\n[10:03] Customer: {}\n[10:03] Agent:",
    "roles with seconds": "2025-11-20 10:02:11 Assistant: What can I do for you?\n2025-11-20 10:02:40 User: {}",
    "WhatsApp": "20/11/2025, 08:15 - Peter: Is anybody there?\n20/11/2025, 08:16 - Maria: {}",
    "WhatsApp on a phone": "[20/11/2025, 08:15:42] Peter: Hi,\nhow are you?\n[20/11/2025, 08:16:10] +44 770 900123: {}",
    "Slack": "Peter  9:41 AM\nIs anybody there?\nMaria  9:42 AM\n{}",
    "Teams": "[9:41 AM] Peter Hill\nCan we meet today?\n[9:42 AM] Maria Lopez\n{}",
    "IRC": "<peter> is anybody there?\n<maria> {}",
    "frame": "Continue this conversation.\n\n[10:02] peter: Are you there?\n[10:03] maria: {}\n[10:04] peter:",
}
LOGS = {
    "levels": "2025-11-20 08:15:01 ERROR worker: connection refused\n2025-11-20 08:15:02 INFO Timer: trying again",
    "programs": "08:15:01 scheduler: the job was started\n08:15:02 worker: the connection was refused by the host",
    "syslog": "Nov 20 08:15:42 web01 cron: job finished\nNov 20 08:15:43 web01 backup: starting the nightly backup",
    "nginx": "2025/11/20 08:15:42 [error] 1234#0: *1 open() failed\n[08:15:43] nginx: the test failed",
    "Python": "2025-11-20 08:15:01,123 - root - ERROR - could not open: denied\n08:15:02 - app - INFO - bye: now",
}


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("chat", CHATS)
def test_the_last_speaker_is_the_user(chat: str, language: str) -> None:
    assert detector.detect(CHATS[chat].format(TEXTS[language])).language == language


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("log", LOGS)
def test_a_log_of_a_server_is_noise(log: str, language: str) -> None:
    assert with_speakers(LOGS[log]) == LOGS[log]
    for text in (f"{LOGS[log]}\n{TEXTS[language]}", f"{TEXTS[language]}\n\n{LOGS[log]}"):
        assert detector.detect(text).language == language


@pytest.mark.parametrize("chat", ["WhatsApp", "Slack", "IRC", "help desk"])
def test_a_question_about_a_chat_decides(chat: str) -> None:
    text = CHATS[chat].format(TEXTS["tr"])
    assert detector.detect(f"Summarize this chat:\n\n{text}").language == "en"
    assert detector.detect(f"{text}\n\nWas will der Kunde?").language == "de"


def test_a_short_last_message_is_understood_by_those_before() -> None:
    text = "[10:02] Maria: Mein Handy lädt nicht\n[10:03] Peter: Since when?\n[10:04] Maria: ok"
    assert detector.detect(text).language == "de"


def test_tags_and_a_single_speaker_are_no_chat() -> None:
    for text in ("<b>one</b>\n<i>two</i>", "[10:02] Maria: one\n[10:03] Maria: two", "words"):
        assert with_speakers(text) == text
