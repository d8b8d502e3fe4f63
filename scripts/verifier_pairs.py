# ruff: noqa: E501, SIM905 - lists of words and sentences
"""Makes question pairs to train the cache's verifier on, as JSON lines `{"a", "b", "same", "why"}`:

    .venv/bin/python scripts/verifier_pairs.py --questions query-wellformedness/*.tsv \
        --intents banking_data/train.csv --clinc clinc-oos/data_full.json \
        --wordnet /tmp/wordnet/usr/share/wordnet --out /tmp/pairs.jsonl

Sources: google-research-datasets/query-wellformedness (CC BY-SA 4.0), PolyAI-LDN/task-specific-datasets (CC BY 4.0),
clinc/oos-eval (CC BY 3.0), WordNet 3.0. A question is said in other ways (same) or asked for something else (not).
Both sides are reworded in both kinds of pairs, so that rewording itself tells nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from sentinella_plugins.cache.lexicon import FUNCTION, lexicon, stem
from sentinella_plugins.vectors.minilm import MiniLM

Rewrite = Callable[[str, random.Random], str | None]

HOW = (
    "how do i {}|how can i {}|how do you {}|how can you {}|how to {}|what is the best way to {}|what's the best way to {}|"
    "what is the way to {}|how does one {}|how can one {}|how could i {}|how do we {}|how should i {}|how would you {}|"
    "what are some ways to {}|what are the best ways to {}|what are the steps to {}|can you tell me how to {}|"
    "what are some tips to {}|is there a way to {}|what should i do to {}|what can i do to {}|i want to {}. how do i do it|"
    "what is the easiest way to {}|what is a good way to {}|how can we {}|how can someone {}|what is the process to {}"
).split("|")
ELSE_TO = (
    "why do people {}|why should i {}|when should i {}|where can i {}|who can {}|is it safe to {}|is it legal to {}|"
    "how long does it take to {}|how much does it cost to {}|what happens if you {}|should i {}|do i need to {}|"
    "is it possible to {} for free|what do i need to {}|why is it hard to {}|how often should i {}|can i {} twice|"
    "what is the best time to {}|what are the benefits of learning to {}|what are the risks when you {}|how did you {}|"
    "how do i stop trying to {}|how do i teach my child to {}|which app helps to {}|how not to {}|is it worth it to {}"
).split("|")
WHAT = (
    "what is {}|what's {}|what exactly is {}|can you explain {}|what does {} mean|what is meant by {}|define {}|"
    "explain {}|what is the meaning of {}|what is the definition of {}|tell me about {}|how would you define {}"
).split("|")
ELSE_WHAT = (
    "what is the history of {}|what is the price of {}|what are the types of {}|what are the uses of {}|who invented {}|"
    "what is an example of {}|what are the advantages of {}|why is {} important|how does {} work|where can i find {}|"
    "what is better than {}|what is the future of {}|how is {} made|is {} real|what is wrong with {}|what is it like {}|"
    "when was {} introduced|how much is {} worth|which company makes {}|what can {} do|how can {} help|what causes {}|"
    "how is {} used|what is the opposite of {}|why do people like {}|how do i get {}|what is the difference between {} and others"
).split("|")
SAME_OPENINGS = {
    "why": "why|what is the reason that|how come|why is it that|what are the reasons",
    "where is": "where is|where can i find|in which place is|where's|where is the location of",
    "where can i": "where can i|where do i|where could i|in which place can i|what is a good place to|where's the best place to",
    "who is": "who is|who's|which person is",
    "who was": "who was|which person was",
    "who invented": "who invented|who was the inventor of|who created|who is the inventor of",
    "when did": "when did|what year did|in what year did|in which year did",
    "when was": "when was|what year was|in what year was|in which year was",
    "how many": "how many|what number of|what is the number of",
    "how much does": "how much does|what does",
    "what are": "what are|what are some|which are|what are the|name some",
    "what is the": "what is the|what's the|which is the|tell me the",
    "what is the best": "what is the best|which is the best|what's the best|what are the best|which one is the best|what is a good",
    "what kind of": "what kind of|what type of|what sort of|which kind of",
    "is": "is|do you know if|is it true that|would you say",
    "can you": "can you|is it possible to|can i|can one|could you|can we|are you able to",
    "should i": "should i|would you recommend to|is it a good idea to|do you think i should",
    "what do": "what do|what exactly do", "what causes": "what causes|what is the cause of|what are the causes of|why is there",
    "what does": "what does|what exactly does", "which": "which|what", "what country": "what country|which country",
}  # fmt: skip
OTHER_OPENINGS = {
    "why": "how|when|where|since when|for how long", "where is": "what is|who owns|how big is|when was|why is there",
    "where can i": "when can i|why should i|how can i|how soon can i", "who is": "where is|how old is|how rich is|how tall is|who was",
    "who was": "where was|when was|why was|who is", "who invented": "when was the invention of|why do we need|who sells|who improved",
    "when did": "why did|how did|where did|when will|did", "when was": "where was|why was|who was|when will be|was",
    "how many": "how much|which|why are there so many|what are the", "what are": "why are there|how many are|where are|who are",
    "what is the": "why is there a|who has the|how is the|was there a|what was the|what will be the",
    "what is the best": "what is the worst|what is the second best|what is the cheapest|is there a|why is there a|what is the oldest",
    "what kind of": "how many kinds of|why that kind of|which brand of", "is": "why is|how is|since when is|who thinks that|was|will be",
    "can you": "why can you|how can you|when can you|how often can you|must you", "should i": "how should i|when should i|why did i|must i",
    "what do": "why do|how often do|when do|where do", "what causes": "what prevents|who has|how common is|what cures",
    "what does": "why does|how often does|when does|who does", "which": "how many|why|whose", "what country": "what city|what company",
}  # fmt: skip
FRONT = "please |hi, |hello, |can you tell me |i was wondering, |does anyone know |quick question: |could you explain |hey "
LIMITS = (
    "in india|in canada|in the uk|in germany|in new york|for beginners|for kids|for women|for free|online|at home|on android|"
    "on a mac|on windows 10|in 2015|in excel|in python|in java|without money|without a license|on an iphone|during winter|at night|"
    "after surgery|while pregnant|for a large company|as a student|with a phone|for seniors|on facebook|in high school|"
    "for small business|under stress|by car|quickly|safely|legally|professionally|every day|within a month|from scratch"
).split("|")
SLOTTED_INTENTS = frozenset(
    "translate book_flight weather definition spelling exchange_rate timezone restaurant_reviews restaurant_suggestion "
    "restaurant_reservation cancel_reservation accept_reservations confirm_reservation calculator measurement_conversion "
    "distance time date directions traffic book_hotel flight_status car_rental uber recipe ingredients_list "
    "ingredient_substitution calories nutrition_info cook_time meal_suggestion play_music reminder_update calendar "
    "calendar_update shopping_list_update todo_list_update transfer pay_bill balance bill_balance spending_history "
    "transactions text make_call smart_home alarm timer travel_suggestion travel_alert plug_type international_visa "
    "vaccines food_last how_old_are_you what_song update_playlist routing interest_rate min_payment gas_type mpg "
    "tire_pressure share_location meeting_schedule schedule_meeting pto_request holiday next_holiday income insurance "
    "current_location order_checks apr carry_on roll_dice user_name change_user_name change_ai_name change_language "
    "change_accent change_speed change_volume whisper_mode".split()
)
"""Utterances of one such intent may well ask about different things."""

NEAR = 0.75
SLOTTED = (
    (re.compile(r"^how (?:do|can|should|could|would|does) (?:i|you|we|one|someone) (.+)$"), HOW, ELSE_TO),
    (re.compile(r"^what(?: is|'s) (?!the best|a good|it )(.+)$"), WHAT, ELSE_WHAT),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--questions", type=Path, nargs="+", required=True)
    parser.add_argument("--intents", type=Path, required=True)
    parser.add_argument("--clinc", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    chosen = parser.parse_args()
    rng = random.Random(1)  # noqa: S311
    said = questions(chosen.questions)
    words = Words(chosen.wordnet, said)
    with chosen.out.open("w") as out:
        for _ in range(chosen.rounds):
            for text in said:
                for pair in from_question(text, words, rng):
                    out.write(json.dumps(pair) + "\n")
        for pair in (*from_intents(chosen.intents, chosen.clinc), *from_neighbours(said)):
            out.write(json.dumps(pair) + "\n")


def questions(files: list[Path]) -> list[str]:
    found = []
    for file in files:
        for line in file.read_text().splitlines():
            text, _, score = line.partition("\t")
            if float(score or 0) >= 0.6:
                found.append(re.sub(r"\s+([?.,!'])", r"\1", text).rstrip("? ").lower())
    return list(dict.fromkeys(found))


class Words:
    """What may stand for a word: the same (`synonym`), or something else of its kind (`sister`, `rival`)."""

    def __init__(self, wordnet: Path, said: list[str]) -> None:
        self.groups: dict[str, list[str]] = defaultdict(list)
        self.sisters: dict[str, list[str]] = defaultdict(list)
        self._wordnet(wordnet)
        self.followers: dict[str, list[str]] = defaultdict(list)
        for text in said:
            tokens = text.split()
            for before, word in pairwise(tokens):
                if word not in FUNCTION and word.isalpha():
                    self.followers[before].append(word)
        self.all = sorted(
            {word for text in said for word in text.split() if word.isalpha() and word not in FUNCTION}
        )
        self.adjectives = self._adjectives(wordnet)

    def _wordnet(self, folder: Path) -> None:
        first: dict[str, str] = {}
        for part in ("noun", "verb", "adj"):
            for line in (folder / f"index.{part}").read_text().splitlines():
                if not line.startswith(" "):
                    fields = line.split()
                    first.setdefault(fields[0], part + fields[-int(fields[2])])
        members: dict[str, list[str]] = defaultdict(list)
        for word, synset in first.items():
            if word.isalpha():
                members[synset].append(word)
        above: dict[str, list[str]] = defaultdict(list)
        for part in ("noun", "verb"):
            for line in (folder / f"data.{part}").read_text().splitlines():
                if not line.startswith(" "):
                    parent = re.search(r" @ (\d{8})", line)
                    if parent:
                        above[part + parent.group(1)].append(part + line[:8])
        for same in members.values():
            for word in same:
                self.groups[word] = [other for other in same if stem(other) != stem(word)]
        for children in above.values():
            some = [word for child in children[:60] for word in members.get(child, ())[:1]]
            for child in children:
                for word in members.get(child, ()):
                    self.sisters[word].extend(other for other in some if other not in members[child])

    def _adjectives(self, folder: Path) -> list[str]:
        seen = {
            line.split("%")[0] for line in (folder / "cntlist.rev").read_text().splitlines() if "%3" in line
        }
        return sorted(word for word in seen & set(self.all) if 3 < len(word) < 11)

    def synonym(self, text: str, rng: random.Random) -> str | None:
        return self._replace(text, rng, lambda word, _: self.groups.get(word, ()))

    def other(self, text: str, rng: random.Random) -> str | None:
        def options(word: str, before: str) -> list[str]:
            alike = {stem(word), *map(stem, self.groups.get(word, ()))}
            found = [
                *self.sisters.get(word, ())[:40],
                *self.followers.get(before, ())[:40],
                *rng.sample(self.all, 2),
            ]
            return [one for one in found if stem(one) not in alike]

        return self._replace(text, rng, options)

    def opposite(self, text: str, rng: random.Random) -> str | None:
        return self._replace(text, rng, lambda word, _: sorted(lexicon().antonyms.get(stem(word), ())))

    def _replace(self, text: str, rng: random.Random, options: Callable[[str, str], object]) -> str | None:
        tokens = text.split()
        places = [
            place
            for place, word in enumerate(tokens)
            if word.isalpha() and word not in FUNCTION and len(word) > 2
        ]
        rng.shuffle(places)
        for place in places:
            found = list(options(tokens[place], tokens[place - 1] if place else ""))  # type: ignore[call-overload]
            if found:
                return " ".join([*tokens[:place], rng.choice(found), *tokens[place + 1 :]])
        return None

    def adjective(self, text: str, rng: random.Random) -> str | None:
        tokens = text.split()
        places = [
            place
            for place, word in enumerate(tokens)
            if place > 1 and word.isalpha() and word not in FUNCTION
        ]
        if not places:
            return None
        place = rng.choice(places)
        return " ".join([*tokens[:place], rng.choice(self.adjectives), *tokens[place:]])


def reworded(text: str, rng: random.Random) -> str:
    for pattern, ways, _ in SLOTTED:
        found = pattern.match(text)
        if found and (ways is HOW or (rng.random() < 0.5 and len(found.group(1).split()) < 4)):
            return rng.choice(ways[:8] if rng.random() < 0.5 else ways).format(found.group(1))
    for opening in sorted(SAME_OPENINGS, key=len, reverse=True):
        if text.startswith(opening + " "):
            other = rng.choice(SAME_OPENINGS[opening].split("|"))
            if opening in ("why", "is") and other not in ("why", "is", "how come"):
                return text
            return other + text[len(opening) :]
    return text


def dressed(text: str, rng: random.Random) -> str:
    """Small things that people do or leave out."""
    if rng.random() < 0.3:
        text = re.sub(r"\b(?:the|a|an) ", lambda found: "" if rng.random() < 0.4 else found.group(), text)
    if rng.random() < 0.25:
        text = _swap(
            text, rng, (("you", "i"), ("your", "my"), ("i", "you"), ("i", "we"), ("people", "someone"))
        )
    if rng.random() < 0.25:
        text = _swap(
            text, rng, (("some", "the"), ("what is", "what's"), ("do not", "don't"), ("can not", "can't"))
        )
    if rng.random() < 0.2:
        text = _number(text, rng)
    if rng.random() < 0.12:
        text = rng.choice(FRONT.split("|")) + text
    if rng.random() < 0.06:
        text = _typo(text, rng)
    if rng.random() < 0.15:
        text = _turn(text)
    if rng.random() < 0.5:
        text = text[:1].upper() + re.sub(r"\bi\b", "I", text[1:])
    return text + rng.choice(("?", "?", "?", "", " ?", "??"))


def _swap(text: str, rng: random.Random, pairs: tuple[tuple[str, str], ...]) -> str:
    one, other = rng.choice(pairs)
    return re.sub(rf"\b{one}\b", other, text)


def _number(text: str, rng: random.Random) -> str:
    tokens = text.split()
    places = [
        place
        for place, word in enumerate(tokens)
        if len(word) > 4 and word not in FUNCTION and word.isalpha()
    ]
    if places:
        place = rng.choice(places)
        word = tokens[place]
        tokens[place] = word[:-1] if word.endswith("s") and not word.endswith("ss") else word + "s"
    return " ".join(tokens)


def _typo(text: str, rng: random.Random) -> str:
    tokens = text.split()
    long = [place for place, word in enumerate(tokens) if len(word) > 6]
    if long:
        place, cut = rng.choice(long), rng.randrange(2, 5)
        word = tokens[place]
        tokens[place] = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    return " ".join(tokens)


def _turn(text: str) -> str:
    return re.sub(r"\b(\w+) (and|or) (\w+)\b", r"\3 \2 \1", text, count=1)


def changed(text: str, words: Words, rng: random.Random) -> Iterator[tuple[str, str]]:
    """(why, another question)."""
    for pattern, _, others in SLOTTED:
        found = pattern.match(text)
        if found:
            yield "aspect", rng.choice(others).format(found.group(1))
    for opening in sorted(OTHER_OPENINGS, key=len, reverse=True):
        if text.startswith(opening + " "):
            yield "opening", rng.choice(OTHER_OPENINGS[opening].split("|")) + text[len(opening) :]
            break
    for why, made in (
        ("other", words.other),
        ("other", words.other),
        ("adjective", words.adjective),
        ("opposite", words.opposite),
    ):
        yield why, made(text, rng) or ""
    yield "limit", f"{text} {rng.choice(LIMITS)}"
    yield "limits", f"{text} {rng.choice(LIMITS)}"
    yield "number", re.sub(r"\d+", lambda found: str(int(found.group()) % 10**6 + rng.randint(1, 9)), text)
    yield "without", _shortened(text, rng)
    yield "swap", _exchanged(text, rng)


def _shortened(text: str, rng: random.Random) -> str:
    tokens = text.split()
    places = [place for place, word in enumerate(tokens) if word not in FUNCTION and place > 1]
    if len(places) < 2:
        return ""
    place = rng.choice(places)
    return " ".join([*tokens[:place], *tokens[place + 1 :]])


def _exchanged(text: str, rng: random.Random) -> str:
    tokens = text.split()
    places = [
        place for place, word in enumerate(tokens) if word not in FUNCTION and place > 1 and word.isalpha()
    ]
    far = [(one, other) for one in places for other in places if other - one > 1]
    joined = {"and", "or", "vs", "versus", "between"} & set(tokens)
    if not far or joined:
        return ""
    one, other = rng.choice(far)
    tokens[one], tokens[other] = tokens[other], tokens[one]
    return " ".join(tokens)


def from_question(text: str, words: Words, rng: random.Random) -> Iterator[dict[str, object]]:
    def say(one: str) -> str:
        return dressed(reworded(one, rng), rng)

    yield {"a": dressed(text, rng), "b": say(text), "same": 1, "why": "reworded"}
    yield {"a": say(text), "b": say(text), "same": 1, "why": "both reworded"}
    near = words.synonym(text, rng)
    if near:
        yield {"a": say(text), "b": say(near), "same": 1, "why": "synonym"}
    options = [(why, other) for why, other in changed(text, words, rng) if other and other != text]
    for why, other in rng.sample(options, min(3, len(options))):
        a = f"{text} {rng.choice(LIMITS)}" if why == "limits" else text
        if a == other:
            continue
        plain = rng.random() < 0.5
        both = (dressed(a, rng), dressed(other, rng)) if plain else (say(a), say(other))
        yield {"a": both[0], "b": both[1], "same": 0, "why": why}


def from_intents(banking: Path, clinc: Path) -> Iterator[dict[str, object]]:
    """Near utterances: of one intent (same) or of two (not)."""
    said = {row["text"].strip(): f"banking {row['category']}" for row in csv.DictReader(banking.open())}
    raw = json.loads(clinc.read_text())
    own = {text: f"clinc {intent}" for part in ("train", "val", "test") for text, intent in raw[part]}
    for group in (said, own):
        for one, other in near(list(group)):
            same = group[one] == group[other]
            if not (same and group[one].removeprefix("clinc ") in SLOTTED_INTENTS):
                yield {"a": one, "b": other, "same": int(same), "why": "intent"}


def from_neighbours(said: list[str]) -> Iterator[dict[str, object]]:
    """Different questions that came from different people; the trainer keeps those that differ in a word."""
    for one, other in near([f"{text}?" for text in said]):
        yield {"a": one, "b": other, "same": 0, "why": "neighbour"}


def near(texts: list[str]) -> Iterator[tuple[str, str]]:
    encoder = MiniLM()
    vectors = np.stack([encoder.encode([text])[0].vector for text in texts])
    for start in range(0, len(texts), 1000):
        sims = vectors[start : start + 1000] @ vectors.T
        for row, found in enumerate(np.argpartition(-sims, 31, axis=1)[:, :31]):
            for place in found:
                if place > start + row and sims[row, place] >= NEAR:
                    yield texts[start + row], texts[place]


if __name__ == "__main__":
    main()
