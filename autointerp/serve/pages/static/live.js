// Pages whose parts are asked for anew: a form that answers as one types, and a page that watches something go on.
// The server renders; the parts with `data-swap="NAME"` in its reply take the place of those in the page. Without scripts
// the same forms are sent and the same pages come whole.

const TYPED_MS = 180;
const RETRIES = 3;
let asked = 0;
let under_way = null;

/** Put the parts of a reply in the place of the page's. */
function swap(reply) {
  const focused = document.activeElement?.id;
  for (const part of document.querySelectorAll("[data-swap]")) {
    const other = reply.querySelector(`[data-swap="${part.dataset.swap}"]`);
    if (!other) continue;
    // A screen reader tells what changes within a region that stays.
    if (part.getAttribute("role") === "status") part.textContent = other.textContent;
    else part.replaceWith(document.adoptNode(other));
  }
  if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus({ preventScroll: true });
  document.dispatchEvent(new CustomEvent("swapped"));
}

const tell = (line) => {
  const status = document.querySelector('[data-swap][role="status"]');
  if (status) status.textContent = line;
};

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** Ask for a page, and for nothing that was asked before any more; null where something was asked since. */
async function ask(url, options) {
  const own = ++asked;
  under_way?.abort();
  under_way = new AbortController();
  document.documentElement.toggleAttribute("data-asking", true);
  try {
    for (let attempt = 0; ; attempt++) {
      const reply = await fetch(url, { ...options, headers: { Accept: "text/html" }, signal: under_way.signal });
      if ((reply.status === 429 || reply.status === 503) && attempt < RETRIES) {
        await wait(1000 * Number(reply.headers.get("Retry-After") ?? 1));
        if (own !== asked) return null;
        continue;
      }
      const text = await reply.text();
      return own === asked ? { reply, page: new DOMParser().parseFromString(text, "text/html") } : null;
    }
  } catch (error) {
    if (error.name !== "AbortError") tell("The server does not answer: is it still running?");
    return null;
  } finally {
    if (own === asked) document.documentElement.removeAttribute("data-asking");
  }
}

/** What a form says; in an address without fields that are empty, elsewhere with them: they keep others in their places. */
export function said(form, submitter) {
  const fields = [...new FormData(form, submitter)].filter(([, value]) => typeof value === "string");
  return new URLSearchParams(form.method === "post" ? fields : fields.filter(([, value]) => value !== ""));
}

/** Send a form, and show what comes; the address follows. */
async function send(form, submitter, is_typed) {
  const fields = said(form, submitter);
  const action = new URL(form.getAttribute("action") ?? location.pathname, location.href);
  const is_post = form.method === "post";
  if (!is_post) action.search = fields.toString();
  const got = await ask(action, is_post ? { method: "POST", body: fields } : {});
  if (!got) return;
  if (!got.reply.ok) {
    tell(got.page.querySelector("main p:not(.eyebrow)")?.textContent ?? `The server says ${got.reply.status}.`);
    return;
  }
  swap(got.page);
  document.title = got.page.title;
  const at = new URL(got.reply.url);
  const way = is_typed ? "replaceState" : "pushState";
  if (at.href !== location.href) history[way]({ live: true }, "", at);
}

for (const form of document.querySelectorAll("form[data-live]")) {
  let timer = 0;
  const typed = (event) => {
    clearTimeout(timer);
    if (event.isComposing || form.dataset.live !== "type") return;
    timer = setTimeout(() => send(form, null, true), event.target.matches("select") ? 0 : TYPED_MS);
  };
  form.addEventListener("input", typed);
  form.addEventListener("compositionend", typed);
  form.addEventListener("submit", (event) => {
    if (event.submitter?.hasAttribute("data-plain")) return;
    event.preventDefault();
    clearTimeout(timer);
    send(form, event.submitter, false);
  });
}

// Back and forward: what the address says is loaded whole, fields too.
addEventListener("popstate", (event) => { if (event.state?.live || history.length > 1) location.reload(); });

/** Look again at what goes on, as long as the page says so. */
async function watch() {
  const part = document.querySelector("[data-poll]");
  if (!part) return;
  await wait(1000 * Number(part.dataset.poll));
  if (!document.hidden) {
    const got = await ask(location.href, {});
    if (got?.reply.ok) swap(got.page);
  }
  watch();
}
watch();
