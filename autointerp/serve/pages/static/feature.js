// A feature's page: keys that lead to other features, and trials that open in place.
import { isTyped } from "./page.js";

const keys = { ArrowLeft: "a[rel=prev]", ArrowRight: "a[rel=next]", r: "a.random" };

document.addEventListener("keydown", (event) => {
  if (isTyped(event) || event.shiftKey || event.target.closest("[tabindex='0'], summary, svg")) return;
  const link = keys[event.key] && document.querySelector(`.steps ${keys[event.key]}`);
  if (link) link.click();
  const field = event.key === "t" ? document.querySelector(".try textarea") : null;
  if (field) {
    event.preventDefault();
    field.focus();
  }
});

// Ctrl-Enter in the text sends it.
document.querySelector(".try textarea")?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form.requestSubmit();
});

// The trials of a score open below it; without scripts the link leads to their page.
for (const link of document.querySelectorAll("a.trials-link")) {
  link.setAttribute("aria-expanded", "false");
  link.addEventListener("click", async (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    const row = link.closest("tr");
    const open = row.parentElement.querySelector("tr.opened");
    const isOwn = open?.previousElementSibling === row;
    for (const other of row.parentElement.querySelectorAll("a.trials-link")) other.setAttribute("aria-expanded", "false");
    open?.remove();
    if (isOwn) return;
    link.setAttribute("aria-expanded", "true");
    const opened = document.createElement("tr");
    opened.className = "opened";
    const cell = opened.appendChild(document.createElement("td"));
    cell.colSpan = row.cells.length;
    row.after(opened);
    const show = async (url) => {
      cell.setAttribute("aria-busy", "true");
      const reply = await fetch(url, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await reply.text(), "text/html");
      const part = page.querySelector(".trials-page, main");
      part.querySelectorAll("h1, .eyebrow, section > .by").forEach((of) => of.remove());
      cell.replaceChildren(...part.childNodes);
      cell.removeAttribute("aria-busy");
      for (const choice of cell.querySelectorAll(".choices a")) {
        const asked = new URL(choice.href);
        if (!asked.searchParams.has("explanation") || !asked.searchParams.has("scorer") ||
            asked.searchParams.get("scorer") !== new URL(link.href).searchParams.get("scorer")) choice.remove();
        else choice.addEventListener("click", (again) => { again.preventDefault(); show(choice.href); });
      }
    };
    await show(link.href);
  });
}
