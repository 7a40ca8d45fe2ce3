"""A run of which labels, tokens and names are as ugly as text can be."""

import shutil
from pathlib import Path

import duckdb

SCRIPT = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
LONG = "a label that goes on " * 15 + "and " + "neverendingword" * 20
LABELS = {
    0: SCRIPT,
    1: LONG,
    2: "كلمات عن السفن والأنهار (\u202eevil\u202c) و 🧑‍🚀👩🏽‍💻",
    6: "if (a < b && c > d) { return `x`; } // {{ 7 * 7 }} {% raw %} =1+1",
    7: "river",
    8: "river",
}
UGLY_TOKENS = (SCRIPT, "\n\n", "\t", "\x1b[2J", "العربية", " 🧑‍🚀", "\u202e", "&lt;", "'\"", "")


def uglify(run: Path, folder: Path) -> Path:
    """A copy of the planted run with ugly labels, ugly tokens in every context, and features without this or that.

    Feature 9 has no contexts, feature 10 no label, the rare one a failure that tells a script, feature 3 is dead.
    """
    ugly = folder / "ugly"
    shutil.copytree(run, ugly)
    with duckdb.connect(str(ugly / "store.duckdb")) as store:
        for feature, label in LABELS.items():
            store.execute(
                "UPDATE explanations SET label = ? WHERE feature_index = ? AND label_from IS NULL", [label, feature]
            )
        ((n_tokens,),) = store.execute("SELECT max(len(tokens)) FROM contexts").fetchall()
        ugly_ones = [UGLY_TOKENS[place % len(UGLY_TOKENS)] for place in range(n_tokens)]
        store.execute(
            "UPDATE contexts SET tokens = list_slice(?, 1, len(tokens)), document_id = ?", [ugly_ones, SCRIPT]
        )
        store.execute("DELETE FROM contexts WHERE feature_index = 9")
        store.execute("DELETE FROM explanations WHERE feature_index = 10")
        store.execute("UPDATE failures SET message = ?, error_type = ?", [SCRIPT, "Refusal"])
    shutil.rmtree(ugly / "collect", ignore_errors=True)
    return ugly
