"""How a mail ends, in each language."""

from __future__ import annotations

import pytest

from cc_core.language.signatures import begins_signature


@pytest.mark.parametrize(
    "line",
    [
        "Sent from my iPhone",
        "Von meinem Samsung Galaxy gesendet",
        "Gesendet von Outlook für Android",
        "GESENDET VON MEINEM IPHONE",
        "OTOMATIK GÖNDERİLDİ: IPHONE",
        "Enviado desde mi iPad",
        "Enviado do meu iPhone",
        "Envoyé de mon iPhone",
        "Verzonden vanaf mijn iPhone",
        "Отправлено с iPhone",
        "iPhone'umdan gönderildi",
        "Dikirim dari iPhone saya",
        "Được gửi từ iPhone của tôi",
        "iPhoneから送信",
        "发自我的 iPhone",
        "나의 iPhone에서 보냄",
        "ส่งจาก iPhone ของฉัน",
        "मेरे iPhone से भेजा गया",
        "أرسلت من الـ iPhone",
        "Nire iPhonetik bidalia",
        "Imetumwa kutoka iPhone yangu",
        "Mit freundlichen Grüßen",
        "Viele Grüße,",
        "Un saludo,",
        "Atentamente",
        "Cordialement,",
        "Atenciosamente,",
        "С уважением,",
        "Με εκτίμηση,",
        "Saygılarımla,",
        "Hormat saya,",
        "Trân trọng,",
        "Adeitasunez,",
        "مع أطيب التحيات،",
        "सादर,",
        "敬具",
        "此致",
        "--",
    ],
)
def test_a_signature_begins(line: str) -> None:
    assert begins_signature(line)


@pytest.mark.parametrize(
    "line",
    [
        "Wann wurde die Mail von meinem iPhone gesendet?",
        "Mein iPhone ist kaputt",
        "Der Brief wurde gesendet",
        "Saludos es una palabra",
        "Grüße bitte deine Mutter von mir",
        "",
    ],
)
def test_what_says_something_is_no_signature(line: str) -> None:
    assert not begins_signature(line)
