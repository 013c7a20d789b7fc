"""How mails end in the served languages and a few more: "Best regards", "Sent from my iPhone"."""

from __future__ import annotations

import re
from typing import Final

_SENT_FROM = re.compile(r"\s*+(?:Sent (?:from|via|with|using) |Get \w+ for \w+|Sent by )", re.IGNORECASE)
# The devices that mail programs name, and how each language says "sent". A short line with both is a signature.
_DEVICE: Final = (
    r"iPhone|iPad|iOS|Android|Samsung|Galaxy|Huawei|Xiaomi|Redmi|Oppo|Vivo|Pixel|Nokia|BlackBerry|Outlook|Hotmail|"
    r"Gmail|Yahoo|AOL|GMX|Web\.de|Proton|Thunderbird|Windows|Mobile|Smartphone|Tablet|Handy|téléphone|teléfono|telefone|"
    r"telefon|simu|ponsel|điện thoại|телефон|아이폰|휴대폰|スマートフォン|スマホ|手机|手機|هاتف|آيفون|मोबाइल|मोबाईल|"
    r"আইফোন|ไอโฟน|آئی فون"
)
_SENT_IN_ASCII: Final = (
    r"gesendet|verschickt|geschickt|enviad[oa]s?|mandad[oa]|inviat[oa]|verzonden|verstuurd|dikirim|imetumwa|umetumwa|"
    r"bidali(?:a|ta|tako)"
)
_SENT: Final = (
    rf"{_SENT_IN_ASCII}|envoyée?|expédiée?|wysłan[eoay]|отправлен[оа]?|надіслано|gönderil(?:di|miştir)|gönderdi[mk]?|"
    r"gửi từ|được gửi|fi ránṣẹ́|στάλθηκε|εστάλη|أ?رسلت?|مرسل|भेजा|पाठाइएको|পাঠানো|প্রেরিত|పంపబడింది|పంపిన|ส่งจาก|보냄|보낸|"
    r"발송|전송|から送信|送信|发自|發自|发送|傳送|بھیجا"
)
_SENT_LINE = re.compile(rf"(?=[^?？؟]*$)(?=.*?(?:{_DEVICE})).*?(?:{_SENT})", re.IGNORECASE)
_LONGEST_SENT_LINE: Final = 70
# Rules a line out in a tenth of the time that a search without regard to case takes.
_SENT_ASCII = re.compile(_SENT_IN_ASCII)
# The lookahead rules out most lines, above all those of code and data, before the closings are compared.
_CLOSING = re.compile(
    r"\s*+(?:(?:--|—|__|~~)\s*$|(?-i:(?=[^\W\d_][^\n:=(){}\[\]<>/]*+$))"
    r"(?:(?:best|kind|warm|many|with)\s)*(?:regards|wishes|thanks|cheers|sincerely|"
    r"yours(?: truly| sincerely| faithfully)?|thank you(?: very much| so much)?|respectfully|br|rgds|"
    r"(?:(?:mit|viele|liebe|beste|schöne|herzliche|freundliche)\s)+(?:freundlichen\s|besten\s|lieben\s|herzlichen\s)?"
    r"(?:gr(?:ü|ue)(?:ß|ss)en?|gruß|gruss)(?: aus .{1,30})?|hochachtungsvoll|mfg|vg|lg|"
    r"(?:un |muchos |cordiales |atentos )?(?:cordial(?:es)? )?saludos?(?: cordiales| cordial| atentos)?|atentamente|"
    r"(?:un (?:fuerte )?)?abrazo|cordialmente|"
    r"(?:bien |très )?cordialement|(?:bien |très )?amicalement|salutations(?: distinguées)?|sincères salutations|"
    r"bien à vous|"
    r"(?:com os )?(?:melhores |meus )?cumprimentos|atenciosamente|att|abraços?|um abraço|"
    r"(?:cordiali |distinti )?saluti|met vriendelijke groet(?:en)?|"
    r"с уважением|с наилучшими пожеланиями|всего (?:доброго|наилучшего)|"
    r"με (?:εκτίμηση|φιλικούς χαιρετισμούς)|φιλικά|"
    r"saygılar(?:ımla|ımızla)?|sevgiler(?:imle)?|iyi çalışmalar|en iyi dileklerimle|"
    r"salam(?: hangat| hormat)?|hormat (?:saya|kami)|"
    r"trân trọng(?: kính chào)?|thân (?:ái|mến)|kính thư|"
    r"wako (?:mwaminifu|mtiifu|katika.{1,30})|kwa heshima|"
    r"adeitasunez|agur bero bat|ongi izan|"
    r"(?:مع |أطيب |خالص )(?:(?:أطيب |خالص )?(?:التحيات|التحية|تحياتي|تحيات))|تحياتي|والسلام|"
    r"سادر|نیک تمنائیں|آپ کا مخلص|مخلص|"
    r"सादर|भवदीय|धन्यवाद सहित|शुभकामनाओं सहित|"
    r"শুভেচ্ছান্তে|বিনীত|ধন্যবাদান্তে|"
    r"ఇట్లు|భవదీయుడు|ధన్యవాదాలతో|"
    r"ขอแสดงความนับถือ|ด้วยความเคารพ|"
    r"敬具|敬上|此致|敬礼|敬禮|顺祝商祺|順頌商祺|よろしくお願い(?:いた)?します|よろしくお願い致します|以上|"
    r"감사합니다|드림|올림|"
    r"pẹ̀lú ọ̀wọ̀|tìrẹ ní tòótọ́)\s?[!,.،。，]?\s*$)",
    re.IGNORECASE,
)
# A longer line is no closing.
_LONGEST: Final = 80


def begins_signature(line: str) -> bool:
    """Whether the end of a mail begins with ``line``."""
    if len(line) > _LONGEST:
        return _SENT_FROM.match(line) is not None
    return bool(
        _SENT_FROM.match(line) or _CLOSING.match(line) or (len(line) <= _LONGEST_SENT_LINE and _says_sent(line))
    )


def _says_sent(line: str) -> bool:
    if line.isascii() and _SENT_ASCII.search(line.lower()) is None:
        return False
    return _SENT_LINE.match(line) is not None
