"""Rules that forbid to serve one question's answer for another."""

from __future__ import annotations

import sys
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinella_plugins.cache.guards import refusal
from sentinella_plugins.cache.reading import LONGEST, read

REFUSED = {
    "numbers": [
        ("How do I lose 5 kg?", "How do I lose 10 kg?"),
        ("What is the square root of 16?", "What is the square root of 25?"),
        ("Is Python 2 still supported?", "Is Python 3 still supported?"),
        ("What business can I start with $500?", "What business can I start with $150?"),
        ("What happens after two years?", "What happens after three years?"),
        ("What does HTTP 404 mean?", "What does HTTP 403 mean?"),
        ("How far is 10k?", "How far is 5k?"),
    ],
    "units": [
        ("How long is 5 miles?", "How long is 5 km?"),
        ("What is 20 celsius?", "What is 20 fahrenheit?"),
        ("Is 5 mg of melatonin safe?", "Is 5 g of melatonin safe?"),
        ("Is 500mcg of folic acid enough?", "Is 500mg of folic acid enough?"),
    ],
    "dates": [
        ("Is the shop open on Monday?", "Is the shop open on Sunday?"),
        ("What is the weather like in July?", "What is the weather like in December?"),
    ],
    "negation": [
        ("Is it safe to eat raw eggs?", "Is it not safe to eat raw eggs?"),
        ("Why do cats purr?", "Why don't cats purr?"),
        ("Can I travel without a passport?", "Can I travel with a passport?"),
        ("He is never late.", "He is late."),
        ("You can open it.", "You cannot open it."),
    ],
    "antonyms": [
        ("He is fat.", "He is thin."),
        ("How do I increase the heap size?", "How do I decrease the heap size?"),
        ("What are the pros of nuclear energy?", "What are the cons of nuclear energy?"),
        ("Is this possible?", "Is this impossible?"),
        ("How do I enable the firewall?", "How do I disable the firewall?"),
        ("What is the best phone?", "What is the worst phone?"),
        ("What should I eat before a run?", "What should I eat after a run?"),
        ("Which is the best and worst film?", "Which is the worst film?"),
        ("Who sold the most records?", "Who sold the least records?"),
        ("What is his name?", "What is her name?"),
        ("Would you date a nerd girl?", "Would you date a nerd guy?"),
        ("How do I get bigger arms?", "How do I get smaller arms?"),
        ("Which way do I turn the wheels uphill?", "Which way do I turn the wheels downhill?"),
        ("Is inbound traffic allowed?", "Is outbound traffic allowed?"),
        ("What should the payee do?", "What should the payer do?"),
        ("How do I train a puppy?", "How do I train a kitten?"),
        ("How many residents are older than 18?", "How many residents are younger than 18?"),
        ("Where are the highest taxes?", "Where are the lowest taxes?"),
        ("Who pays the buyer's agent?", "Who pays the seller's agent?"),
    ],
    "entities": [
        ("What is the population of Chennai?", "What is the population of Kolkata?"),
        ("Should I buy an iPhone?", "Should I buy a Nokia?"),
        ("Is NASA hiring?", "Is ESA hiring?"),
        ("How do I learn Rust?", "How do I learn Go and Haskell?"),
        ("What does vitamin C do for acne?", "What does vitamin D do for acne?"),
        ("How do I parse JSON in Java?", "How do I parse JSON in javascript?"),
    ],
    "roles": [
        ("How is Messi better than Ronaldo?", "How is Ronaldo better than Messi?"),
        ("How do I convert celsius to fahrenheit?", "How do I convert fahrenheit to celsius?"),
        ("Translate this from French to German.", "Translate this from German to French."),
        ("Why did the dog bite the man?", "Why did the man bite the dog?"),
        ("Can I study law after medicine?", "Can I study medicine after law?"),
        ("Can I use oil instead of butter?", "Can I use butter instead of oil?"),
        ("Is every square a rectangle?", "Is every rectangle a square?"),
        ("What eats jellyfish?", "What do jellyfish eat?"),
        ("How do I quit vim without saving?", "How do I save without quitting vim?"),
    ],
    "sequence": [
        ("What is 0 divided by 5?", "What is 5 divided by 0?"),
        ("What does 3 / 2 return in Python 2?", "What does 3 / 2 return in Python 3?"),
    ],
    "particles": [("My toddler threw up the pill.", "My toddler threw out the pill.")],
    "voices": [
        ("Who can fire without notice?", "Who can be fired without notice?"),
        ("Which queries are running in Postgres?", "Which queries have run in Postgres?"),
    ],
    "junctions": [("Can I take aspirin and ibuprofen?", "Can I take aspirin or ibuprofen?")],
    "quantities": [
        ("Do all mammals lay eggs?", "Do most mammals lay eggs?"),
        ("Does the vaccine protect adults?", "Does the vaccine only protect adults?"),
        ("Do I get a day off every week?", "Do I get a day off every other week?"),
        ("Why do few people vote?", "Why do a few people vote?"),
        ("What is the chance of at least two sixes?", "What is the chance of exactly two sixes?"),
    ],
    "conditions": [
        ("Do bonds earn interest until they mature?", "Do bonds earn interest after they mature?"),
        ("Must I use up my holiday?", "May I use up my holiday?"),
        ("I am used to running at altitude.", "I used to run at altitude."),
        ("Write a mail about our late payment.", "Write a mail about her late payment."),
    ],
    "directions": [
        (
            "How do I transfer money to my savings account?",
            "How do I transfer money from my savings account?",
        ),
        ("How do I import data into Excel?", "How do I import data from Excel?"),
        ("how do i migrate from mysql to postgres", "how do i migrate to mysql from postgres"),
        ("Can I eat eggs during pregnancy?", "Can I eat eggs after pregnancy?"),
        ("How do I reduce a number by 20%?", "How do I reduce a number to 20%?"),
        ("Which files are shared with me?", "Which files are shared by me?"),
        ("Which rivers flow into the lake?", "Which rivers flow out of the lake?"),
    ],
    "question": [
        ("When did the war start?", "Why did the war start?"),
        ("Is cheese healthy?", "Why is cheese healthy?"),
        ("Who invented the telephone?", "When was the telephone invented?"),
        ("How many people live there?", "Where do people live there?"),
    ],
    "quotes": [('What does "bonjour" mean?', 'What does "merci" mean?')],
    "code": [
        ("What does `len(x)` do?", "What does `sum(x)` do?"),
        ("Is my_table indexed?", "Is your_table indexed?"),
        ("Who owns https://a.example/x?", "Who owns https://b.example/x?"),
        ("How do I sort in C++?", "How do I sort in C#?"),
        ("What is the integral of sin^2(x)?", "What is the integral of sin(x^2)?"),
        ("What does > do in bash?", "What does >> do in bash?"),
    ],
    "formats": [
        ("List the planets as JSON.", "List the planets as YAML."),
        ("Explain gravity briefly.", "Explain gravity in detail."),
    ],
    "language": [("What is bread?", "What is хлеб?"), ("привет", "hello")],
}
PASSED = [
    ("How do I reset my password?", "how can i reset my password"),
    ("What is the best way to learn Python?", "How do I learn Python?"),
    ("What is the difference between a cat and a dog?", "What is the difference between a dog and a cat?"),
    ("What's the capital of France?", "What is the capital of France?"),
    ("How do I lose two kilos?", "How can I lose 2 kilos?"),
    ("How much is 1,000 dollars?", "How much is $1000?"),
    ("Why does HIV cause AIDS?", "What is the reason that HIV causes AIDS?"),
    ("How Do I Cook Brown Rice Quickly?", "how do i cook brown rice quickly?"),
    ("Where can I buy a film?", "Where can I purchase a movie?"),
    ("Can I fly a drone?", "Is it possible to fly a drone?"),
    ("How do I stop my car\u2019s engine?", "How do I stop my car's engine?"),
    ("Is 5mg of melatonin safe?", "Is 5 mg of melatonin safe?"),
    ("How do I get from Rome to Paris?", "How do I get to Paris from Rome?"),
    ("What is the age limit in the U.S.?", "What is the age limit in the US?"),
    ("How do I install WhatsApp?", "How do I install Whats App?"),
    ("Who signed the Maastrich treaty?", "Who signed the maastricht treaty?"),
    ("What does the WHO recommend?", "What does the World Health Organization recommend?"),
    ("What is the status of my application?", "What is my application's status?"),
    ("Why do dogs bark when you leave?", "When you leave, why do dogs bark?"),
    ("How many ml are in one litre?", "How many ml are in a litre?"),
    (
        "What is the greatest common divisor of 84 and 126?",
        "What is the greatest common divisor of 126 and 84?",
    ),
    ("What must I do to get a visa?", "What can I do to get a visa?"),
    ("How does someone start their own firm?", "How do I start my own firm?"),
    ("Is it fine to give access to just one user?", "Is it fine to give access to only one user?"),
    ("Summarise the plot.", "Summarize the plot."),
    ("Can I get a loan with no income?", "Can I get a loan without income?"),
    ("What currencies do you accept?", "What currencies are accepted?"),
]
TEXT = st.text(max_size=60) | st.text(alphabet="aAbB 019'\"`-.?/_é\u2019你$%\u0301\ud800", max_size=40)


@pytest.mark.parametrize(
    ("guard", "one", "other"), [(name, *pair) for name in REFUSED for pair in REFUSED[name]]
)
def test_it_refuses(guard: str, one: str, other: str) -> None:
    assert refusal(read(one), read(other)) is not None
    assert refusal(read(other), read(one)) == refusal(read(one), read(other))
    assert refusal(read(one), read(one)) is None


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_every_guard_is_the_one_that_refuses(name: str) -> None:
    assert name in {refusal(read(one), read(other)) for one, other in REFUSED[name]}


@pytest.mark.parametrize(("one", "other"), PASSED)
def test_another_wording_passes(one: str, other: str) -> None:
    assert refusal(read(one), read(other)) is None


@settings(max_examples=200, deadline=None)
@given(TEXT, TEXT)
def test_any_text_can_be_read_and_order_does_not_matter(one: str, other: str) -> None:
    assert refusal(read(one), read(one)) is None
    assert refusal(read(one), read(other)) == refusal(read(other), read(one))


@pytest.mark.parametrize(("start", "end"), [("", ""), ("A", ""), ("", "er"), ("in", "est")])
def test_the_work_grows_with_the_words_not_with_their_pairs(start: str, end: str) -> None:
    """The thread that judges is the cache's only one."""
    words = ["".join(letters) for letters in product("bcdfg", "aeiou", "lmnprt")]
    one, other = (" ".join(f"{start}{word}{x}{end}" for word in words)[:LONGEST] for x in "kz")
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    first, second = read(one), read(other)
    sys.setprofile(count)
    try:
        refusal(first, second)
    finally:
        sys.setprofile(None)
    assert 0 < calls < 400_000  # of pairs there are 40,000, each with dozens


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 10**6), st.integers(2, 10**6))
def test_other_numbers_are_other_questions(one: int, other: int) -> None:
    refused = refusal(read(f"How long do {one} eggs keep?"), read(f"How long do {other} eggs keep?"))
    assert refused == (None if one == other else "numbers")
