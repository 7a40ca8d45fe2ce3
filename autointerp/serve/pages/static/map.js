// The map of labels: points on a canvas, to move, come closer, lasso and colour. The page reads without it: its clusters
// are drawn and listed by the server.
import { isTyped } from "./page.js";

const SIDE = 65535, STEPS = 1000, SHADES = 7, HUES = 8;
const BUCKETS = 96;          // of the grid by which the point under the pointer is found
const NEAR_PX = 9, DRAG_PX = 4, MOST_SCALE = 400, LISTED = 50, MOST_IN_TABLE = 5000, ASK_MS = 120;

const root = document.querySelector(".label-map");
const canvas = root.querySelector("canvas");
const frame = root.querySelector(".map-frame");
const part = (name) => root.querySelector(name);
const tip = part(".map-tip"), legend = part(".map-legend"), list = part(".map-list");
const status = part(".map-status"), tools = part(".map-tools");
const source = root.dataset.source;

let points = null, at = null;                  // columns of the server; place of each point in the grid
let view = { x: 0.5, y: 0.5, scale: 1 };       // what lies in the middle, and how close
let colours = [], shade = null, order = null;  // shade of each point, and points by shade
let chosen = null, marked = null, hovered = -1, path = null, is_lasso = false, is_by_key = false;
let extent = [1, 1];
let width = 0, height = 0, ratio = 1, asked_frame = 0;
const known = new Map();

const clusters = [...document.querySelectorAll(".map-clusters a")].map((link) => {
  const circle = link.querySelector("circle");
  return { name: link.getAttribute("aria-label"), x: circle.cx.baseVal.value / 1000, y: circle.cy.baseVal.value / 1000,
    n: circle.r.baseVal.value };
}).sort((a, b) => b.n - a.n);

// --- places -------------------------------------------------------------------------------------------------------

// How long the unit square's side is: at scale 1 all points fit, whatever their shape.
const unit = () => Math.min(width / extent[0], height / extent[1]) * 0.92 * view.scale;
const acrossOf = (x) => (x - view.x) * unit() + width / 2;
const downOf = (y) => (y - view.y) * unit() + height / 2;
const placeOf = (px, py) => [(px - width / 2) / unit() + view.x, (py - height / 2) / unit() + view.y];

function index() {
  const n = points.feature.length, starts = new Uint32Array(BUCKETS * BUCKETS + 1), of = new Uint32Array(n);
  const bucket = (i) => Math.min(BUCKETS - 1, Math.floor(points.x[i] / SIDE * BUCKETS)) +
    BUCKETS * Math.min(BUCKETS - 1, Math.floor(points.y[i] / SIDE * BUCKETS));
  const spread = (of) => { let low = SIDE, high = 0; for (const v of of) { low = Math.min(low, v); high = Math.max(high, v); } return (high - low) / SIDE || 1; };
  extent = [Math.max(spread(points.x), 0.05), Math.max(spread(points.y), 0.05)];
  for (let i = 0; i < n; i++) starts[bucket(i) + 1]++;
  for (let b = 0; b < BUCKETS * BUCKETS; b++) starts[b + 1] += starts[b];
  const next = starts.slice();
  for (let i = 0; i < n; i++) of[next[bucket(i)]++] = i;
  at = { starts, of };
}

/** The point closest to a place of the canvas, within some pixels; -1 where there is none. */
function nearest(px, py, within = NEAR_PX) {
  const [x, y] = placeOf(px, py), reach = within / unit();
  const cell = (v) => Math.max(0, Math.min(BUCKETS - 1, Math.floor(v * BUCKETS)));
  let best = -1, least = reach * reach;
  for (let row = cell(y - reach); row <= cell(y + reach); row++) {
    for (let column = cell(x - reach); column <= cell(x + reach); column++) {
      const b = row * BUCKETS + column;
      for (let k = at.starts[b]; k < at.starts[b + 1]; k++) {
        const i = at.of[k], dx = points.x[i] / SIDE - x, dy = points.y[i] / SIDE - y, d = dx * dx + dy * dy;
        if (d <= least) { least = d; best = i; }
      }
    }
  }
  return best;
}

// --- colours ------------------------------------------------------------------------------------------------------

function readColours() {
  const of = getComputedStyle(root), value = (name) => of.getPropertyValue(name).trim();
  colours = [];
  for (let k = 0; k <= SHADES; k++) colours.push(value(`--m${k}`));
  for (let k = 1; k <= HUES; k++) colours.push(value(`--k${k}`));
  colours.ink = value("--ink"); colours.card = value("--card"); colours.accent = value("--series-2");
}

/** Give each point a colour by a column: 0 none, 1 to 7 of a scale, then those of clusters. */
function colourBy(name) {
  const n = points.feature.length, column = points.columns.find((of) => of.name === name);
  shade = new Uint8Array(n);
  for (let i = 0; i < n; i++) {
    if (column) {
      const v = column.values[i];
      shade[i] = v < 0 ? 0 : 1 + Math.min(SHADES - 1, Math.floor(v / STEPS * SHADES));
    } else {
      const v = points.cluster[i];
      shade[i] = v < 0 ? 0 : 1 + SHADES + v % HUES;
    }
  }
  order = Array.from({ length: 1 + SHADES + HUES }, () => []);
  for (let i = 0; i < n; i++) order[shade[i]].push(i);
  legend.replaceChildren();
  legend.hidden = !column;
  if (column) {
    const told = (v) => name === "density" ? `${Number((100 * v).toPrecision(2))} %` : String(Number(v.toPrecision(3)));
    const text = (of) => Object.assign(document.createElement("span"), { textContent: of });
    legend.append(text(told(column.low)));
    for (let k = 1; k <= SHADES; k++) legend.append(Object.assign(document.createElement("i"), { className: `m${k}` }));
    legend.append(text(told(column.high)));
  }
  draw();
}

// --- drawing ------------------------------------------------------------------------------------------------------

function draw() {
  if (!asked_frame) asked_frame = requestAnimationFrame(() => { asked_frame = 0; paint(); });
}

function paint() {
  const ink = canvas.getContext("2d");
  ink.setTransform(ratio, 0, 0, ratio, 0, 0);
  ink.clearRect(0, 0, width, height);
  const n = points.feature.length, size = unit();
  const radius = Math.max(0.8, Math.min(6, 1.1 * Math.sqrt(view.scale) * Math.sqrt(60000 / (n + 4000))));
  const is_round = radius > 1.6 && n < 20000;
  const left = width / 2 - view.x * size, top = height / 2 - view.y * size, k = size / SIDE;
  const some = chosen ?? marked;
  for (const is_front of some ? [false, true] : [true]) {
    ink.globalAlpha = is_front ? 0.85 : 0.15;
    for (let colour = 0; colour < order.length; colour++) {
      ink.fillStyle = colours[colour];
      if (is_round) ink.beginPath();
      for (const i of order[colour]) {
        if (some && Boolean(some[i]) !== is_front) continue;
        const x = points.x[i] * k + left, y = points.y[i] * k + top;
        if (x < -radius || y < -radius || x > width + radius || y > height + radius) continue;
        if (is_round) { ink.moveTo(x + radius, y); ink.arc(x, y, radius, 0, 7); }
        else ink.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
      }
      if (is_round) ink.fill();
    }
  }
  ink.globalAlpha = 1;
  names(ink);
  if (hovered >= 0) {
    ink.beginPath();
    ink.arc(points.x[hovered] * k + left, points.y[hovered] * k + top, radius + 4, 0, 7);
    ink.lineWidth = 2; ink.strokeStyle = colours.ink; ink.stroke();
  }
  if (path) {
    ink.beginPath();
    path.forEach(([x, y], i) => (i ? ink.lineTo(x, y) : ink.moveTo(x, y)));
    ink.closePath();
    ink.lineWidth = 1.5; ink.strokeStyle = colours.accent; ink.stroke();
    ink.globalAlpha = 0.12; ink.fillStyle = colours.accent; ink.fill(); ink.globalAlpha = 1;
  }
  if (is_by_key) {
    ink.beginPath();
    ink.moveTo(width / 2 - 12, height / 2); ink.lineTo(width / 2 + 12, height / 2);
    ink.moveTo(width / 2, height / 2 - 12); ink.lineTo(width / 2, height / 2 + 12);
    ink.lineWidth = 1.5; ink.strokeStyle = colours.ink; ink.stroke();
  }
}

/** Names of clusters, the largest first, where none lies over another. */
function names(ink) {
  const taken = [];
  ink.font = `600 13px ${getComputedStyle(document.body).fontFamily}`;
  ink.textAlign = "center"; ink.textBaseline = "middle"; ink.lineJoin = "round";
  for (const of of clusters) {
    const x = acrossOf(of.x), y = downOf(of.y);
    if (x < 0 || y < 0 || x > width || y > height) continue;
    const half = ink.measureText(of.name).width / 2 + 4;
    if (half > width / 2) continue;
    const cx = Math.max(half, Math.min(width - half, x));
    if (taken.some((o) => Math.abs(o.y - y) < 17 && Math.abs(o.x - cx) < o.half + half)) continue;
    taken.push({ x: cx, y, half });
    ink.lineWidth = 4; ink.strokeStyle = colours.card; ink.strokeText(of.name, cx, y);
    ink.fillStyle = colours.ink; ink.fillText(of.name, cx, y);
  }
}

function fit() {
  const of = canvas.getBoundingClientRect();
  width = of.width; height = of.height; ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
  draw();
}

// --- labels -------------------------------------------------------------------------------------------------------

/** The labels of some points, which the server is asked for where it did not send them all. */
async function labelsOf(some) {
  if (points.labels) return some.map((i) => points.labels[i]);
  const unknown = some.map((i) => points.feature[i]).filter((feature) => !known.has(feature));
  if (unknown.length) {
    const reply = await fetch(`${source}.json?n=${unknown.length}&features=${unknown.join(",")}`);
    if (!reply.ok) return some.map(() => "");
    for (const row of (await reply.json()).rows) known.set(row.index, row.label ?? "");
  }
  return some.map((i) => known.get(points.feature[i]) ?? "");
}

let asked_tip = 0;
function hover(i, px, py) {
  if (i === hovered && i < 0) return;
  const is_new = i !== hovered;
  hovered = i;
  canvas.classList.toggle("is-on-point", i >= 0);
  if (is_new) draw();
  if (i < 0) { tip.hidden = true; return; }
  const place = () => {
    const x = Math.min(px + 14, width - tip.offsetWidth - 6), y = py + 18 + tip.offsetHeight > height ? py - tip.offsetHeight - 10 : py + 18;
    tip.style.transform = `translate(${Math.max(4, x)}px, ${Math.max(4, y)}px)`;
  };
  if (!is_new) { place(); return; }
  clearTimeout(asked_tip);
  asked_tip = setTimeout(async () => {
    const [label] = await labelsOf([i]);
    if (hovered !== i) return;
    tip.textContent = `${points.feature[i]}  ${label}`;
    tip.hidden = false;
    if (is_by_key) status.textContent = tip.textContent;
    place();
  }, points.labels ? 0 : ASK_MS);
}

const open = (i, is_apart) => {
  const path = `${source}/${points.feature[i]}`;
  if (is_apart) window.open(path, "_blank", "noopener"); else location.assign(path);
};

// --- choosing -----------------------------------------------------------------------------------------------------

function within(line) {
  const place = line.map(([px, py]) => placeOf(px, py).map((v) => v * SIDE));
  const xs = place.map((p) => p[0]), ys = place.map((p) => p[1]);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const found = new Uint8Array(points.feature.length);
  for (let i = 0; i < found.length; i++) {
    const x = points.x[i], y = points.y[i];
    if (x < x0 || x > x1 || y < y0 || y > y1) continue;
    let is_in = false;
    for (let a = 0, b = place.length - 1; a < place.length; b = a++) {
      if ((ys[a] > y) !== (ys[b] > y) && x < (xs[b] - xs[a]) * (y - ys[a]) / (ys[b] - ys[a]) + xs[a]) is_in = !is_in;
    }
    if (is_in) found[i] = 1;
  }
  return found;
}

async function show(some, told) {
  const rows = [];
  for (let i = 0; i < some.length; i++) if (some[i]) rows.push(i);
  part(".map-and-list").classList.add("has-list");
  list.hidden = false;
  status.textContent = `${rows.length.toLocaleString("en")} feature${rows.length === 1 ? "" : "s"} ${told}${rows.length > LISTED ? `, the first ${LISTED}` : ""}.`;
  const table = part(".map-table");
  table.hidden = rows.length === 0 || rows.length > MOST_IN_TABLE;
  table.href = `${source}?features=${rows.slice(0, MOST_IN_TABLE).map((i) => points.feature[i]).join(",")}#table`;
  part(".map-clear").hidden = false;
  const shown = rows.slice(0, LISTED), labels = await labelsOf(shown);
  list.querySelector("ol").replaceChildren(...shown.map((i, place) => {
    const item = document.createElement("li"), link = document.createElement("a"), text = document.createElement("span");
    link.href = `${source}/${points.feature[i]}`; link.textContent = points.feature[i];
    text.dir = "auto"; text.textContent = labels[place];
    item.append(link, " ", text);
    return item;
  }));
  fit();
}

function clear() {
  chosen = marked = null;
  list.hidden = true;
  part(".map-and-list").classList.remove("has-list");
  part("#mark").value = "";
  fit();
}

async function mark(words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  chosen = null;
  if (!wanted.length) { clear(); return; }
  const found = new Uint8Array(points.feature.length);
  if (points.labels) {
    points.labels.forEach((label, i) => { const low = label.toLowerCase(); if (wanted.every((w) => low.includes(w))) found[i] = 1; });
  } else {
    const reply = await fetch(`${source}.json?n=10000&q=${encodeURIComponent(words)}`);
    if (!reply.ok || part("#mark").value !== words) return;
    const features = new Set((await reply.json()).rows.map((row) => row.index));
    points.feature.forEach((feature, i) => { if (features.has(feature)) found[i] = 1; });
  }
  marked = found;
  await show(found, "with these words");
}

// --- moving -------------------------------------------------------------------------------------------------------

const bounded = () => {
  view.scale = Math.max(0.5, Math.min(MOST_SCALE, view.scale));
  view.x = Math.max(-0.2, Math.min(1.2, view.x)); view.y = Math.max(-0.2, Math.min(1.2, view.y));
  draw(); remember();
};

function closer(factor, px = width / 2, py = height / 2) {
  const [x, y] = placeOf(px, py);
  view.scale = Math.max(0.5, Math.min(MOST_SCALE, view.scale * factor));
  const [nx, ny] = placeOf(px, py);
  view.x += x - nx; view.y += y - ny;
  bounded();
}

let asked_memory = 0;
function remember() {
  clearTimeout(asked_memory);
  asked_memory = setTimeout(() => {
    const at = new URL(location.href);
    const by = part("#colour").value;
    by === "cluster" ? at.searchParams.delete("colour") : at.searchParams.set("colour", by);
    const is_whole = view.scale === 1 && view.x === 0.5 && view.y === 0.5;
    is_whole ? at.searchParams.delete("view")
      : at.searchParams.set("view", [view.x.toFixed(4), view.y.toFixed(4), view.scale.toFixed(2)].join(","));
    history.replaceState(history.state, "", at);
  }, 250);
}

const pointers = new Map();
let begun = null, has_moved = false;
const own = (event) => { const of = canvas.getBoundingClientRect(); return [event.clientX - of.left, event.clientY - of.top]; };

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, own(event));
  begun = own(event); has_moved = false; is_by_key = false;
  path = (is_lasso || event.shiftKey) && pointers.size === 1 ? [begun] : null;
});
canvas.addEventListener("pointermove", (event) => {
  const [px, py] = own(event), before = pointers.get(event.pointerId);
  if (!before) { hover(nearest(px, py), px, py); return; }
  if (begun && Math.hypot(px - begun[0], py - begun[1]) > DRAG_PX) has_moved = true;
  if (path) { path.push([px, py]); draw(); }
  else if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const was = Math.hypot(before[0] - other[0], before[1] - other[1]), is = Math.hypot(px - other[0], py - other[1]);
    closer(is / (was || 1), (px + other[0]) / 2, (py + other[1]) / 2);
  } else if (has_moved) {
    canvas.classList.add("is-dragged");
    hover(-1);
    view.x -= (px - before[0]) / unit(); view.y -= (py - before[1]) / unit();
    bounded();
  }
  pointers.set(event.pointerId, [px, py]);
});
const end = (event) => {
  if (!pointers.delete(event.pointerId)) return;
  canvas.classList.remove("is-dragged");
  if (path && has_moved && path.length > 2) { chosen = within(path); marked = null; show(chosen, "within the line"); }
  else if (event.type === "pointerup" && !has_moved && !path) {
    const i = nearest(...own(event), event.pointerType === "touch" ? 2 * NEAR_PX : NEAR_PX);
    if (i >= 0) open(i, event.ctrlKey || event.metaKey);
  }
  path = null;
  draw();
};
canvas.addEventListener("pointerup", end);
canvas.addEventListener("pointercancel", end);
canvas.addEventListener("pointerleave", () => { if (!pointers.size) hover(-1); });
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const [px, py] = own(event);
  closer(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0015)), px, py);
  hover(nearest(px, py), px, py);
}, { passive: false });

canvas.addEventListener("keydown", (event) => {
  if (isTyped(event)) return;
  const step = 0.08 / view.scale;
  const ways = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (ways[event.key]) { view.x += ways[event.key][0]; view.y += ways[event.key][1]; bounded(); }
  else if (event.key === "+" || event.key === "=") closer(1.4);
  else if (event.key === "-") closer(1 / 1.4);
  else if (event.key === "0") { view = { x: 0.5, y: 0.5, scale: 1 }; bounded(); }
  else if (event.key === "Escape") clear();
  else if (event.key === "Enter") { if (hovered >= 0) open(hovered); }
  else return;
  event.preventDefault();
  is_by_key = true;
  hover(nearest(width / 2, height / 2, 40), width / 2, height / 2);
  draw();
});
canvas.addEventListener("blur", () => { is_by_key = false; hover(-1); draw(); });

// --- beginning ----------------------------------------------------------------------------------------------------

const lasso = part('[data-do="lasso"]');
const does = {
  lasso: () => { is_lasso = !is_lasso; lasso.setAttribute("aria-pressed", String(is_lasso)); canvas.classList.toggle("is-lasso", is_lasso); },
  in: () => closer(1.6), out: () => closer(1 / 1.6),
  all: () => { view = { x: 0.5, y: 0.5, scale: 1 }; bounded(); },
};
tools.addEventListener("click", (event) => does[event.target.closest("button")?.dataset.do]?.());
tools.addEventListener("submit", (event) => event.preventDefault());
part("#colour").addEventListener("change", (event) => { colourBy(event.target.value); remember(); });
let asked_mark = 0;
part("#mark").addEventListener("input", (event) => {
  clearTimeout(asked_mark);
  asked_mark = setTimeout(() => mark(event.target.value), 180);
});
part(".map-clear").addEventListener("click", clear);

async function begin() {
  const reply = await fetch(root.dataset.points, { headers: { Accept: "application/json" } });
  if (!reply.ok) return;  // the clusters stay
  points = await reply.json();
  index();
  const kept = new URL(location.href).searchParams.get("view")?.split(",").map(Number) ?? [];
  if (kept.length === 3 && kept.every(Number.isFinite)) view = { x: kept[0], y: kept[1], scale: kept[2] };
  part(".map-clusters").setAttribute("hidden", "");
  for (const of of [canvas, tools, part("#map-keys")]) of.hidden = false;
  readColours();
  colourBy(part("#colour").value);
  new ResizeObserver(fit).observe(frame);
  const anew = () => { readColours(); draw(); };
  new MutationObserver(anew).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", anew);
  fit();
  bounded();
  root.dataset.ready = "true";
}
begin();
