// The picture: boxes and edges with places in, SVG out.  Names only ever become text nodes and attributes.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

function el(parent, tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const name in attributes) made.setAttribute(name, attributes[name]);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
}

function short(text, most = 30) { return text.length > most ? text.slice(0, most - 1) + "…" : text; }
function compact(n) {
  if (n < 100000) return String(n);
  const [unit, size] = n < 1e6 ? ["k", 1e3] : n < 1e9 ? ["M", 1e6] : ["G", 1e9];
  return Number((n / size).toPrecision(3)) + unit;
}

function draw(graph, plan, layer) {
  layer.replaceChildren();
  const groups = {};
  for (const name of ["frames", "lines", "rails", "boxes", "marks"]) groups[name] = el(layer, "g", { class: name });
  for (const frame of plan.frames) drawFrame(graph, frame, groups.frames);
  for (const rail of plan.rails.values()) drawRail(graph, rail, groups.rails);
  drawFamilies(graph, plan, groups.lines);
  plan.edges.forEach((edge, k) => drawEdge(graph, plan, edge, k, groups));
  for (const box of plan.boxes.values()) {
    if (box.id[0] === "c") drawCard(graph, box, groups.boxes);
    else drawDisc(graph, box, groups.boxes);
  }
}

function drawFrame(graph, frame, layer) {
  if (frame.block === 0) return;
  const block = graph.blocks[frame.block];
  const group = el(layer, "g", { class: "frame" + (block.stack ? " stack" : "") + (frame.depth % 2 ? " odd" : "") });
  el(group, "rect", { x: frame.x, y: frame.y, width: frame.w, height: frame.h, rx: 9 });
  const head = el(group, "g", { class: "head", tabindex: 0, role: "button", "data-block": frame.block,
    "aria-label": "fold " + block.label, "aria-expanded": "true" });
  el(head, "rect", { x: frame.x, y: frame.y, width: frame.w, height: 21, rx: 9 });
  el(head, "text", { x: frame.x + 10, y: frame.y + 15 }, "▾ " + short(block.label, Math.max(8, Math.floor((frame.w - 26) / 6.4))));
}

function spaceNode(graph, k, layer, extra) {
  const space = graph.spaces[k];
  return el(layer, "g", { class: "space " + space.kind + extra, tabindex: 0, role: "button", "data-space": k,
    "data-name": space.name, "aria-label": "space " + space.name + ", " + space.kind + ", " + space.extent });
}

function sizeText(graph, k) {
  const space = graph.spaces[k];
  if (space.parent < 0) return compact(space.size);
  return graph.spaces[space.parent].extent + "×" + space.size;
}

function drawRail(graph, rail, layer) {
  const space = graph.spaces[rail.space], thick = 4 + 2.2 * Math.log10(space.extent);
  const group = spaceNode(graph, rail.space, layer, " rail");
  el(group, "rect", { class: "bar", x: rail.x1, y: rail.y - thick / 2, width: rail.x2 - rail.x1, height: thick, rx: thick / 2 });
  el(group, "circle", { class: "disc", cx: rail.x1, cy: rail.y, r: rail.r });
  el(group, "text", { class: "size", x: rail.x1, y: rail.y + 3.5, "text-anchor": "middle" }, sizeText(graph, rail.space));
  const what = space.role && space.role !== space.short ? " · " + space.role : "";
  el(group, "text", { class: "name", x: rail.x1 + rail.r + (space.mark ? 11 : 5), y: rail.y - thick / 2 - 5 }, short(space.short + what, 44));
  if (space.mark) mark(group, rail.x1 + rail.r * 0.8, rail.y - rail.r * 0.8, space.mark);
}

function mark(group, x, y, text) {
  el(group, "circle", { class: "badge", cx: x, cy: y, r: text.length > 1 ? 9 : 7 });
  el(group, "text", { class: "mark", x, y: y + 3.5, "text-anchor": "middle" }, text);
}

function drawDisc(graph, box, layer) {
  const k = Number(box.id.slice(1)), space = graph.spaces[k];
  const group = spaceNode(graph, k, layer, box.id[0] === "t" ? " tap" : "");
  el(group, "circle", { class: "disc", cx: box.x, cy: box.y, r: box.r });
  if (space.kind === "nested") el(group, "circle", { class: "ring", cx: box.x, cy: box.y, r: box.r - 3 });
  el(group, "text", { class: "size", x: box.x, y: box.y + 3.8, "text-anchor": "middle" }, sizeText(graph, k));
  const under = box.y + (box.top === undefined ? box.r : box.top) + 13;
  el(group, "text", { class: "name", x: box.x, y: under, "text-anchor": "middle" }, short(space.short));
  if (space.mark) mark(group, box.x + box.r * 0.75, box.y - box.r * 0.75, space.mark);
}

function drawCard(graph, box, layer) {
  const k = Number(box.id.slice(1)), block = graph.blocks[k];
  const group = el(layer, "g", { class: "card" + (block.stack ? " stack" : ""), tabindex: 0, role: "button", "data-block": k,
    "aria-label": "unfold " + block.label, "aria-expanded": "false" });
  const x = box.x - box.w / 2, y = box.y - box.h / 2;
  for (const d of block.stack ? [8, 4, 0] : [0]) el(group, "rect", { x: x + d, y: y - d, width: box.w, height: box.h, rx: 8 });
  el(group, "text", { class: "title", x: box.x, y: y + 17, "text-anchor": "middle" }, "▸ " + short(block.label, 28));
  const inside = cardText(block);
  el(group, "text", { class: "sub", x: box.x, y: y + 31, "text-anchor": "middle" }, inside);
  if (block.stack) el(group, "text", { class: "sub", x: box.x, y: y + 44, "text-anchor": "middle" }, compact(block.numel) + " numbers");
  const dots = block.dots.slice(0, 12), across = 11;
  dots.forEach((kind, n) => el(group, "circle", { class: "dot " + kind, r: 4,
    cx: box.x + (n - (dots.length - 1) / 2) * across, cy: y + box.h - 13 }));
}

function drawFamilies(graph, plan, layer) {
  graph.spaces.forEach((space, k) => {
    const child = plan.boxes.get("d" + k), parent = plan.boxes.get("d" + space.parent) || plan.rails.get("r" + space.parent);
    if (!child || !parent || space.parent < 0) return;
    const x = parent.x === undefined ? child.x : parent.x;
    const from = x - (parent.r || 0) * 0.6, to = child.x - child.r * 0.8, bend = Math.min(from, to) - 16;
    el(layer, "path", { class: "family", d: `M${from} ${parent.y}C${bend} ${parent.y + 20} ${bend} ${child.y - 20} ${to} ${child.y - child.r * 0.5}` });
  });
}

function drawEdge(graph, plan, edge, number, groups) {
  const group = el(groups.lines, "g", { class: "link" + (edge.label ? "" : " bundle"), "data-edge": number,
    "data-links": edge.links.join(" ") });
  const text = edge.label + tapText(graph, edge);
  if (edge.knot) return drawKnot(plan, edge, group, groups.marks, text, number);
  if (!edge.port) return drawLoose(plan, edge, group, text);
  const main = plan.boxes.get(edge.main), port = edge.port, sign = port.side === "left" ? -1 : 1;
  const half = main.id[0] === "c" ? main.w / 2 : main.r * 0.96, dy = Math.max(-0.7, Math.min(0.7, (port.y - main.y) / (main.r || 40)));
  const ex = main.x + sign * (main.id[0] === "c" ? half + 1 : Math.sqrt(1 - dy * dy) * main.r + 1);
  const ey = main.id[0] === "c" ? port.y : main.y + dy * main.r;
  const into = edge.writes.includes(edge.main);
  const stub = into ? `M${port.outer} ${port.y}H${port.inner}L${ex} ${ey}` : `M${ex} ${ey}L${port.inner} ${port.y}H${port.outer}`;
  path(group, stub, into);
  const ends = [...edge.reads.map((a) => [a, false]), ...edge.writes.map((a) => [a, true])].filter(([a]) => a !== edge.main);
  for (const [a, written] of ends) {
    const rail = plan.rails.get(a), box = plan.boxes.get(a);
    if (rail) {
      const d = written ? `M${port.outer} ${port.y}V${rail.y + 6}` : `M${port.outer} ${rail.y}V${port.y}`;
      path(group, d, written);
      el(group, "circle", { class: "join", cx: port.outer, cy: rail.y, r: 2.6 });
    } else if (box) {
      const s = box.x <= port.outer ? 1 : -1, edgeX = box.x + s * ((box.id[0] === "c" ? box.w / 2 : box.r) + 1);
      const bend = Math.max(24, Math.abs(port.outer - edgeX) / 2);
      const d = `M${edgeX} ${box.y}C${edgeX + s * bend} ${box.y} ${port.outer - s * bend} ${port.y} ${port.outer} ${port.y}`;
      path(group, d, false);
    }
  }
  if (ends.length > 1 || edge.taps.length) el(group, "rect", { class: "knot", x: port.outer - 3.5, y: port.y - 3.5, width: 7, height: 7 });
  if (text) label(group, port.label, port.y - 3.5, text, port.side === "left" ? "end" : "start", edge, graph);
}

function path(group, d, arrow) {
  el(group, "path", { class: "hit", d });
  el(group, "path", arrow ? { class: "line", d, "marker-end": "url(#arrow)" } : { class: "line", d });
}

function label(group, x, y, text, anchor) {
  el(group, "text", { class: "label", x, y, "text-anchor": anchor }, short(text, 30));
}

function drawKnot(plan, edge, group, marks, text) {
  const rails = [...new Set([...edge.reads, ...edge.writes])].map((a) => plan.rails.get(a)).filter(Boolean);
  const { x, y } = edge.knot;
  if (rails.length === 1) {
    path(group, `M${x} ${y - 9}V${rails[0].y}`, false);
    el(group, "rect", { class: "knot", x: x - 4, y: y - 9, width: 8, height: 8 });
  } else {
    for (const rail of rails) {
      const written = edge.writes.includes(rail.id);
      path(group, written ? `M${x} ${y - 6}V${rail.y + 6}` : `M${x} ${rail.y}V${y - 6}`, written);
      el(group, "circle", { class: "join", cx: x, cy: rail.y, r: 2.6 });
    }
    el(group, "rect", { class: "knot", x: x - 4, y: y - 9, width: 8, height: 8 });
  }
  label(group, x, y + 11, text, "middle");
}

function drawLoose(plan, edge, group, text) {
  const a = [...edge.reads, ...edge.writes][0], box = plan.boxes.get(a);
  const row = box.pins.indexOf(edge);
  if (edge.loop) {
    const x = box.x + box.r * 0.7, y = box.y - box.r * 0.7;
    path(group, `M${x} ${y}c4 -22 26 -14 12 8`, true);
  }
  if (row > 2 || row < 0) return;
  const y = box.y + box.top + 13 + 12 * (row + 1);
  el(group, "rect", { class: "knot", x: box.x - width(text) / 2 - 9, y: y - 8, width: 6, height: 6 });
  const more = row === 2 && box.pins.length > 3 ? `${text} +${box.pins.length - 3}` : text;
  label(group, box.x + 2, y, more, "middle");
}
