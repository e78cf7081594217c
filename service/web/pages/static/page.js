// Keeps an open page true: the server says that something changed, the page is fetched again, and
// the parts that differ are swapped. Without this script every page works, and is still.
"use strict";

const dialog = document.getElementById("dialog");
const live = document.getElementById("live");
const liveFrom = document.body.dataset.liveFrom;

function pageOf(text) {
  return new DOMParser().parseFromString(text, "text/html");
}

async function fetchPage(url) {
  const answer = await fetch(url, { headers: { "X-Live": "1" }, cache: "no-store" });
  if (new URL(answer.url).pathname === "/login") {
    location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
    return null;
  }
  return answer.ok ? pageOf(await answer.text()) : null;
}

// Where the keyboard was: in the new part, the same link, or the same place.
function focusKeeper(part) {
  const active = document.activeElement;
  if (!active || !part.contains(active)) return () => {};
  const place = [...part.querySelectorAll("a, button, [tabindex]")].indexOf(active);
  const href = active.getAttribute("href");
  return (fresh) => {
    const found =
      (active.id && document.getElementById(active.id)) ||
      (href && [...fresh.querySelectorAll("a")].find((a) => a.getAttribute("href") === href)) ||
      fresh.querySelectorAll("a, button, [tabindex]")[place];
    if (found) found.focus({ preventScroll: true });
  };
}

function swap(page) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (!fresh) {
      part.replaceChildren();
      continue;
    }
    if (fresh.innerHTML === part.innerHTML) continue;
    const keepFocus = focusKeeper(part);
    const ticked = new Set([...part.querySelectorAll("input:checked")].map((box) => box.value));
    const opened = [...part.querySelectorAll("details")].map((details) => details.open);
    const scrolled = [...part.querySelectorAll(".scroll, pre")].map((e) => [e.scrollLeft, e.scrollTop]);
    part.replaceWith(document.adoptNode(fresh));
    fresh.querySelectorAll(".scroll, pre").forEach((e, i) => {
      if (scrolled[i]) [e.scrollLeft, e.scrollTop] = scrolled[i];
    });
    for (const box of fresh.querySelectorAll("input[type=checkbox]")) box.checked = ticked.has(box.value);
    fresh.querySelectorAll("details").forEach((details, i) => { if (opened[i] !== undefined) details.open = opened[i]; });
    keepFocus(fresh);
  }
  offerAll();
  const summary = document.getElementById("summary");
  const said = page.getElementById("summary");
  stamps();
  if (said && said.textContent !== summary.textContent) summary.textContent = said.textContent;
  document.title = page.title;
}

// One refresh at a time; what changed meanwhile is one more, afterwards.
let refreshing = false;
let again = false;
async function refresh() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  try {
    do {
      again = false;
      const page = await fetchPage(location.href);
      if (page) {
        swap(page);
        shownAt = new Date();
      }
    } while (again);
  } catch {
    say("reconnecting", true);
  } finally {
    refreshing = false;
  }
}

// What stands here was true at that moment: nothing is acted on until the ledger answers again.
let shownAt = new Date();
function say(text, isAway) {
  live.hidden = false;
  live.classList.toggle("away", isAway);
  document.getElementById("live-text").textContent = text;
  const bar = document.getElementById("stale");
  bar.hidden = !isAway;
  const at = shownAt.toISOString().slice(11, 19);
  if (isAway) bar.textContent = `Showing data from ${at} UTC: ${text}. Actions are off until it is back.`;
  document.body.classList.toggle("is-stale", isAway);
}

let stream = null;
let retry = 0;
function listen() {
  clearTimeout(retry);
  if (stream) stream.close();
  stream = new EventSource(liveFrom);
  stream.addEventListener("changed", () => {
    say("live", false);
    refresh();
  });
  stream.addEventListener("away", () => say("the ledger is away", true));
  stream.addEventListener("error", () => {
    say("reconnecting", true);
    if (stream && stream.readyState === EventSource.CLOSED) {
      // Refused, not broken off: the session may have ended, which a fetch finds out.
      refresh();
      retry = setTimeout(listen, 5000);
    }
  });
}

function rest() {
  clearTimeout(retry);
  if (stream) stream.close();
  stream = null;
}

// A browser grants a host six connections: only the tab that is looked at holds one.
if (liveFrom && "EventSource" in window && document.querySelector("[data-live]")) {
  if (!document.hidden) listen();
  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
  window.addEventListener("pagehide", rest);
  window.addEventListener("pageshow", (event) => event.persisted && listen());
}

// Ages grow between changes, too.
function ageOf(seconds) {
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return Math.floor(seconds / size) + " " + unit;
  }
  return seconds + " s";
}
setInterval(() => {
  for (const time of document.querySelectorAll("time[data-age]")) {
    const text = ageOf(Math.max(0, Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000)));
    if (time.textContent !== text) time.textContent = text;
  }
}, 1000);

// An action's question, asked in a dialog instead of on a page of its own.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-dialog]");
  if (link && document.body.classList.contains("is-stale")) {
    event.preventDefault();
    return;
  }
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  try {
    const page = await fetchPage(link.href);
    const form = page && page.getElementById("ask");
    if (!form) {
      location.assign(link.href);
      return;
    }
    dialog.replaceChildren(document.adoptNode(form));
    form.querySelector("[data-cancel]").addEventListener("click", (cancel) => {
      cancel.preventDefault();
      dialog.close();
    });
    dialog.showModal();
    form.querySelector("button").focus();
  } catch {
    location.assign(link.href);
  }
});

// A run's log beside its build, instead of on a page of its own.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-inline]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  const place = document.getElementById("run-log");
  try {
    const page = await fetchPage(link.href);
    const log = page && page.getElementById("log");
    if (!log || !place) {
      location.assign(link.href);
      return;
    }
    place.replaceChildren(document.adoptNode(log));
    place.querySelector("pre, p")?.scrollIntoView({ block: "nearest" });
  } catch {
    location.assign(link.href);
  }
});

// Tick all rows of a list at once.
function offerAll() {
  for (const box of document.querySelectorAll("input[data-all]")) box.hidden = false;
}
offerAll();
document.addEventListener("change", (event) => {
  if (!event.target.matches("input[data-all]")) return;
  for (const box of event.target.closest("table").querySelectorAll("tbody input[type=checkbox]")) {
    box.checked = event.target.checked;
  }
});

// A second click must not act a second time.
document.addEventListener("submit", (event) => {
  const button = event.target.querySelector("button[type=submit]");
  if (button && event.target.method === "post") setTimeout(() => (button.disabled = true));
});
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
});

// Light or dark, and whose time: kept in this browser, against what its system says.
const kept = {
  get: (name) => {
    try { return localStorage.getItem(name); } catch { return null; }
  },
  set: (name, value) => {
    try { localStorage.setItem(name, value); } catch { /* a private window forgets */ }
  },
};
const theme = document.getElementById("theme");
if (theme) {
  const apply = (name) => name && (document.documentElement.dataset.theme = name);
  apply(kept.get("theme"));
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const isDark = getComputedStyle(document.documentElement).colorScheme === "dark" ||
      (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    const chosen = isDark ? "light" : "dark";
    apply(chosen);
    kept.set("theme", chosen);
  });
}

const zone = document.getElementById("zone");
function stamps() {
  const isLocal = kept.get("zone") === "local";
  for (const time of document.querySelectorAll("time.stamp")) {
    if (!time.dataset.utc) time.dataset.utc = time.textContent;
    const at = new Date(time.dateTime);
    const pad = (number, size = 2) => String(number).padStart(size, "0");
    const local = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ` +
      `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}.${pad(at.getMilliseconds(), 3)}`;
    const text = !isLocal ? time.dataset.utc : time.classList.contains("clock") ? local.slice(11) : local;
    if (time.textContent !== text) time.textContent = text;
  }
  if (zone) zone.textContent = isLocal ? "Local time" : "UTC";
  const said = document.getElementById("zone-said");
  if (said) said.textContent = isLocal ? "Moments are in this browser's time, ranges in UTC." : "Times are UTC.";
}
if (zone) {
  zone.hidden = false;
  zone.addEventListener("click", () => {
    kept.set("zone", kept.get("zone") === "local" ? "utc" : "local");
    stamps();
  });
  stamps();
}

// "/" goes to the search, as everywhere.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog")) return;
  const search = document.getElementById("search");
  if (search) {
    event.preventDefault();
    search.focus();
  }
});

// What is long and copied often: keys, run ids, commands that fix something.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const text = button.previousElementSibling.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "copied";
    setTimeout(() => (button.textContent = "copy"), 1500);
  } catch { /* without a clipboard it can be selected */ }
});
