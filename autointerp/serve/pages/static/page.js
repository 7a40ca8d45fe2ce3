// What every page has: the switch of the theme, and `/` for the search box. Pages read and work without it.
const root = document.documentElement;
root.classList.add("has-scripts");

const button = document.querySelector("button.theme");
if (button) {
  button.hidden = false;
  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const tell = () => button.setAttribute("aria-pressed", String(isDark()));
  tell();
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* it holds for this page then */ }
    tell();
  });
}

/** Whether a key that was pressed belongs to a field, or to the browser. */
export const isTyped = (event) =>
  event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey ||
  event.target.closest("input, textarea, select, [contenteditable]") !== null;

document.addEventListener("keydown", (event) => {
  const box = document.querySelector("form.find input[type=search]");
  if (event.key === "/" && box && !isTyped(event)) {
    event.preventDefault();
    box.focus();
    box.select();
  }
});
