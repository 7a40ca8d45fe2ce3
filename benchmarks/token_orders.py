"""Which token stands first for a feature: the one it fires on most often, or the one most above chance; and what it is.

    python -m benchmarks.token_orders RUN

RUN is a run whose collect stage counted how often tokens occur; it is only read. Of the features that fire, each with
the same weight:

1. In how many another token stands first by `pmi` than by count.
2. The first token of either order: on what share of its occurrences the feature fires, and how often it occurs in a
   thousand tokens of the corpus. Of a list that tells the feature the first is high, and the second low.
3. In how many a token that the feature fires on once stands first, by `pmi` as it is and without the half events.
4. Bytes that the counts of occurrences take, at 8 a listed token.
"""

import argparse

import numpy as np

from autointerp import open_run
from autointerp.records import InputToken, input_tokens
from autointerp.records.tokens import in_order
from autointerp.score.metrics import proportion


def of_first(firsts: list[InputToken], n_tokens: int) -> str:
    """Quartiles of the first tokens' precision, and of their occurrences in a thousand tokens."""
    precision = np.percentile([of.precision or 0.0 for of in firsts], [25, 50, 75])
    common = np.percentile([1000 * (of.n_occurrences or 0) / n_tokens for of in firsts], [25, 50, 75])
    told = "precision {:.3f} [{:.3f} {:.3f}]".format(*precision[[1, 0, 2]])
    return told + ", occurs {:.2f} [{:.2f} {:.2f}] in 1,000 tokens".format(*common[[1, 0, 2]])


def share(n: int, of: int) -> str:
    """A share with Wilson's interval."""
    found = proportion(n, of)
    assert found is not None, "there are features"
    return f"{n} of {of}, {found.value:.3f} [{found.low:.3f} {found.high:.3f}]"


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    reader = open_run(parser.parse_args().run).reader
    (source,) = reader.sources()
    features = [feature for feature in reader.features() if feature.top_tokens]
    by_count: list[InputToken] = []
    by_pmi: list[InputToken] = []
    n_once = n_once_unshrunk = n_listed = 0
    for feature in features:
        tokens = input_tokens(feature)
        n_listed += len(tokens)
        by_count.append(in_order(tokens, "count")[0])
        by_pmi.append(in_order(tokens, "pmi")[0])
        unshrunk = max(tokens, key=lambda of: of.precision or 0.0)  # of one feature the plain pmi has precision's order
        if feature.n_active > 1:
            n_once += by_pmi[-1].n_active == 1
            n_once_unshrunk += unshrunk.n_active == 1
    n = len(features)
    differ = sum(one.token != other.token for one, other in zip(by_count, by_pmi, strict=True))
    print(f"another token first: {share(differ, n)}")
    print(f"first by count: {of_first(by_count, source.n_tokens)}")
    print(f"first by pmi:   {of_first(by_pmi, source.n_tokens)}")
    many = sum(feature.n_active > 1 for feature in features)
    print(f"first is a token it fires on once: by pmi {share(n_once, many)}")
    print(f"                         unshrunk: {share(n_once_unshrunk, many)}")
    print(f"{n_listed:,} tokens listed of {source.n_features:,} features: {8 * n_listed:,} bytes of counts")


if __name__ == "__main__":
    main()
