// The page: folding, pan and zoom, search, tooltips, the side panel, and the state in the address.
"use strict";

const graph = JSON.parse(document.getElementById("graph-data").textContent);
const picture = document.getElementById("picture"), layer = document.getElementById("layer");
const tip = document.getElementById("tip"), details = document.getElementById("details");
const search = document.getElementById("search"), hits = document.getElementById("hits");
const state = { open: new Set(graph.open), view: { x: 0, y: 0, k: 1 }, selected: null, plan: null };

function html(parent, tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  parent.appendChild(made);
  return made;
}

function render(fitted) {
  const started = performance.now();
  state.plan = layout(graph, state.open);
  draw(graph, state.plan, layer);
  picture.dataset.ms = (performance.now() - started).toFixed(0);
  picture.dataset.discs = layer.querySelectorAll(".space").length;
  picture.dataset.cards = layer.querySelectorAll(".card").length;
  if (fitted) fit(); else place();
  highlight();
}

// -- pan and zoom -------------------------------------------------------------------------------------------------
function place() {
  const { x, y, k } = state.view;
  layer.setAttribute("transform", `translate(${x} ${y}) scale(${k})`);
}
function fit() {
  const { clientWidth: w, clientHeight: h } = picture, plan = state.plan;
  const whole = Math.min((w - 40) / plan.w, (h - 40) / plan.h), k = Math.min(1.6, Math.max(whole, 0.78));
  state.view = { k, x: Math.max(20, (w - plan.w * k) / 2), y: Math.max(20, (h - plan.h * k) / 3) };
  place();
}
// the first view: all of it at once, in as many open blocks, first ones before others, as stay legible in the window
const LEGIBLE = 0.62;
function scale() { return Math.min((picture.clientWidth - 30) / state.plan.w, (picture.clientHeight - 30) / state.plan.h); }
function foldToFit() {
  const order = [], walk = (k) => { order.push(k); graph.blocks[k].children.forEach(walk); };
  walk(0);
  state.plan = layout(graph, state.open);
  for (const k of order.slice(1).reverse()) {
    if (scale() >= LEGIBLE) break;
    if (state.open.delete(k)) state.plan = layout(graph, state.open);
  }
}
function zoom(factor, cx = picture.clientWidth / 2, cy = picture.clientHeight / 2) {
  const view = state.view, k = Math.min(6, Math.max(0.03, view.k * factor)), real = k / view.k;
  state.view = { k, x: cx - (cx - view.x) * real, y: cy - (cy - view.y) * real };
  place();
}
function whole() {
  const { clientWidth: w, clientHeight: h } = picture, plan = state.plan;
  const k = Math.min(1.6, scale());
  state.view = { k, x: (w - plan.w * k) / 2, y: (h - plan.h * k) / 2 };
  place();
}
function centre(x, y) {
  const k = Math.max(state.view.k, 0.8);
  state.view = { k, x: picture.clientWidth / 2 - x * k, y: picture.clientHeight / 2 - y * k };
  place();
}
picture.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = picture.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY * 0.0015), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
let drag = null;
picture.addEventListener("pointerdown", (event) => {
  drag = { x: event.clientX, y: event.clientY, view: { ...state.view }, moved: false };
});
window.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
  if (Math.abs(dx) + Math.abs(dy) > 4) drag.moved = true;
  if (!drag.moved) return;
  state.view = { ...drag.view, x: drag.view.x + dx, y: drag.view.y + dy };
  place();
});
window.addEventListener("pointerup", () => { setTimeout(() => { drag = null; }, 0); });

// -- folding ------------------------------------------------------------------------------------------------------
function toggle(block) {
  if (state.open.has(block)) state.open.delete(block); else state.open.add(block);
  const before = boxOf(block);
  render(false);
  const after = boxOf(block);
  if (before && after) {
    state.view.x += (before.x - after.x) * state.view.k;
    state.view.y += (before.y - after.y) * state.view.k;
    place();
  }
  const node = layer.querySelector(`[data-block="${block}"]`);
  if (node) node.focus({ preventScroll: true });
}
function boxOf(block) {
  const frame = state.plan.frames.find((f) => f.block === block), card = state.plan.boxes.get("c" + block);
  return frame ? { x: frame.x, y: frame.y } : card && { x: card.x - card.w / 2, y: card.y - card.h / 2 };
}
function unfoldAll() { state.open = new Set(graph.blocks.keys()); render(true); }
function foldAll() { state.open = new Set([0]); render(true); }
function reveal(block) { for (let b = block; b >= 0; b = graph.blocks[b].parent) state.open.add(b); }

// -- what a thing is ------------------------------------------------------------------------------------------------
function spaceRows(k) {
  const s = graph.spaces[k];
  const rows = [["kind", s.kind + (s.parent < 0 ? "" : " in " + graph.spaces[s.parent].name)],
    ["size", s.size.toLocaleString("en") + (s.extent === s.size ? "" : ` each, ${s.extent.toLocaleString("en")} in all`)]];
  if (s.action) rows.push(["action", s.action], ["group", s.factor]);
  rows.push(["orbits", s.orbits.toLocaleString("en")], ["parameters", String(s.users.length)]);
  if (s.role) rows.push(["role", s.role]);
  rows.push(["why", s.reason || (s.kind === "free" ? "no reason was kept" : "no operation pins it down")]);
  return rows;
}
function paramRows(p) {
  return [["axes", p.axes || "none"], ["shape", p.shape.join(" × ") || "1"], ["kind", p.kind],
    ["numbers", p.numel.toLocaleString("en")], ["orbits", p.orbits.toLocaleString("en")], ["stored as", p.key]];
}
function table(parent, rows) {
  const list = html(parent, "dl");
  for (const [name, value] of rows) { html(list, "dt", name); html(list, "dd", value); }
}
function paramList(parent, names) {
  const box = html(parent, "div", undefined, "params");
  names.slice(0, 60).forEach((k) => {
    const p = graph.params[k], one = html(box, "details"), head = html(one, "summary", p.name);
    head.title = p.axes;
    table(one, paramRows(p));
  });
  if (names.length > 60) html(box, "p", `and ${names.length - 60} more`, "faint");
}
function linkParams(links) { return links.flatMap((k) => graph.links[k].params); }

function select(what) {
  state.selected = what;
  details.replaceChildren();
  details.hidden = !what;
  if (what && what.space !== undefined) {
    const s = graph.spaces[what.space];
    html(details, "h2", s.name);
    html(details, "p", s.kind, "kind " + s.kind);
    table(details, spaceRows(what.space));
    if (s.users.length) html(details, "h3", "Parameters on it");
    paramList(details, s.users);
  } else if (what && what.block !== undefined) {
    const b = graph.blocks[what.block];
    html(details, "h2", b.label);
    table(details, [["block", b.path || "whole network"], ["spaces", String(b.spaces)], ["tensors", String(b.tensors)],
      ["numbers", b.numel.toLocaleString("en")]]);
  } else if (what) {
    const names = linkParams(what.links);
    html(details, "h2", names.length === 1 ? graph.params[names[0]].name : graph.links[what.links[0]].name + (what.links.length > 1 ? ` and ${what.links.length - 1} more` : ""));
    paramList(details, names);
    const first = details.querySelector("details");
    if (first) first.open = true;
  }
  highlight();
}

function highlight() {
  const chosen = state.selected, plan = state.plan;
  layer.classList.toggle("some", !!chosen && chosen.block === undefined);
  layer.querySelectorAll(".on").forEach((node) => node.classList.remove("on"));
  layer.querySelectorAll(".leg").forEach((node) => node.remove());
  if (!chosen || chosen.block !== undefined) return;
  const near = new Set();
  plan.edges.forEach((edge, k) => {
    const names = [...edge.reads, ...edge.writes, ...edge.taps.map((t) => "t" + t)];
    const on = chosen.space !== undefined ? names.includes(plan.at.of[chosen.space]) : edge.links.some((l) => chosen.links.includes(l));
    if (!on) return;
    names.forEach((name) => near.add(name));
    const node = layer.querySelector(`[data-edge="${k}"]`);
    node.classList.add("on");
    const x = edge.port ? edge.port.outer : edge.knot && edge.knot.x, y = edge.port ? edge.port.y : edge.knot && edge.knot.y;
    if (x === undefined || (edge.taps.length && chosen.space !== undefined && plan.at.of[chosen.space][0] !== "t" && plan.edges.length > 60)) return;
    for (const t of new Set(edge.taps)) {
      const to = plan.boxes.get("t" + t);
      el(node, "path", { class: "leg", d: `M${x} ${y}L${to.x} ${to.y - to.r}` });
    }
  });
  if (chosen.space !== undefined) near.add(plan.at.of[chosen.space]);
  layer.querySelectorAll("[data-space]").forEach((node) => {
    if (near.has(plan.at.of[node.dataset.space])) node.classList.add("on");
  });
  layer.querySelectorAll(".card").forEach((node) => { if (near.has("c" + node.dataset.block)) node.classList.add("on"); });
}

function goto(what) {
  if (what.space !== undefined) reveal(graph.spaces[what.space].home);
  else if (what.links) reveal(graph.links[what.links[0]].block);
  render(false);
  select(what);
  const at = what.space !== undefined ? state.plan.at.of[what.space] : null;
  const box = at && (state.plan.boxes.get(at) || state.plan.rails.get(at));
  if (box) return centre(box.x === undefined ? (box.x1 + Math.min(box.x2, box.x1 + 400)) / 2 : box.x, box.y);
  const edge = what.links && state.plan.edges.find((e) => e.links.includes(what.links[0]));
  if (edge && edge.port) centre(edge.port.outer, edge.port.y);
  else if (edge && edge.knot) centre(edge.knot.x, edge.knot.y);
  else if (edge) { const host = state.plan.boxes.get([...edge.writes, ...edge.reads][0]); if (host) centre(host.x, host.y); }
}

// -- pointer, keyboard ----------------------------------------------------------------------------------------------
function whatOf(target) {
  const node = target.closest && target.closest("[data-space],[data-links],[data-block]");
  if (!node || !layer.contains(node)) return null;
  if (node.dataset.space !== undefined) return { space: Number(node.dataset.space) };
  if (node.dataset.block !== undefined) return { block: Number(node.dataset.block) };
  return { links: node.dataset.links.split(" ").map(Number) };
}
function activate(what) {
  if (what.block !== undefined) toggle(what.block); else select(what);
}
picture.addEventListener("click", (event) => {
  if (drag && drag.moved) return;
  const what = whatOf(event.target);
  if (what) activate(what); else select(null);
});
function showTip(what, x, y) {
  tip.replaceChildren();
  if (what.space !== undefined) {
    html(tip, "b", graph.spaces[what.space].name);
    table(tip, spaceRows(what.space));
  } else if (what.block !== undefined) {
    const b = graph.blocks[what.block];
    html(tip, "b", b.label);
    table(tip, [["spaces", String(b.spaces)], ["tensors", String(b.tensors)], ["numbers", b.numel.toLocaleString("en")]]);
  } else {
    const names = linkParams(what.links);
    names.slice(0, 3).forEach((k) => { html(tip, "b", graph.params[k].name); table(tip, paramRows(graph.params[k])); });
    if (names.length > 3) html(tip, "i", `and ${names.length - 3} more`);
  }
  tip.hidden = false;
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = Math.max(4, Math.min(y + 14, innerHeight - tip.offsetHeight - 8)) + "px";
}
picture.addEventListener("pointermove", (event) => {
  const what = drag && drag.moved ? null : whatOf(event.target);
  if (what) showTip(what, event.clientX, event.clientY); else tip.hidden = true;
});
picture.addEventListener("pointerleave", () => { tip.hidden = true; });
picture.addEventListener("focusin", (event) => {
  const what = whatOf(event.target);
  if (!what || !event.target.matches(":focus-visible")) return;
  const box = event.target.getBoundingClientRect();
  showTip(what, box.right, box.bottom);
});
picture.addEventListener("focusout", () => { tip.hidden = true; });
picture.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
  const what = whatOf(event.target);
  if (step) { state.view.x += step[0]; state.view.y += step[1]; place(); }
  else if ((event.key === "Enter" || event.key === " ") && what) activate(what);
  else if (event.key === "+" || event.key === "=") zoom(1.25);
  else if (event.key === "-") zoom(0.8);
  else if (event.key === "0") whole();
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) { search.focus(); event.preventDefault(); }
  if (event.key === "Escape") { search.value = ""; find(""); select(null); tip.hidden = true; }
});

// -- search and the list --------------------------------------------------------------------------------------------
const linkOf = new Map(graph.links.flatMap((link, k) => link.params.map((p) => [p, k])));
function find(text) {
  const wanted = text.trim().toLowerCase();
  hits.replaceChildren();
  hits.hidden = !wanted;
  if (!wanted) return [];
  const found = [];
  graph.spaces.forEach((s, k) => { if (s.name.toLowerCase().includes(wanted)) found.push([s.name, s.kind, { space: k }]); });
  graph.params.forEach((p, k) => { if (p.name.toLowerCase().includes(wanted)) found.push([p.name, "parameter", { links: [linkOf.get(k)] }]); });
  html(hits, "p", found.length ? `${found.length} found` : "nothing by that name", "faint");
  found.slice(0, 200).forEach(([name, kind, what]) => {
    const button = html(hits, "button", undefined, "hit-row");
    html(button, "span", undefined, "swatch " + kind);
    html(button, "span", name);
    button.addEventListener("click", () => goto(what));
  });
  return found;
}
search.addEventListener("input", () => find(search.value));
search.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  const first = find(search.value)[0];
  if (first) goto(first[2]);
});
graph.spaces.forEach((s, k) => {
  const button = html(document.getElementById("spaces"), "button", undefined, "hit-row");
  html(button, "span", undefined, "swatch " + s.kind);
  html(button, "span", s.name);
  html(button, "span", (s.parent < 0 ? "" : graph.spaces[s.parent].extent + "×") + s.size + (s.mark ? " " + s.mark : ""), "size");
  button.addEventListener("click", () => goto({ space: k }));
});

// -- buttons and the address ------------------------------------------------------------------------------------------
const actions = { unfold: unfoldAll, fold: foldAll, fit: whole, in: () => zoom(1.25), out: () => zoom(0.8),
  panel: () => document.body.classList.toggle("no-panel"),
  theme: () => {
    const dark = document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  } };
document.querySelectorAll("[data-do]").forEach((button) => button.addEventListener("click", () => actions[button.dataset.do]()));

function fromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (wanted.get("theme")) document.documentElement.dataset.theme = wanted.get("theme") === "dark" ? "dark" : "light";
  if (wanted.get("unfold") === "all") state.open = new Set(graph.blocks.keys());
  if (wanted.get("fold") === "all") state.open = new Set([0]);
  (wanted.get("open") || "").split(",").filter(Boolean).forEach((path) => {
    const k = graph.blocks.findIndex((b) => b.path === path);
    if (k >= 0) reveal(k);
  });
  const first = !picture.dataset.ready && !["fold", "unfold", "open"].some((key) => wanted.has(key));
  if (first) foldToFit();
  render(true);
  if (first || wanted.get("view") === "whole") whole();
  if (wanted.get("search")) {
    search.value = wanted.get("search");
    const found = find(search.value);
    if (found.length) goto(found[0][2]);
  }
  const k = graph.spaces.findIndex((s) => s.name === wanted.get("select"));
  if (k >= 0) {
    goto({ space: k });
    if (wanted.get("tip")) showTip({ space: k }, picture.clientWidth / 2, picture.clientHeight / 2);
  }
  picture.dataset.ready = "yes";
}
window.addEventListener("hashchange", fromAddress);
fromAddress();
