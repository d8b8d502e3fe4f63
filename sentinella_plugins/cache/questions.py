"""Questions whose answer another moment or another person would change. Patterns err on the side of asking
the model."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_READ = 1_000
"""Characters of a long text that are looked at, from its start and from its end: there stands what is
asked."""

_TIME = re.compile(
    r"""\b(?:
      today(?:'?s)? | tonight | tomorrow | yesterday | now(?!\s+that) | nowadays | currently | current
    | latest | newest | recent(?:ly)? | up[- ]to[- ]date | breaking | live | at\ the\ moment | as\ of
    | this\ (?:morning|afternoon|evening|week|weekend|month|year|quarter|season)
    | (?:last|next)\ (?:night|week|weekend|month|year|quarter|season|\w+day)
    | what\ (?:time|day|date)\ is | how\ (?:late|long)\ (?:is\ it|until|till|ago)
    | (?:days|weeks|months|hours)\ (?:until|till|left|ago)
    | news | headlines? | weather | forecast | temperature\ (?:in|outside) | traffic
    | scores?\ (?:of|in|for) | standings | who\ (?:won|is\ winning)
    | (?:stock|share)\ price | (?:exchange|interest)\ rate | prices? | how\ much\ (?:is|are|does|do)
    | trending | in\ stock | open\ (?:now|today) | still\ alive | so\ far | to\ date | net\ worth
    | heute | morgen | gestern | jetzt | aktuell\w* | derzeit | neueste\w* | wetter | preise?
    | aujourd'hui | demain | hier\ soir | maintenant | actuel\w* | derni[eè]res?\ nouvelles | m[ée]t[ée]o
    | prix | hoy | ma[ñn]ana | ayer | ahora | actual(?:es|mente)? | [uú]ltimas? | noticias | clima
    | precios? | oggi | domani | adesso | notizie | meteo | prezz[oi] | hoje | amanh[ãa] | agora
    | not[íi]cias | pre[çc]os?
    )\b
    | 今天|明天|昨天|现在|目前|最新|天气|新闻|价格|今日|現在|天気|ニュース|価格
    | 오늘|지금|최신|날씨|뉴스|가격 | сегодня|завтра|вчера|сейчас|последн|погод|новост|цен[аы]
    | आज|अभी|मौसम | اليوم|الآن|الطقس""",
    re.IGNORECASE | re.VERBOSE,
)
_THINGS = (
    r"accounts?|orders?|balances?|bills?|invoices?|bookings?|reservations?|passwords?|e-?mails?|address(?:es)?"
    r"|phone|mobile|name|birthday|subscriptions?|plan|appointments?|tickets?|packages?|parcels?"
    r"|deliver(?:y|ies)|shipments?|payments?|refunds?|cards?|salary|pay(?:check|slip)|pension|tax(?:es)?"
    r"|contracts?|claims?|polic(?:y|ies)|prescriptions?|diagnos[ei]s|(?:test|lab)\ results?|medical\ records?"
    r"|profile|calendar|schedule|meetings?|inbox|flights?|trips?|loans?|mortgage|insurance|case|credits?"
    r"|points|usage|cart"
)
_PERSONAL = re.compile(
    rf"""\b(?:
      (?:my|our)\ (?:\w+\ )?(?:{_THINGS}) | who\ am\ i | where\ am\ i | did\ (?:i|we) | about\ me
    | remember\ me | you\ know\ (?:about\ )?me | (?:i|we)\ (?:said|told|mentioned|asked)
    | mein(?:e[mnrs]?)?\ (?:konto|bestellung|rechnung|name|termin|passwort|vertrag|adresse|gehalt)
    | (?:mon|ma|mes)\ (?:compte|commande|facture|nom|rendez-vous|mot\ de\ passe|contrat|adresse|salaire)
    | mis?\ (?:cuenta|pedidos?|factura|nombre|cita|contrase[ñn]a|contrato|direcci[óo]n|salario)
    | (?:mio|mia|miei|mie)\ (?:conto|ordin[ei]|fattura|nome|appuntamento|contratto)
    | (?:minha|meu)\ (?:conta|pedido|fatura|nome|senha|contrato)
    )\b
    | 我的(?:订单|账户|帐户|名字|密码|地址|余额) | 私の(?:注文|口座|名前|住所) | 내\ (?:주문|계정|이름)
    | мо[йяюе]\w*\ (?:заказ|счет|счёт|имя|парол)""",
    re.IGNORECASE | re.VERBOSE,
)
_YEAR = re.compile(r"(?<!\d)(20\d\d)(?!\d)")


def depends_on_time(text: str, now: float) -> bool:
    """Also when it names this year, or one to come."""
    ends = _ends(text)
    if _TIME.search(ends):
        return True
    year = datetime.fromtimestamp(now, UTC).year
    return any(int(named) in range(year, year + 10) for named in _YEAR.findall(ends))


def is_personal(text: str) -> bool:
    return _PERSONAL.search(_ends(text)) is not None


def _ends(text: str) -> str:
    return text if len(text) <= 2 * _READ else f"{text[:_READ]}\n{text[-_READ:]}"
