import csv
from pathlib import Path

import pytest

from synthkd.filters import RefusalFilter
from tests.filters.samples import make_sample

SUPPORT = Path(__file__).parents[3] / "shared/data/bitext_support/bitext_support_2023-08-18.csv"

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I\u2019m sorry, but I can\u2019t assist with that request.",
    "Sorry, I can't help.",
    "I'm sorry, but I can't.",
    "I am very sorry, but I am unable to provide instructions for that.",
    "I cannot fulfill this request. It could hurt someone.",
    "I can't provide that information.",
    "I won't write such a story.",
    "I apologize, but I cannot generate content of this kind.",
    "I apologize for any confusion, but I'm unable to assist you with opening an account.",
    "Unfortunately, I'm not able to comply with this.",
    "I understand that you are curious, but I can't help you with picking a lock.",
    "As an AI language model, I don't have personal opinions.",
    "As an AI, I cannot feel pain.",
    "I'm just an AI assistant and I can't make phone calls.",
    "I'm sorry, but as an AI language model I do not have access to invoices.",
    "I must respectfully decline.",
    "It would not be appropriate for me to guess at a diagnosis.",
    "> **I'm sorry, but I can't do that.**",
    "Es tut mir leid, aber dabei kann ich Ihnen nicht helfen.",
    "Tut mir leid, ich kann bei dieser Anfrage nicht helfen.",
    "Als KI-Sprachmodell habe ich keine Meinung.",
    "Je suis désolé, mais je ne peux pas vous aider à ce sujet.",
    "En tant que modèle de langage, je ne peux pas ressentir.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Como modelo de lenguaje, no tengo opiniones.",
    "Mi dispiace, ma non posso aiutarti con questa richiesta.",
    "Come modello linguistico, non ho opinioni.",
    "Desculpe, mas não posso ajudar com isso.",
]
ANSWERS = [
    "I'm sorry to hear that your parcel is late. I have asked the carrier to look for it.",
    "I'm so sorry for the trouble! Your refund left us this morning.",
    "Sorry about that. Please restart the router and try again.",
    "I apologize for the inconvenience caused by the lost invoice; here it is again.",
    "I'm sorry, but I can't find your order in our system. Could you tell me its number?",
    "Unfortunately, I don't see a payment from you yet.",
    "Unfortunately, we can't refund opened items after 30 days.",
    "I can't wait to see you there!",
    "I'm an AI assistant for Acme, and I can't wait to help you.",
    "As an AI company, we do not sell data.",
    "As an airline, we cannot ship dangerous goods.",
    "I understand that you want to cancel. You can do it under Settings.",
    "It would be appropriate to apologise to the customer.",
    "Es tut mir leid, dass Ihr Paket nicht angekommen ist. Ich schicke ein neues.",
    "Leider kann ich Ihre Bestellung nicht finden. Wie lautet die Nummer?",
    "Je suis désolé d'apprendre que votre colis est en retard.",
    "Lo siento mucho. Su paquete llegará mañana.",
    "Mi dispiace per il ritardo. Il pacco arriva domani.",
    "Lamento o atraso. O seu pacote chega amanhã.",
    "The phrase \"I'm sorry, but I can't help with that\" is a refusal.",
    "No.",
    "",
]


@pytest.mark.parametrize("completion", REFUSALS)
def test_an_opening_that_declines_is_a_refusal(completion: str) -> None:
    assert RefusalFilter().judge(make_sample(completion)).reason == "refusal"


@pytest.mark.parametrize("completion", ANSWERS)
def test_an_answer_may_apologise(completion: str) -> None:
    assert RefusalFilter().judge(make_sample(completion)).keep


@pytest.mark.parametrize("finish_reason", ["refusal", "content_filter"])
def test_what_the_provider_marked_is_a_refusal(finish_reason: str) -> None:
    sample = make_sample("Sure:", finish_reason=finish_reason)

    assert RefusalFilter().judge(sample).reason == "refusal"


def test_a_refusal_may_follow_a_rationale() -> None:
    sample = make_sample(
        "They ask for a key that is not theirs.\nI'm sorry, but I can't help with that.",
        rationale="They ask for a key that is not theirs.",
        answer="I'm sorry, but I can't help with that.",
    )

    assert RefusalFilter().judge(sample).reason == "refusal"


def test_a_long_text_is_judged_by_its_opening_alone() -> None:
    sample = make_sample("Your parcel is here. " * 20_000 + "I'm sorry, but I can't help.")

    assert RefusalFilter().judge(sample).keep


@pytest.mark.skipif(not SUPPORT.exists(), reason=f"{SUPPORT} is not on this machine")
def test_few_real_support_replies_are_taken_for_refusals() -> None:
    with SUPPORT.open(encoding="utf-8", newline="") as file:
        replies = [row["response"] for row in csv.DictReader(file)]

    refused = [reply for reply in replies if not RefusalFilter().judge(make_sample(reply)).keep]

    # Read by hand: four of 4,514 say that they cannot assist, and mean it.
    assert len(replies) == 4514
    assert len(refused) == 4
