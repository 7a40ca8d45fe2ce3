"""What AutoSteer accepts and declines, and what choosing features by their output score is worth.

    python -m benchmarks.autosteer plant FOLDER          # a finished run of the planted model, whose features are known
    python -m benchmarks.autosteer words RUN             # is each planted feature chosen for its own word?
    python -m benchmarks.autosteer nonsense RUN          # how many of 20 nonsense specifications are declined?
    python -m benchmarks.autosteer honest RUN            # a dozen that make sense, with their receipts
    python -m benchmarks.autosteer output RUN            # by what they do against as labelled, at the same dose
    python -m benchmarks.autosteer scores RUN            # output scores of all features, by which the least is chosen
    python -m benchmarks.autosteer pushes RUN            # features by what they do to words, and by the logit lens
    python -m benchmarks.autosteer limits MODEL          # plain answers and prompted ones, by which limits are chosen

`--prompts`, `--tokens` and `--candidates` are AutoSteer's; `--only` takes specifications of one's own, `--out` every
receipt, or row, as a line of JSON. The result stands in `autosteer.md`.
"""

import argparse
import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import autointerp
from autointerp import Client, load_pipeline, run_pipeline
from autointerp.config import EmbedderConfig, SubjectConfig
from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.special import SpecialTokens
from autointerp.embedder import Embedder
from autointerp.library.steer.answers import Arm, Asker, Sampling
from autointerp.library.steer.auto import Steering, auto_steer
from autointerp.library.steer.bench import Bench
from autointerp.library.steer.candidates import by_output
from autointerp.library.steer.controls import source_edits
from autointerp.library.steer.finding import find
from autointerp.library.steer.material import shipped_instructions
from autointerp.library.steer.measures import Concept
from autointerp.library.steer.output_score import output_scores
from autointerp.library.steer.prompts import Prompts, with_request
from autointerp.library.steer.receipt import Receipt
from autointerp.library.steer.settings import Settings
from autointerp.live.generation.generator import Generator
from autointerp.live.next_token import find_head
from autointerp.live.subject import LiveSubject
from autointerp.records.live import SourceEdits
from autointerp.subject.model import load_subject
from autointerp.subject.source import Sources
from autointerp.text_table import number, percent, table
from autointerp.words import says_something
from tests.run.planted import FEATURES, LABELLED, plant

NONSENSE = (
    # made-up words
    "flumbric zantle",
    "talk about zindle",
    "quorvex",
    "plimble and snarfle",
    "be more drastuvian",
    "glorb nexxilor",
    "write like a bramfit",
    "mention skoodles",
    "vornak trelusk yibbering",
    "mopzil crendle",
    # salads of words
    "seven umbrella because quickly Tuesday marble",
    "colorless green ideas sleep furiously",
    "the yesterday of a purple arithmetic spoon",
    "carpet volcano sonnet invoice penguin",
    "fourteen whispering triangles inherit soup",
    # what can't be
    "answer before the question is asked",
    "say everything and nothing at the same time",
    "write with no letters at all",
    "speak so that the paper weighs five kilograms",
    "be silent in a loud blue smell",
)
HONEST = (
    "talk about music",
    "talk about food and cooking",
    "talk about animals",
    "talk about the sea",
    "talk about money",
    "talk about children and family",
    "talk about science",
    "talk about history",
    "talk about the weather",
    "write about love",
    "talk about computers and programming",
    "talk about health and medicine",
)
MORE = (
    "war",
    "religion",
    "sports",
    "school",
    "law",
    "art",
    "travel",
    "night",
    "colors",
    "water",
    "friends",
    "books",
    "games",
    "numbers",
    "questions",
    "government",
    "plants",
    "work",
)
N_RESAMPLED = 2000


def planted_run(folder: Path) -> None:
    """A finished run of the planted model, each feature labelled by its words."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["feature,label", *(f"{index},{' '.join(FEATURES[index])}" for index in LABELLED)]
    (folder / "planted.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    more = ["[contexts]", "n_pool_tiles = 128", "[explain]", 'explainer = "outside"', 'labels = "planted.csv"']
    (folder / "demo.toml").write_text(plant(folder).toml("demo", Path("runs"), *more), encoding="utf-8")
    with contextlib.chdir(folder):
        run_pipeline(load_pipeline("demo.toml"))


def steered(client: Client, specifications: Sequence[str], settings: Settings, out: Path | None) -> Iterator[Receipt]:
    """The receipt of each specification, as it is done."""
    source_id = client.sources()[0].source_id
    for specification in specifications:
        steering: Steering = auto_steer(client.features, client.run, source_id, specification, settings=settings)
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                file.write(steering.receipt.to_json() + "\n")
        print(f"{specification}: {'steers' if steering.steers else '; '.join(steering.receipt.reasons)}", flush=True)
        yield steering.receipt


def row_of(receipt: Receipt) -> list[str]:
    """A receipt as a row."""
    kept = ", ".join(f"{of.feature.rpartition(':')[2]} x {of.strength:.2g}" for of in receipt.kept)
    if not receipt.arms or receipt.verdict is None:
        return [receipt.specification, "declined", kept, *["-"] * 7, f"{receipt.cost.seconds:.0f}"]
    arms = {of.name: of for of in receipt.arms}
    names = ("plain", "steered", "noise of the same norm", "difference of means", "prompting alone")
    kept_questions = "-" if receipt.questions is None else f"{100 * receipt.questions.change.value:+.1f}"
    return [
        receipt.specification,
        "steers" if receipt.steers else "declined",
        kept,
        *(number(arms[name].concept) if name in arms else "-" for name in names),
        f"{receipt.verdict.loss.value:+.2f}",
        kept_questions,
        f"{receipt.cost.seconds:.0f}",
    ]


def show(receipts: Sequence[Receipt]) -> None:
    """All receipts as a table."""
    header = [
        "specification",
        "",
        "features x dose",
        "plain",
        "steered",
        "noise",
        "means",
        "prompt",
        "loss",
        "questions",
    ]
    print("\n".join(table([*header, "s"], [row_of(of) for of in receipts], left=(0, 1, 2))))
    n = sum(of.steers for of in receipts)
    print(f"{n} of {len(receipts)} steer, {len(receipts) - n} are declined")


def words(client: Client, settings: Settings, out: Path | None) -> None:
    """Whether each planted feature is chosen for its own word."""
    named = [(FEATURES[index][0], index) for index in LABELLED]
    asked = {f"talk about the {word}": index for word, index in named if says_something(word)}
    receipts = list(steered(client, list(asked), settings, out))
    show(receipts)
    right = [
        of.steers and [kept.feature.rpartition(":")[2] for kept in of.kept] == [str(asked[of.specification])]
        for of in receipts
    ]
    print(f"{sum(right)} of {len(right)} by the feature of that word, and by it alone")


def output(client: Client, settings: Settings, specifications: Sequence[str], out: Path | None) -> None:
    """The concept score of features by what they do, and as labelled, at a dose of 1, over plain answers."""
    source_id = client.sources()[0].source_id
    rows, gains = list[list[str]](), list[list[float]]()
    for specification in specifications:
        bench = Bench(client.features, client.run, source_id, specification, None, settings)
        labelled = client.features.search(specification, 1, source=source_id, min_relevance=0)
        found = find(bench)
        if not labelled or not found.able:
            print(f"{specification}: {len(labelled)} labelled, {len(found.able)} able", flush=True)
            continue
        chosen = [labelled[0].index, found.able[0]]
        units = [dose.unit for dose in client.run.doses(chosen, source_id, roughly=True)]
        if None in units:
            continue
        arms = [bench.arm("plain", bench.report)]
        for index, unit in zip(chosen, units, strict=True):
            assert unit is not None
            arms.append(bench.arm("steered", bench.report, source_edits(source_id, {index: unit})))
        plain, *answers = bench.asker.ask(bench.report, arms)
        gains.append([float((of.concept - plain.concept).mean()) for of in answers])
        row = {
            "specification": specification,
            "label": labelled[0].label,
            "features": chosen,
            "plain": float(plain.concept.mean()),
            "gains": gains[-1],
            "losses": [float(np.nanmean(of.loss) - np.nanmean(plain.loss)) for of in answers],
        }
        told = [f"{cell}" for pair in zip(chosen, gains[-1], strict=True) for cell in (pair[0], f"{pair[1]:+.3f}")]
        rows.append([specification, f"{plain.concept.mean():.3f}", *told])
        print(json.dumps(row), flush=True)
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    print("\n".join(table(["specification", "plain", "as labelled", "gain", "by what it does", "gain"], rows)))
    values = np.array(gains)
    drawn = np.random.default_rng(0).integers(0, len(values), (N_RESAMPLED, len(values)))
    means = values[drawn].mean(axis=1)
    low, high = np.quantile(means[:, 1] - means[:, 0], [0.025, 0.975])
    labelled_gain, output_gain = values.mean(axis=0)
    print(
        f"{len(values)} specifications: as labelled {labelled_gain:+.3f}, by what they do {output_gain:+.3f};"
        f" the difference {output_gain - labelled_gain:+.3f} [{low:+.3f} {high:+.3f}];"
        f" {percent(float((values[:, 1] > values[:, 0]).mean()))} better"
    )


def scores(client: Client, settings: Settings) -> None:
    """The output scores of all features that fire, each turned up to about a dose of 1."""
    record = client.sources()[0]
    bench = Bench(client.features, client.run, record.source_id, HONEST[0], None, settings)
    firing = [of.feature_index for of in client.run.reader.features(source_id=record.source_id) if of.n_active]
    values = {index: value for index in firing if (value := bench.pushing.typical(index))}
    found = output_scores(bench.lens, bench.head, values)
    both = np.array([(of.score, of.gain) for of in found.values()])
    print(f"{len(both)} features; above   by score   by what it gains")
    for least in (0.001, 0.003, 0.01, 0.03, 0.1):
        of_score, of_gain = (both >= least).mean(axis=0)
        print(f"{least:6g}   {of_score:.1%}   {of_gain:.1%}")


def pushes(client: Client, settings: Settings, specifications: Sequence[str]) -> None:
    """Features that make the words of specifications likelier, and those that the logit lens finds for them."""
    source_id = client.sources()[0].source_id
    rows = []
    for specification in specifications:
        bench = Bench(client.features, client.run, source_id, specification, None, settings)
        strongest = list(bench.pushing.strongest(3, 0.0))[:3]
        of_lens = list(by_output(bench.lens, bench.concept.facets, 3))[:3]
        gains = bench.pushing.gains({index: bench.pushing.typical(index) for index in {*strongest, *of_lens}})
        told = [", ".join(f"{i} ({np.exp(gains[i].max()):.1f})" for i in of) or "-" for of in (strongest, of_lens)]
        rows.append([specification, *told])
        print("\t".join(rows[-1]), flush=True)
    print("\n".join(table(["specification", "by what they do (times as likely)", "by the lens"], rows, left=(0, 1, 2))))


def limits(model: str, n_prompts: int, n_tokens: int) -> None:
    """What plain answers and prompted ones of a model are like: its loss, repetition and concept scores."""
    subject = load_subject(SubjectConfig(model=model, name="m", device="cpu"))
    pieces = TokenPieces(subject.tokenizer)
    special = SpecialTokens((), (), frozenset(), 0, "none are wanted")
    live = LiveSubject(Sources(subject, ()), special, pieces, 256, n_tokens_at_once=1024)
    generator, head, prompts = Generator(live), find_head(subject), Prompts(live)
    embedder, instructions = Embedder(EmbedderConfig()), shipped_instructions()[:n_prompts]
    plain = [prompts.instruction(text) for text in instructions]
    rows = []
    for specification in (HONEST[0], HONEST[3], NONSENSE[0], NONSENSE[10]):
        concept = Concept(specification, embedder, None, embedder.has_word)
        asker = Asker(generator, head, prompts, concept, embedder, Sampling(max_tokens=n_tokens))
        asked = [prompts.instruction(with_request(text, specification)) for text in instructions]
        no_edits: tuple[tuple[SourceEdits, ...], ...] = ((),) * len(instructions)
        arms = [Arm("plain", tuple(plain), no_edits), Arm("prompting alone", tuple(asked), no_edits)]
        for arm, answers in zip(arms, asker.ask(instructions, arms), strict=True):
            figures = [answers.concept.mean(), np.nanmean(answers.loss), np.nanstd(answers.loss)]
            figures += [answers.repetition.mean(), answers.mentions.mean()]
            rows.append([specification, arm.name, *(f"{value:.3f}" for value in figures)])
            print("\t".join(rows[-1]), flush=True)
    header = ["specification", "answers", "concept", "loss", "its deviation", "repetition", "facets mentioned"]
    print("\n".join(table(header, rows, left=(0, 1))))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", choices=["plant", "words", "nonsense", "honest", "output", "scores", "pushes", "limits"]
    )
    parser.add_argument("run", help="a run folder; of `plant` where it is made, of `limits` a model")
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--candidates", type=int, default=12)
    parser.add_argument("--only", nargs="+", help="specifications")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.what == "plant":
        planted_run(Path(given.run))
        return
    if given.what == "limits":
        limits(given.run, given.prompts, given.tokens)
        return
    client = autointerp.open(given.run)
    settings = Settings(n_prompts=given.prompts, n_candidates=given.candidates)
    settings = replace(settings, sampling=replace(settings.sampling, max_tokens=given.tokens))
    if given.what == "output":
        output(client, settings, given.only or [*HONEST, *(f"talk about {topic}" for topic in MORE)], given.out)
    elif given.what == "scores":
        scores(client, settings)
    elif given.what == "pushes":
        pushes(client, settings, given.only or [*HONEST, *(f"talk about {topic}" for topic in MORE)])
    elif given.what == "words":
        words(client, settings, given.out)
    else:
        specifications = given.only or (NONSENSE if given.what == "nonsense" else HONEST)
        show(list(steered(client, specifications, settings, given.out)))


if __name__ == "__main__":
    main()
