"""What `import autointerp` offers can be found by completion and by `help`, and is loaded when it is used."""

import subprocess
import sys

import autointerp


def test_every_public_name_is_found_and_leads_somewhere() -> None:
    assert {*autointerp.__all__, "__version__"} <= set(dir(autointerp))
    for name in autointerp.__all__:
        assert getattr(autointerp, name).__doc__


def test_names_are_known_before_anything_is_loaded() -> None:
    code = "import sys, autointerp; assert 'open_run' in dir(autointerp); assert 'duckdb' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_tells_of_the_functions() -> None:
    code = "import autointerp; help(autointerp)"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "open_run(folder" in text
    assert "run_pipeline(pipeline" in text
