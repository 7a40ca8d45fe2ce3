// Read before anything is drawn, so that a page never flashes in the other theme.
(() => {
  let theme = null;
  try { theme = localStorage.getItem("theme"); } catch { /* storage may be forbidden in a frame */ }
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
})();
