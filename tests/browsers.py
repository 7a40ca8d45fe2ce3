"""Where a browser is."""

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WITHOUT = "no Chromium is on PATH (Debian's package `chromium`), so no browser looks at pages"
