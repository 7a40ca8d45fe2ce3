// Answers of the model as it is and of the steered one, side by side as they are written. What was said and how it is steered
// make the answers, so the address needs no more; what was answered before is kept while nothing else is changed.
import { said } from "./live.js";

const form = document.getElementById("steer");
const turns = document.getElementById("turns");
const status = document.querySelector('[data-swap="status"]');
const SIDES = ["plain", "steered"];
const SEVERAL = new Set(["say", "feature", "strength", "unit", "mode"]);
const NUMBERS = new Set(["temperature", "top_p", "n_tokens", "seed"]);
let answers = { plain: [], steered: [] };
let known = null;
let under_way = null;

/** What the form asks for, as JSON. */
function asked() {
  const of = {};
  for (const [name, value] of said(form)) {
    if (SEVERAL.has(name)) (of[name] ??= []).push(value);
    else if (NUMBERS.has(name)) of[name] = Number(value);
    else of[name] = value;
  }
  of.say = (of.say ?? []).filter((say) => say.trim());
  return of;
}

const told = (of) => {
  const edited = of.edited
    ? `; ${of.edited.n_features} feature${of.edited.n_features === 1 ? "" : "s"} edited at ${of.edited.n_prompt} tokens of the ` +
      `prompt and ${of.edited.n_generated} of the answer`
    : "";
  const cut = of.finish_reason === "length" ? ", cut at the most" : "";
  return `${of.n_tokens} tokens${cut}${edited}${of.notes.map((note) => `; ${note}`).join("")}`;
};

/** Server-sent events, each as JSON. */
async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) if (part !== "data: [DONE]") yield JSON.parse(part.slice("data: ".length));
  }
}

/** Have one message answered by both sides. */
async function answer(of, place, signal) {
  const section = document.getElementById("turn").content.firstElementChild.cloneNode(true);
  const is_steered = (of.feature ?? []).some((feature) => feature.trim());
  section.querySelector(".said").textContent = of.say[place];
  if (!is_steered) section.querySelector(".steered").remove();
  turns.append(section);
  const body = { ...of, say: of.say.slice(0, place + 1), plain: answers.plain, steered: answers.steered };
  const reply = await fetch("/api/steering", {
    method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, signal,
  });
  if (!reply.ok) throw new Error((await reply.json()).error.message);
  const given = {};
  for await (const event of events(reply)) {
    if (event.error) throw new Error(event.error.message);
    const side = section.querySelector(`.${event.side}`);
    if (event.text !== undefined) side.querySelector(".text").textContent += event.text;
    if (event.answer) {
      given[event.side] = event.answer.text;
      side.querySelector(".counts").textContent = told(event.answer);
    }
  }
  for (const side of SIDES) if (given[side] !== undefined) answers[side] = [...answers[side], given[side]];
  return reply.headers.get("Content-Location");
}

/** Have what was not answered yet answered, message after message. */
async function answer_all() {
  const of = asked();
  if (!of.say.length) { status.textContent = "Say something first."; return; }
  under_way?.abort();
  under_way = new AbortController();
  const { signal } = under_way;
  const { say, ...settings } = of;
  const n = answers.plain.length;
  if (known !== JSON.stringify([settings, say.slice(0, n)])) {
    answers = { plain: [], steered: [] };
    turns.replaceChildren();
  }
  status.textContent = "It is answering …";
  try {
    let link = null;
    for (let place = answers.plain.length; place < say.length; place++) link = await answer(of, place, signal);
    known = JSON.stringify([settings, say]);
    if (link) history.pushState({ live: true }, "", link);
    status.textContent = `Answered by seed ${of.seed}. The address has all of it.`;
    settle(say);
  } catch (error) {
    if (error.name !== "AbortError") {
      status.textContent = error.message;
      known = null;
    }
  }
}

/** What was answered is before what is said next. */
function settle(say) {
  const before = document.getElementById("before");
  before.replaceChildren(...say.map((of) => {
    const field = document.createElement("input");
    Object.assign(field, { type: "hidden", name: "say", value: of });
    return field;
  }));
  document.querySelector(".earlier")?.remove();
  const box = document.getElementById("say");
  box.value = "";
  box.placeholder = "Go on, or change something above and answer again";
}

form?.addEventListener("submit", (event) => {
  if (event.submitter && event.submitter.value !== "answer") return;
  event.preventDefault();
  answer_all();
});

document.getElementById("say")?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    answer_all();
  }
});
