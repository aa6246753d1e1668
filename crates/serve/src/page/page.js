"use strict";

const STEP = 40;
const element = (id) => document.getElementById(id);
const [words, file, filters, results, status, failure, more, detail] =
  ["words", "file", "filters", "results", "status", "error", "more", "detail"].map(element);

/** What the next search starts from: an entry `{id, name}` or a file `{blob, name}`, or nothing. */
let example = null;
let hits = [];
let shown = null;
let index = null;
let running = null;

// Requests.

const bearer = () => {
  const token = sessionStorage.getItem("token");
  return token ? { Authorization: `Bearer ${token}` } : {};
};

/** Asks for the token, once for all requests that need it, and says whether another was wrong. It is remembered for the session. */
let asking = null;
function askForToken(isWrong) {
  asking ??= new Promise((resolve) => {
    const dialog = element("token-dialog");
    dialog.addEventListener("close", () => {
      asking = null;
      sessionStorage.setItem("token", element("token").value.trim());
      resolve();
    }, { once: true });
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    element("token").value = "";
    element("token-wrong").hidden = !isWrong;
    dialog.showModal();
  });
  return asking;
}

async function request(path, options = {}) {
  const used = sessionStorage.getItem("token");
  const response = await fetch(path, { ...options, headers: { ...options.headers, ...bearer() } });
  if (response.status === 401) {
    // Another request may have asked meanwhile.
    if (sessionStorage.getItem("token") === used) await askForToken(Boolean(used));
    return request(path, options);
  }
  if (!response.ok) {
    const body = await response.json().catch(() => null);
    throw new Error(body?.error?.message ?? `the service answered ${response.status}`);
  }
  return response;
}

async function post(path, body, signal) {
  const options = body instanceof FormData
    ? { body }
    : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return (await request(path, { method: "POST", signal, ...options })).json();
}

/** Shows an image. Elements cannot send a token, so then the image is fetched. */
async function show(image, path) {
  if (!sessionStorage.getItem("token")) {
    image.src = path;
    return;
  }
  try {
    const url = URL.createObjectURL(await (await request(path)).blob());
    image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    image.src = url;
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}

const thumbnail = (id) => `images/${id}`;
const nameOf = (hit) => hit.captions[0] ?? hit.key;

// Search.

const filterList = () => filters.value.split("\n").map((line) => line.trim()).filter(Boolean);

function remember() {
  const query = new URLSearchParams();
  if (words.value.trim()) query.set("q", words.value.trim());
  if (example?.id) query.set("like", example.id);
  filterList().forEach((filter) => query.append("filter", filter));
  const address = query.size ? `?${query}` : location.pathname;
  if (address !== (location.search || location.pathname)) history.pushState(null, "", address);
}

/** Sets the search to what the address says. */
function recall() {
  const query = new URLSearchParams(location.search);
  words.value = query.get("q") ?? "";
  filters.value = query.getAll("filter").join("\n");
  element("filter-part").open = query.has("filter");
  const like = query.get("like");
  setExample(like ? { id: like, name: "an image of the index" } : null);
  return query.size > 0;
}

function setExample(value) {
  example = value;
  element("example").hidden = !value;
  if (!value) return;
  element("example-name").textContent = value.name;
  if (value.id) show(element("example-image"), thumbnail(value.id));
  else {
    const url = URL.createObjectURL(value.blob);
    element("example-image").addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    element("example-image").src = url;
  }
}

function query(k) {
  const text = words.value.trim();
  if (example?.blob) {
    const form = new FormData();
    form.append("image", example.blob);
    if (text) form.append("q", text);
    filterList().forEach((filter) => form.append("filter", filter));
    form.append("k", k);
    return form;
  }
  return { k, filters: filterList(), ...(text && { q: text }), ...(example && { id: example.id }) };
}

/** Searches. Results that are shown already stay, so that the focus and the place on the page do. */
async function search({ k = STEP, push = true } = {}) {
  if (push) remember();
  running?.abort();
  document.title = [words.value.trim() || example?.name, "Image search"].filter(Boolean).join(" \u2013 ");
  if (!words.value.trim() && !example) {
    hits = [];
    render(0);
    welcome();
    return;
  }
  const control = running = new AbortController();
  failure.hidden = true;
  status.textContent = "Searching \u2026";
  const limit = index?.max_results ?? 1000;
  k = Math.min(k, limit);
  try {
    const found = (await post("v1/search", query(k), control.signal)).hits;
    const kept = k > STEP && found.slice(0, hits.length).every((hit, place) => hit.id === hits[place].id) ? hits.length : 0;
    hits = found;
    render(kept);
    more.hidden = hits.length < k || k >= limit;
    status.textContent = hits.length === 1 ? "1 result" : `${hits.length} results`;
    if (index && hits.length === k) status.textContent += ` of ${index.rows.toLocaleString("en")} images`;
    if (kept) results.children[kept]?.firstChild.focus();
  } catch (error) {
    if (error.name === "AbortError") return;
    status.textContent = "";
    fail(error);
  }
}

function fail(error) {
  failure.textContent = error instanceof TypeError ? "The service cannot be reached." : `Error: ${error.message}`;
  failure.hidden = false;
}

function render(kept) {
  more.hidden = true;
  while (results.children.length > kept) results.lastChild.remove();
  hits.slice(kept).forEach((hit, place) => results.append(tile(hit, kept + place)));
}

function tile(hit, place) {
  const name = Object.assign(document.createElement("span"), { className: "name", textContent: nameOf(hit) });
  // Said once: by the image.
  name.setAttribute("aria-hidden", "true");
  const image = Object.assign(document.createElement("img"), { alt: nameOf(hit), loading: "lazy", decoding: "async" });
  const frame = Object.assign(document.createElement("span"), { className: "frame" });
  image.addEventListener("error", () => {
    frame.replaceChildren("no preview");
    name.removeAttribute("aria-hidden");
  });
  frame.append(image);
  show(image, thumbnail(hit.id));
  const score = Object.assign(document.createElement("span"), { className: "score", textContent: hit.score.toFixed(3) });
  score.title = "Cosine similarity with the query";
  const text = Object.assign(document.createElement("span"), { className: "text" });
  text.append(name, score);
  const button = Object.assign(document.createElement("button"), { className: "hit", type: "button" });
  button.tabIndex = place === 0 ? 0 : -1;
  button.append(frame, text);
  button.addEventListener("click", () => open(place));
  button.addEventListener("focus", () => {
    results.querySelector(".hit[tabindex='0']")?.setAttribute("tabindex", "-1");
    button.tabIndex = 0;
  });
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function searchByFile(blob, name) {
  if (!blob.type.startsWith("image/")) return fail(new Error(`${name} is no image`));
  if (detail.open) detail.close();
  words.value = "";
  setExample({ blob, name });
  return search();
}

function searchLike(hit) {
  if (detail.open) detail.close();
  words.value = "";
  setExample({ id: hit.id, name: nameOf(hit) });
  scrollTo({ top: 0 });
  words.focus({ preventScroll: true });
  return search();
}

function welcome() {
  failure.hidden = true;
  status.textContent = index ? `${index.rows.toLocaleString("en")} images` : "";
}

// One image.

function open(place) {
  shown = hits[place];
  element("detail-title").textContent = shown.key;
  const image = element("detail-image");
  image.alt = nameOf(shown);
  image.removeAttribute("src");
  // Not every index knows the files of its images.
  image.addEventListener("error", () => {
    element("original").removeAttribute("href");
    show(image, thumbnail(shown.id));
  }, { once: true });
  const original = `${thumbnail(shown.id)}/original`;
  if (sessionStorage.getItem("token")) element("original").removeAttribute("href");
  else element("original").href = original;
  show(image, original);
  element("captions").textContent = shown.captions.join("\n");
  const facts = [["score", shown.score.toFixed(4)], ...Object.entries(shown.columns)];
  element("facts").replaceChildren(...facts.flatMap(([name, value]) => [
    Object.assign(document.createElement("dt"), { textContent: name }),
    Object.assign(document.createElement("dd"), { textContent: value }),
  ]));
  element("label-list").replaceChildren();
  detail.showModal();
}

async function compareLabels() {
  const labels = element("labels").value.split(/[,\n]/).map((label) => label.trim()).filter(Boolean);
  const list = element("label-list");
  if (!labels.length) return element("labels").focus();
  localStorage.setItem("labels", element("labels").value);
  list.replaceChildren(Object.assign(document.createElement("li"), { textContent: "Comparing \u2026" }));
  const hit = shown;
  try {
    const found = (await post("v1/zero-shot", { id: hit.id, labels })).labels;
    if (hit !== shown) return;
    list.replaceChildren(...found.map(({ label, probability }) => {
      const percent = `${(100 * probability).toFixed(1)}%`;
      const item = document.createElement("li");
      const meter = Object.assign(document.createElement("meter"), { max: 1, value: probability });
      meter.setAttribute("aria-hidden", "true");
      item.append(
        Object.assign(document.createElement("span"), { textContent: label }),
        Object.assign(document.createElement("span"), { className: "score", textContent: percent }),
        meter,
      );
      return item;
    }));
  } catch (error) {
    list.replaceChildren(Object.assign(document.createElement("li"), { textContent: `Error: ${error.message}` }));
  }
}

// Keys.

/** Moves the focus in the grid of results. */
function move(key) {
  const buttons = [...results.querySelectorAll(".hit")];
  const place = buttons.indexOf(document.activeElement);
  const top = buttons[0]?.getBoundingClientRect().top;
  const below = buttons.findIndex((button) => button.getBoundingClientRect().top > top + 1);
  const columns = below > 0 ? below : buttons.length;
  const target = {
    ArrowRight: place + 1, ArrowLeft: place - 1, ArrowDown: place + columns, ArrowUp: place - columns,
    Home: 0, End: buttons.length - 1,
  }[key];
  if (key === "ArrowUp" && target < 0) words.focus();
  else buttons[target]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || element("token-dialog").open) return;
  const isTyping = event.target.matches("input, textarea");
  const isHit = event.target.matches(".hit");
  if (event.key === "/" && !isTyping && !detail.open) {
    words.focus();
    words.select();
  } else if (event.key === "m" && !isTyping && (isHit || detail.open)) {
    searchLike(detail.open ? shown : hits[[...results.querySelectorAll(".hit")].indexOf(event.target)]);
  } else if (event.key === "ArrowDown" && event.target === words && hits.length) {
    results.querySelector(".hit")?.focus();
  } else if (event.key === "Escape" && isHit) {
    words.focus();
  } else if (isHit && /^(Arrow|Home|End)/.test(event.key)) {
    move(event.key);
  } else {
    return;
  }
  event.preventDefault();
});

// Events.

element("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
file.addEventListener("change", () => {
  if (file.files[0]) searchByFile(file.files[0], file.files[0].name);
  file.value = "";
});
element("example-clear").addEventListener("click", () => {
  setExample(null);
  words.focus();
  search();
});
filters.addEventListener("input", () => {
  element("filter-count").textContent = filterList().length ? `(${filterList().length})` : "";
});
more.addEventListener("click", () => search({ k: hits.length + STEP, push: false }));
element("close").addEventListener("click", () => detail.close());
detail.addEventListener("click", (event) => {
  if (event.target === detail) detail.close();
});
element("similar").addEventListener("click", () => searchLike(shown));
element("label-form").addEventListener("submit", (event) => {
  event.preventDefault();
  compareLabels();
});
document.addEventListener("paste", (event) => {
  const pasted = [...event.clipboardData.files].find((item) => item.type.startsWith("image/"));
  if (!pasted) return;
  event.preventDefault();
  searchByFile(pasted, "the pasted image");
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const dropped = event.dataTransfer.files[0];
  if (dropped) searchByFile(dropped, dropped.name);
});
addEventListener("popstate", () => {
  recall();
  search({ push: false });
});

element("labels").value = localStorage.getItem("labels") ?? "a person, an animal, food, a vehicle, a building, an object";
request("v1/index").then((response) => response.json()).then((found) => {
  index = found;
  if (!hits.length && !running) welcome();
}, fail);
if (recall()) search({ push: false });
else if (matchMedia("(pointer: fine)").matches) words.focus();
