"""Makes `sentinella_plugins/cache/data/words.json` (irregular forms, antonyms, synonyms) from WordNet 3.0:

apt-get download wordnet-base && dpkg -x wordnet-base_*.deb /tmp/wordnet
.venv/bin/python scripts/build_lexicon.py /tmp/wordnet/usr/share/wordnet
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

TARGET = Path("sentinella_plugins/cache/data/words.json")
PARTS = ("adj", "adv", "verb", "noun")
SENSES = 3
"""Of a word's senses, the most frequent: rarer ones make unlike words alike."""

BY_HAND = """
hot/cold warm/cool before/after buy/sell enable/disable import/export increase/decrease increase/reduce
rise/fall best/worst better/worse most/least more/less more/fewer maximum/minimum max/min first/last
highest/lowest upper/lower largest/smallest biggest/smallest longest/shortest tallest/shortest
fastest/slowest cheapest/expensive oldest/newest oldest/youngest old/new old/young pros/cons
advantage/disadvantage benefit/drawback benefit/risk advantage/drawback encode/decode encrypt/decrypt
compress/decompress install/uninstall install/remove add/remove add/delete create/delete open/close
start/stop begin/end start/end start/finish on/off in/out up/down upload/download send/receive
give/take lend/borrow push/pull encourage/discourage true/false right/wrong right/left correct/incorrect
safe/dangerous safe/unsafe healthy/unhealthy legal/illegal possible/impossible positive/negative male/female
man/woman men/women boy/girl he/she his/her him/her father/mother husband/wife boyfriend/girlfriend
brother/sister son/daughter king/queen gain/lose win/lose love/hate like/dislike like/hate accept/reject
accept/refuse allow/forbid allow/prevent allow/deny ascending/descending asc/desc horizontal/vertical
row/column client/server frontend/backend public/private internal/external input/output read/write
lock/unlock login/logout north/south east/west top/bottom front/back inside/outside above/below over/under
early/late long/short tall/short big/small large/small high/low strong/weak rich/poor fat/thin fat/skinny
thick/thin heavy/light hard/soft hard/easy difficult/easy wet/dry full/empty day/night alive/dead live/die
success/failure succeed/fail pass/fail profit/loss asset/liability supply/demand credit/debit freeze/melt
freeze/thaw raise/lower expand/contract expand/shrink grow/shrink mount/unmount follow/unfollow
block/unblock subscribe/unsubscribe connect/disconnect attach/detach include/exclude multiply/divide
add/subtract plus/minus even/odd major/minor majority/minority teacher/student employer/employee
buyer/seller doctor/patient parent/child cause/effect cause/cure prevent/cause friend/enemy hero/villain
arrive/depart arrival/departure enter/leave enter/exit come/go remember/forget strengths/weaknesses
strength/weakness synonym/antonym liberal/conservative left/right domestic/foreign indoor/outdoor
online/offline wholesale/retail permanent/temporary single/married introvert/extrovert optimist/pessimist
gain/reduce lose/gain save/spend much/little many/few always/never everything/nothing everyone/nobody
all/none different/same wide/narrow deep/shallow clean/dirty loud/quiet smart/stupid smart/dumb
intelligent/stupid clever/stupid happy/sad happy/unhappy pretty/ugly beautiful/ugly girl/guy girls/guys
lady/gentleman innocent/guilty wise/foolish brave/cowardly kind/cruel mean/nice nice/nasty funny/serious
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("wordnet", type=Path)
    folder = parser.parse_args().wordnet
    common = frequent(folder)
    TARGET.write_text(json.dumps({"irregular": irregular(folder), "antonyms": [], "synonyms": {}}))
    from sentinella_plugins.cache.lexicon import stem  # it reads the irregular forms

    usual = seen(folder)
    pairs = {pair for pair in antonyms(folder) if not usual.isdisjoint(pair)}
    pairs |= {tuple(pair.split("/")) for pair in BY_HAND.split()}
    stems = {tuple(sorted((stem(one), stem(other)))) for one, other in pairs}
    content = {
        "irregular": irregular(folder),
        "antonyms": sorted(pair for pair in stems if pair[0] != pair[1]),
        "synonyms": {word: sorted(found) for word, found in sorted(synonyms(folder, common, stem).items())},
    }
    TARGET.write_text(json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n")


def seen(folder: Path) -> set[str]:
    """Words that occur in the texts WordNet's makers annotated."""
    return {line.split("%")[0] for line in (folder / "cntlist.rev").read_text().splitlines()}


def frequent(folder: Path) -> dict[tuple[str, str], list[str]]:
    """(word, part of speech) → its first senses' offsets."""
    found = {}
    usual = seen(folder)
    for part in PARTS:
        for line in (folder / f"index.{part}").read_text().splitlines():
            if line.startswith(" "):
                continue
            fields = line.split()
            if fields[0] not in usual:
                continue
            found[fields[0], part] = fields[-int(fields[2]) :][:SENSES]
    return found


def irregular(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in ("verb", "noun"):
        for line in (folder / f"{part}.exc").read_text().splitlines():
            form, base, *_ = line.split()
            if form.isalpha() and base.isalpha() and len(base) > 1 and form != base:
                found.setdefault(form, base)
    found.pop("us", None)
    found.pop("better", None)
    found.pop("best", None)
    return dict(sorted(found.items()))


def rows(folder: Path, part: str) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Offset, words, pointers of every synset."""
    for line in (folder / f"data.{part}").read_text().splitlines():
        if line.startswith(" "):
            continue
        fields = line.split("|")[0].split()
        count = int(fields[3], 16)
        words = [re.sub(r"\(.*\)", "", fields[4 + 2 * place]).lower() for place in range(count)]
        at = 5 + 2 * count
        pointers = [fields[at + 4 * place : at + 4 * place + 4] for place in range(int(fields[at - 1]))]
        yield fields[0], words, pointers


def antonyms(folder: Path) -> Iterator[tuple[str, str]]:
    """The direct ones, and between an adjective and those similar to its opposite."""
    for part in PARTS:
        synsets = {offset: (words, pointers) for offset, words, pointers in rows(folder, part)}
        for words, pointers in synsets.values():
            for sign, offset, other_part, places in pointers:
                if sign == "!" and offset in synsets:
                    one, other = words[int(places[:2], 16) - 1], synsets[offset][0][int(places[2:], 16) - 1]
                    if one.isalpha() and other.isalpha():
                        yield one, other
                    if other_part == "a":
                        yield from _indirect(one, offset, synsets)


def _indirect(
    one: str, offset: str, synsets: dict[str, tuple[list[str], list[list[str]]]]
) -> Iterator[tuple[str, str]]:
    for sign, similar, *_ in synsets[offset][1]:
        if sign == "&":
            yield from ((one, word) for word in synsets[similar][0][:2] if word.isalpha())


def synonyms(
    folder: Path, common: dict[tuple[str, str], list[str]], stem: Callable[[str], str]
) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for number, (kind, (offset, words)) in enumerate(
        (part, row[:2]) for part in PARTS for row in rows(folder, part)
    ):
        near = [word for word in words if word.isalpha() and offset in common.get((word, kind), ())]
        if len({stem(word) for word in near}) > 1:
            for word, group in product(near, [number]):
                found.setdefault(stem(word), set()).add(group)
    return found


if __name__ == "__main__":
    main()
