// Keeps the page true: puts what the server tells into its places, and says so when it tells nothing.
//
// Rule 1: texts are set as text, never as HTML; the server alone makes HTML, and escapes it.
// Rule 2: nothing is judged here. The server says where a row stands and what is written there.
// Rule 3: whatever could be out of date looks like it: grey, without running times, never green.

import { listen } from "./deeds.js";
import { duration, localise, moment } from "./words.js";

const STALE_MS = 8000; // the server speaks once a second: this long a silence is an answer
const RETRY_MS = 2000;
const TICK_MS = 1000;
const REFRESH_MS = 5000; // parts of a page that are fetched as a whole: a log, a timeline
const SPARK_MS = 60000; // sparklines have a point a minute at most
const STEPS_MAX = 20; // of those that an agent told while its page was open
const PAGE = ":page";

const body = document.body;
const live = document.getElementById("live");
const gone = document.getElementById("gone");
const pin = document.querySelector("link[rel=icon]");
const own = document.querySelector(".about[data-row]"); // on the page of an agent, its row
const rows = new Map(); // key of a row → its elements
const places = new Map(); // key of a row → name of a slot → its elements
const known = new Map(); // what the page's own row said last
const ticking = new Set(); // elements in which time runs

let source = null;
let serverAheadMs = 0;
let heardAt = Date.now();
let stale = false;
let tab = []; // title and icon as they were before nothing was known
let toldAt = Date.now(); // when the stream last told of this page's agent
let refreshDue = 0;

const serverNow = () => Date.now() + serverAheadMs;

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function mark(element, name, value) {
  const text = value === undefined || value === "" ? null : String(value);
  if (element.getAttribute(name) === text) return;
  if (text === null) element.removeAttribute(name);
  else element.setAttribute(name, text);
}

function conceal(element, hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}

/** Find rows and slots below a node; in a page just loaded, also the times that run. */
function learn(root) {
  const found = [...root.querySelectorAll("[data-row]")];
  if (root instanceof Element && root.matches("[data-row]")) found.push(root);
  for (const each of found) {
    const key = each.dataset.row;
    rows.set(key, [...(rows.get(key) ?? []).filter((one) => one !== each), each]);
  }
  for (const each of root.querySelectorAll("[data-slot], [data-meter]")) {
    const row = each.closest("[data-row]");
    if (!row) continue;
    const name = each.dataset.slot ?? `meter ${each.dataset.meter}`;
    const names = places.get(row.dataset.row) ?? new Map();
    const still = (one) => one !== each && (one.isConnected || root.contains(one));
    names.set(name, [...(names.get(name) ?? []).filter(still), each]);
    places.set(row.dataset.row, names);
    if (each.dataset.since || each.dataset.until) ticking.add(each);
  }
}

function spanMs(element) {
  const { since, until } = element.dataset;
  if (since) return Math.max(0, serverNow() - Number(since));
  return until ? Math.max(0, Number(until) - serverNow()) : null;
}

function tick(element) {
  const ms = spanMs(element);
  if (ms === null) return;
  const { lead = "", text = "", full } = element.dataset;
  write(element, `${lead}${duration(ms / 1000)}${text}`);
  if (!full) return;
  const key = element.closest("[data-row]").dataset.row;
  for (const meter of places.get(key)?.get(`meter ${element.dataset.slot}`) ?? []) {
    fill(meter, Math.min(1, ms / 1000 / Number(full)));
  }
}

function fill(meter, share) {
  meter.toggleAttribute("data-empty", share === null);
  mark(meter.querySelector(".full"), "width", ((share ?? 0) * 100).toFixed(1));
}

function put(key, name, slot) {
  const running = slot.since !== undefined || slot.until !== undefined;
  for (const element of places.get(key)?.get(name) ?? []) {
    mark(element, "data-tone", slot.tone);
    mark(element, "data-since", slot.since);
    mark(element, "data-until", slot.until);
    mark(element, "data-lead", slot.lead);
    mark(element, "data-full", slot.full);
    mark(element, "data-text", running ? slot.text : undefined);
    // Only addresses of our own: a slot never leads elsewhere.
    const ours = /^\/(?!\/)/.test(slot.href ?? "");
    if (element.localName === "a") mark(element, "href", ours ? slot.href : undefined);
    ticking[running ? "add" : "delete"](element);
    if (name === "doing") walk(element, slot.text);
    if (running) tick(element);
    else write(element, `${slot.lead ?? ""}${slot.text ?? ""}`);
    element.toggleAttribute("data-none", element.textContent === "-");
    conceal(element, !element.textContent);
  }
  for (const meter of places.get(key)?.get(`meter ${name}`) ?? []) {
    mark(meter, "data-tone", slot.tone);
    if (!running) fill(meter, slot.share ?? null);
  }
}

/** On the page of one agent, keep what it did before. */
function walk(element, text) {
  const list = document.getElementById("walk");
  if (!list || element.textContent === text) return;
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = moment(new Date());
  item.append(time, text);
  list.prepend(item);
  while (list.childElementCount > STEPS_MAX) list.lastElementChild.remove();
}

/** Bring a row to its place in its group. It moves only if it must, and keeps the focus. */
function place(element, row) {
  const name = row.kind === "host" ? "hosts" : row.group;
  const list = document.querySelector(`ul[data-group="${CSS.escape(name)}"]`);
  if (element.dataset.order !== row.order) element.dataset.order = row.order;
  if (!list) return;
  const before = (one, other) => one.dataset.order <= other.dataset.order;
  const { previousElementSibling: previous, nextElementSibling: next } = element;
  const stands = (!previous || before(previous, element)) && (!next || before(element, next));
  if (element.parentElement === list && stands) return;
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const after = [...list.children].find((one) => one !== element && !before(one, element));
  conceal(list.closest("section"), false); // what is hidden can't have the focus
  list.insertBefore(element, after ?? null);
  focused?.focus({ preventScroll: true });
}

function create(key, row) {
  const template = document.getElementById(`row-${row.kind}`);
  if (!template) return null;
  const element = document.importNode(template.content.firstElementChild, true);
  element.dataset.row = key;
  for (const image of element.querySelectorAll("img[data-spark]")) {
    const on = row.data.host ? `?host=${encodeURIComponent(row.data.host)}` : "";
    image.src = `/agents/${encodeURIComponent(row.data.agent)}/spark/${image.dataset.spark}.svg${on}`;
  }
  learn(element);
  return element;
}

function update(key, row) {
  const elements = rows.get(key) ?? [create(key, row)].filter(Boolean);
  for (const element of elements) {
    mark(element, "data-tone", row.tone);
    mark(element, "data-kind", row.kind);
    for (const [name, text] of Object.entries(row.data)) {
      if (element.dataset[name] !== text) element.dataset[name] = text;
    }
    for (const button of element.querySelectorAll("button[data-verb]")) {
      const offered = row.verbs.includes(button.dataset.verb);
      // Whoever has just pressed it must not find the keyboard nowhere.
      if (!offered && button === document.activeElement) element.querySelector("a")?.focus();
      conceal(button, !offered);
    }
    if (element.matches("li")) place(element, row);
  }
  for (const [name, slot] of Object.entries(row.slots)) put(key, name, slot);
  if (key === PAGE) {
    known.set(PAGE, row);
    if (body.dataset.page === "fleet") title(row.data.title, row.tone);
  } else if (body.dataset.page === "agent" && elements.length) {
    title(`${row.slots.name.text} · ${row.slots.health.text} · agentd`, row.tone);
  }
}

function remove(key) {
  for (const element of rows.get(key) ?? []) {
    for (const slot of element.querySelectorAll("[data-slot]")) ticking.delete(slot);
    if (element.matches("li")) element.remove();
  }
  rows.delete(key);
  places.delete(key);
}

/** What a tab in the background shows. */
function title(text, tone) {
  if (document.title !== text) document.title = text;
  const name = ["good", "warn", "bad"].includes(tone) ? tone : "unknown";
  mark(pin, "href", `/static/${name}.svg`);
}

/** On an agent's page: see whether the stream tells of it, and take it up again where it does. */
function attend(view) {
  const { row, agent } = own.dataset;
  if (row in view.rows) delete body.dataset.absent;
  else if (!body.dataset.absent && (view.whole || view.removed.includes(row))) {
    untell("untold", `Nothing live is told of ${agent}: its figures are those of`);
    refreshDue = 0; // one of agentd's own has a page all the same, one that was removed has none
  }
  if (!body.dataset.absent) toldAt = Date.now();
}

/** Say why nothing is told of this page's agent, and let nothing of it look like knowledge. */
function untell(kind, why) {
  const { row, agent } = own.dataset;
  body.dataset.absent = kind;
  for (const element of rows.get(row)) mark(element, "data-tone", "");
  for (const button of own.querySelectorAll("button")) conceal(button, button.hidden || kind === "gone");
  for (const [name, [element]] of places.get(row)) {
    if (name.startsWith("meter ")) continue;
    const { since, until } = element.dataset;
    put(row, name, { text: since || until ? "" : element.textContent, href: element.getAttribute("href") });
  }
  put(row, "health", { text: "unknown" });
  put(row, "why", { text: `${why} ${moment(new Date(toldAt))}.`, tone: "bad" });
  title(`? ${agent} · agentd`, "");
}

function apply(view) {
  serverAheadMs = view.now - Date.now();
  if (body.dataset.page === "gone") {
    location.reload();
    return;
  }
  heard();
  if (view.whole && body.dataset.page === "fleet") {
    for (const key of [...rows.keys()]) if (!(key in view.rows)) remove(key);
  }
  for (const key of view.removed) if (key !== own?.dataset.row) remove(key);
  if (own) attend(view);
  for (const [key, row] of Object.entries(view.rows)) update(key, row);
  for (const list of document.querySelectorAll("section.group ul.rows")) {
    const none = list.childElementCount === 0;
    conceal(list.closest("section"), none);
    document.querySelector(`.count.${list.dataset.group}`)?.toggleAttribute("data-none", none);
  }
  search();
}

function heard() {
  heardAt = Date.now();
  write(live, "live");
  if (!stale) return;
  stale = false;
  body.removeAttribute("data-stale");
  gone.hidden = true;
  gone.replaceChildren();
  [document.title] = tab;
  mark(pin, "href", tab[1]);
  if (known.has(PAGE)) update(PAGE, known.get(PAGE));
}

/** Say that nothing on the page is known to be true any more, and since when. */
function lost(why, since = heardAt) {
  if (!stale) {
    stale = true;
    heardAt = since;
    tab = [document.title, pin.getAttribute("href")];
    body.setAttribute("data-stale", "");
    const age = document.createElement("span");
    age.id = "age";
    age.setAttribute("aria-hidden", "true"); // it runs: a screen reader is told once
    gone.replaceChildren(`${why} Last seen ${moment(new Date(since))}`, age, ". What is shown was true then.");
    gone.hidden = false;
    put(PAGE, "headline", { text: "Nothing is known right now." });
    put(PAGE, "detail", { text: "" });
    for (const element of rows.get(PAGE) ?? []) mark(element, "data-tone", "");
    title(`? last seen ${moment(new Date(since))} · agentd`, "");
  }
  write(live, "not live");
  const age = document.getElementById("age");
  if (age) write(age, `, ${duration((Date.now() - heardAt) / 1000)} ago`);
}

function connect() {
  source = new EventSource(body.dataset.stream);
  for (const kind of ["snapshot", "status"]) {
    source.addEventListener(kind, (event) => apply(JSON.parse(event.data)));
  }
  source.addEventListener("event", () => { refreshDue = Math.min(refreshDue, Date.now() + TICK_MS); });
  source.addEventListener("daemon", (event) => {
    const told = JSON.parse(event.data);
    if (told.reachable) return; // what it says next ends the grey
    const since = Date.parse(told.last_seen ?? "") - serverAheadMs;
    lost("agentd does not answer.", Number.isNaN(since) ? heardAt : since);
  });
  source.addEventListener("error", () => {
    lost("The dashboard does not answer.");
    if (source.readyState === EventSource.CLOSED) setTimeout(reconnect, RETRY_MS);
  });
}

/** The browser gave up on the stream: find out whether it was refused, and try again. */
async function reconnect() {
  try {
    const reply = await fetch("/api/v1/status", { headers: { Accept: "application/json" } });
    if (reply.status === 401 || reply.status === 403) {
      location.reload(); // signed out: the server answers with its own page
      return;
    }
  } catch {
    // It is not there; what follows will find out when it is.
  }
  connect();
}

/** Fetch the parts of the page that the server writes as a whole, and put in what is new. */
async function refresh() {
  refreshDue = Date.now() + REFRESH_MS;
  const parts = [...document.querySelectorAll("[data-refresh]")];
  if (!parts.length || stale || document.hidden || !getSelection().isCollapsed) return;
  if (body.dataset.absent === "gone") return; // the stream says when it is back
  try {
    const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (reply.status === 404 && body.dataset.absent && !stale) {
      untell("gone", `${own.dataset.agent} is not there any more: what is shown was true at`);
    }
    if (!reply.ok) return;
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
    localise(fresh);
    for (const part of parts) renew(part, fresh.getElementById(part.id));
  } catch {
    // The stream says whether anybody is there; this part stays as it was, below that word.
  }
}

function renew(part, fresh) {
  const plain = (node) => node.textContent;
  if (!fresh || plain(part) === plain(fresh) || part.contains(document.activeElement)) return;
  const opened = [...part.querySelectorAll("details[open]")].map((each) => each.dataset.name);
  const scrolled = part.querySelector("pre")?.scrollTop;
  const imported = document.importNode(fresh, true);
  for (const each of imported.querySelectorAll("details")) {
    if (opened.includes(each.dataset.name)) each.open = true;
  }
  part.replaceWith(imported);
  const log = imported.querySelector("pre");
  if (log && scrolled !== undefined) log.scrollTop = scrolled;
}

function search() {
  const find = document.getElementById("find");
  if (!find) return;
  const wanted = find.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const element of document.querySelectorAll("li.row")) {
    const matches = wanted.every((word) => (element.dataset.words ?? "").includes(word));
    if (element.classList.contains("unmatched") === matches) element.classList.toggle("unmatched");
    shown += matches ? 1 : 0;
  }
  write(document.getElementById("found"), wanted.length ? `${shown} found` : "");
}

function redrawSparks() {
  if (document.hidden || stale || body.dataset.absent) return;
  for (const image of document.querySelectorAll("img[data-spark]")) {
    const box = image.getBoundingClientRect();
    if (box.bottom < 0 || box.top > innerHeight || !image.src) continue;
    const address = new URL(image.src);
    address.searchParams.set("at", String(Math.floor(Date.now() / SPARK_MS)));
    image.src = address.href;
  }
}

function beat() {
  if (Date.now() - heardAt > STALE_MS) lost("Nothing is heard from the dashboard.");
  if (stale) lost("");
  else if (!document.hidden) for (const element of ticking) tick(element);
  if (Date.now() >= refreshDue) refresh();
}

localise(document);
learn(document);
listen();
document.getElementById("find")?.addEventListener("input", search);
document.addEventListener("keydown", (event) => {
  const find = document.getElementById("find");
  if (event.key !== "/" || !find || event.target.closest("input, dialog")) return;
  event.preventDefault();
  find.focus();
});
if (body.dataset.stream) {
  refreshDue = Date.now() + REFRESH_MS;
  connect();
  setInterval(beat, TICK_MS);
  setInterval(redrawSparks, SPARK_MS);
}
