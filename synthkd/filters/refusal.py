"""Drop completions in which the teacher declines to answer.

A refusal is known by its opening: someone cannot, and what they cannot is to help,
to answer, to go on; or an AI says that it is one. Regret alone is none of it: a
support reply that is sorry about a lost parcel, or cannot find an order, answers.
"""

import re
from functools import cache
from typing import Literal

from synthkd.filters.base import Filter
from synthkd.records import KEEP, Sample, Verdict, drop

_FINISH_REASONS = frozenset({"refusal", "content_filter"})
_OPENING = 240  # characters of a text that are looked at
_APOSTROPHES = str.maketrans("\u2018\u2019\u00b4`", "''''")

# One alternative a line; the line breaks are taken out before use.
_SORRY = r"""(?:
(?:(?:i'm|i am)(?: \w+)? sorry|sorry|my apologies|i (?:sincerely )?apologi[sz]e|unfortunately
|i (?:understand|appreciate|see)\b[^.!?\n]{0,60})
(?: for [^.!?\n,]{0,40})?[,.;:]? (?:but |however,? )?)"""
_CANNOT = r"""i(?:
(?: can't| cannot| can not| won't| will not)
|(?: am|'m) (?:unable|not able|not going) to
|(?: am|'m) not comfortable
| do(?: not|n't) feel comfortable
| (?:must|have to) decline to)"""
_HELP = r"""(?: directly| really| provide or)?(?:
(?: help)?[.!]?\s*$
| help(?:ing)?(?: you)? with\b
| (?:assist|comply|engage|participate)(?:ing)?\b
| (?:answer|fulfill?|satisfy|complete|continue)(?:ing)? (?:that|this|such|your|with)\b
| (?:do|discuss|support)(?:ing)? (?:that|this|so|such)\b
| (?:provid|giv|shar|offer|creat|generat|writ|produc)(?:e|ing)? (?:\w+ ){0,3}?
(?:content|instructions|guidance|advice|assistance|such
|information (?:on|about)|(?:that|this) information)\b)"""
_AN_AI = r"(?:an ai|an artificial intelligence|a (?:large )?language model)\b[^.!?\n]{0,60}"

_ENGLISH = rf"""
{_SORRY}?(?:as {_AN_AI})?{_CANNOT}{_HELP}
|{_SORRY}?(?:as|i'm|i am|i'm just|i am just) {_AN_AI}\b
i(?:'m| am)? (?:can't(?! wait)|cannot|can not|don't|do not|won't|unable|not able)\b
|i (?:must|have to|need to) (?:respectfully |politely )?(?:decline|refuse)\b
|it (?:(?:is|would be) (?:unethical|inappropriate|not ethical|not appropriate)
|would(?:n't| not) be (?:ethical|appropriate)) for me to\b"""
_GERMAN = r"""
(?:(?:es )?tut mir (?:sehr )?leid,? (?:aber )?|leider )
(?:(?:ich kann|kann ich|ich darf|darf ich)[^.!?\n]{0,60}\b
(?:bei dieser|diese anfrage|dieser anfrage|keine anleitung|keine inhalte|(?:dabei|damit) nicht)
|(?:dabei|damit) kann ich[^.!?\n]{0,30} nicht)\b
|als (?:ki|künstliche intelligenz|(?:ki-)?sprachmodell)\b[^.!?\n]{0,60}\b(?:nicht|keine?n?)\b"""
_FRENCH = r"""
(?:je suis )?(?:désolée?|navrée?),? (?:mais )?je ne (?:peux|puis|suis) pas[^.!?\n]{0,40}\b
(?:aider (?:à|avec|sur) ce|répondre à cette|fournir d)
|en tant qu(?:'ia|'intelligence artificielle|e modèle de langage)\b[^.!?\n]{0,60}\bpas\b"""
_SPANISH = r"""
lo siento,? (?:pero )?no puedo
(?: (?:ayudar|asistir)(?:te|le)? con (?:es|tu|su)| cumplir| responder a es
| proporcionar (?:\w+ ){0,2}(?:instrucciones|contenido))
|como (?:modelo de lenguaje|ia|inteligencia artificial)\b[^.!?\n]{0,60}\bno (?:puedo|tengo)\b"""
_ITALIAN = r"""
mi dispiace,? (?:ma )?non posso
(?: aiutar\w+ (?:con|in) quest| assister| rispondere a quest
| fornire (?:\w+ ){0,2}(?:istruzioni|contenuti))
|(?:come|in quanto) (?:modello linguistico|ia|intelligenza artificiale)\b[^.!?\n]{0,60}\b
non (?:posso|ho)\b"""
_PORTUGUESE = r"""
(?:desculpe|lamento|sinto muito),? (?:mas )?não posso
(?: ajudar(?:-\w+)? com (?:ess|ist|iss)| atender a ess| responder a ess
| fornecer (?:\w+ ){0,2}(?:instruções|conteúdo))
|como (?:um )?(?:modelo de linguagem|ia|inteligência artificial)\b[^.!?\n]{0,60}\b
não (?:posso|tenho)\b"""


class RefusalFilter(Filter):
    """Keep completions that answer; those that open with a refusal go.

    Read are the openings of the completion and of its answer, in English, German,
    French, Spanish, Italian and Portuguese. What the provider itself marked as
    refused or filtered goes too. Other tongues and tones: see `pattern`.
    """

    kind: Literal["refusal"] = "refusal"

    def judge(self, sample: Sample) -> Verdict:
        """A refusal after an answer is none: only openings are read."""
        if sample.finish_reason in _FINISH_REASONS:
            return drop("refusal")
        texts = (sample.completion, sample.answer)
        return drop("refusal") if any(map(_opens_with_refusal, texts)) else KEEP


def _opens_with_refusal(text: str) -> bool:
    return _compile().match(text.lstrip()[:_OPENING].translate(_APOSTROPHES)) is not None


@cache
def _compile() -> re.Pattern[str]:
    tongues = (_ENGLISH, _GERMAN, _FRENCH, _SPANISH, _ITALIAN, _PORTUGUESE)
    refusals = "|".join(tongues).replace("\n", "")
    return re.compile(rf"""["'*_>\s]*(?:{refusals})""", re.IGNORECASE)
