"""Features as one file of HTML, opened from disk."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

import autointerp
from autointerp.cli import main
from autointerp.errors import FileError, SearchError, UnknownFeatureError
from autointerp.serve.pages.feature_file import write_features
from autointerp.serve.serving import Serving
from tests.serve.browser import Visitor


def test_it_works_from_disk_in_a_browser_that_loads_nothing_else(
    browser: Browser, serving: Serving, tmp_path: Path
) -> None:
    file = tmp_path / "features.html"
    assert write_features(serving.client.run, [1, "planted@0-res-12:2", 3, 1], file) == 3
    context = browser.new_context(viewport={"width": 375, "height": 900}, offline=True)
    visitor = Visitor(file.as_uri(), context.new_page())
    complaints: list[str] = []
    visitor.page.on("console", lambda said: complaints.append(said.text))
    asked: list[str] = []
    visitor.page.on("request", lambda of: asked.append(of.url))
    visitor.page.goto(file.as_uri())
    assert visitor.page.locator("h1").all_inner_texts() == ["3 features", "river", "red green blue", "No label"]
    assert visitor.page.locator("article .contexts .a9").first.evaluate(
        "of => getComputedStyle(of).backgroundColor"
    ) != ("rgba(0, 0, 0, 0)")
    assert visitor.overflow() <= 0
    visitor.page.get_by_role("link", name="planted@0-res-12:2 red green blue").click()
    assert visitor.page.url.endswith("#feature-2")
    visitor.keep("features-file")
    assert visitor.page.locator("script, form, img, link").count() == 0
    outside = visitor.page.locator("a[href]").evaluate_all("of => of.filter(a => !a.hash).length")
    assert outside == 0
    context.close()
    assert (complaints, set(asked)) == ([], {file.as_uri()})


def test_no_text_becomes_markup_in_a_file_either(ugly_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "ugly.html"
    write_features(autointerp.open_run(ugly_run), list(range(12)), file)
    text = file.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;document.title" in text


def test_the_command_says_what_it_wrote_and_what_is_wrong(
    planted_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = planted_runs / "runs/demo", tmp_path / "x.html"
    with pytest.raises(SystemExit) as ended:
        main(["page", str(run), "1", "-o", str(file)])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"Wrote {file}: 1 feature\n")
    assert "<title>river " in file.read_text(encoding="utf-8")
    opened = autointerp.open_run(run)
    with pytest.raises(UnknownFeatureError):
        write_features(opened, [99], file)
    with pytest.raises(SearchError):
        write_features(opened, [], file)
    with pytest.raises(FileError):
        write_features(opened, [1], tmp_path / "x.txt")
