// Where everything stands: the graph of the page and which blocks are open in, boxes and edges with places out.
//
// Blocks are boxes in rows of columns; discs (spaces) and cards (folded blocks) have ports on their left, where values
// come in, and on their right, where they leave; rails run above the columns.  Columns, lanes and bundles are given by
// Python; here are only sizes.
"use strict";

const SIZE = { gap: 18, pad: 14, head: 22, lane: 44, port: 16, track: 8, letter: 6.1, tray: 58 };

function radius(extent) { return Math.min(34, 12 + 5 * Math.log10(extent)); }
function width(text) { return Math.min(text.length, 30) * SIZE.letter; }

function counted(n, noun) { return n + " " + noun + (n === 1 ? "" : "s"); }
function cardText(block) {
  return block.stack ? counted(block.children.length, "equal block")
    : counted(block.spaces, "space") + ", " + counted(block.tensors, "tensor");
}

// What stands for a space: its disc ("d3"), its rail ("r3"), the card of a folded block around it ("c7") or a tap.
function anchors(graph, open) {
  const folded = graph.blocks.map((block, k) => foldedAround(graph, open, k));
  const rails = new Set(graph.blocks.flatMap((block) => block.rails.map((rail) => rail[0])));
  const taps = new Set(graph.taps);
  const of = graph.spaces.map((space, k) => {
    if (taps.has(k)) return "t" + k;
    const card = folded[space.home];
    return card >= 0 ? "c" + card : (rails.has(k) ? "r" : "d") + k;
  });
  return { of, folded };
}

function foldedAround(graph, open, block) {
  let found = -1;
  for (let b = block; b >= 0; b = graph.blocks[b].parent) if (!open.has(b) && b !== 0) found = b;
  return found;
}

// Links as they are seen: one by one where both ends are open, bundled where they end in a card.
function edgesOf(graph, at) {
  const edges = [], bundles = new Map();
  const ends = (names) => [...new Set(names.map((k) => at.of[k]))];
  graph.links.forEach((link, k) => {
    const reads = ends(link.reads), writes = ends(link.writes), card = at.folded[link.block];
    const cards = new Set([...reads, ...writes].filter((a) => a[0] === "c"));
    if (card >= 0) cards.add("c" + card);
    if (!cards.size) {
      edges.push({ links: [k], reads, writes, label: link.label, taps: link.taps, loop: link.loop });
      return;
    }
    const inside = card >= 0 ? "c" + card : [...cards][0];
    const bundle = (from, to) => {
      if (from === to) return;
      const key = from + ">" + to;
      if (!bundles.has(key)) {
        bundles.set(key, { links: [], reads: [from], writes: [to], label: "", taps: [], loop: false });
        edges.push(bundles.get(key));
      }
      bundles.get(key).links.push(k);
    };
    reads.forEach((from) => bundle(from, writes.includes(inside) || card >= 0 ? inside : writes[0] || inside));
    writes.forEach((to) => { if (to !== inside) bundle(inside, to); });
  });
  return edges;
}

// Gives every edge a port: a side of one of its boxes.  Edges without a box are knots in a column of their own.
function portsOf(edges) {
  const ports = new Map(), loose = new Map(), knots = new Map();
  const add = (map, key, value) => { if (!map.has(key)) map.set(key, []); map.get(key).push(value); };
  const isBox = (a) => a[0] === "d" || a[0] === "c";
  for (const edge of edges) {
    const written = edge.writes.filter(isBox), read = edge.reads.filter(isBox);
    if (!written.length && !read.length) { knots.set(edge.links[0], edge); continue; }
    const joined = new Set([...edge.reads, ...edge.writes]);
    if (joined.size === 1) { add(loose, [...joined][0], edge); continue; }
    edge.side = written.length ? "left" : "right";
    edge.main = written.length ? written[0] : read[read.length - 1];
    add(ports, edge.main + edge.side, edge);
  }
  return { ports, loose, knots };
}

function layout(graph, open) {
  const at = anchors(graph, open), edges = edgesOf(graph, at), { ports, loose, knots } = portsOf(edges);
  const onRail = (edge) => [...edge.reads, ...edge.writes].some((a) => a[0] === "r");
  const boxes = new Map(), places = new Map(), rails = new Map(), frames = [];

  function disc(k) {
    const space = graph.spaces[k], r = radius(space.extent);
    const left = ports.get("d" + k + "left") || [], right = ports.get("d" + k + "right") || [];
    const pins = (loose.get("d" + k) || []);
    const ported = SIZE.port * Math.max(left.length, right.length);
    const lines = 1 + Math.min(pins.length, 3);
    return { id: "d" + k, w: 2 * r, h: 2 * r, r, left, right, pins, cell: Math.max(2 * r, ported) + 13 * lines + 12,
      body: Math.max(2 * r, width(space.short), ...pins.map((edge) => width(edge.label) + 10)), top: Math.max(r, ported / 2) };
  }
  function card(k) {
    const block = graph.blocks[k];
    const w = Math.max(104, 1.22 * width(block.label) + 32, 0.96 * width(cardText(block)) + 14, Math.min(block.dots.length, 12) * 11 + 20), h = block.stack ? 74 : 66;
    const left = ports.get("c" + k + "left") || [], right = ports.get("c" + k + "right") || [];
    const high = Math.max(h, 10 * Math.max(left.length, right.length));
    return { id: "c" + k, w, h, left, right, pins: [], cell: high + 12, body: w + (block.stack ? 8 : 0), top: high / 2 };
  }
  function item(code) {
    const k = Number(code.slice(1));
    if (code[0] === "b") {
      if (open.has(k)) { const inner = block(k); return { block: k, inner, w: inner.w, h: inner.h, boxes: [] }; }
      const box = card(k);
      return { boxes: [box], w: box.body, h: box.cell };
    }
    if (code[0] === "s") {
      const found = [k, ...graph.spaces[k].below].map(disc);
      return { boxes: found, w: Math.max(...found.map((b) => b.body)), h: found.reduce((sum, b) => sum + b.cell, 0) };
    }
    const edge = knots.get(k);
    return { knot: k, edge, boxes: [], w: Math.max(16, width(edge ? edge.label : "") + 8), h: 26 };
  }
  function gutter(items, side) {
    const all = items.flatMap((one) => one.boxes.flatMap((box) => box[side]));
    const label = Math.max(0, ...all.map((edge) => (edge.label ? width(edge.label + tapText(graph, edge)) + 12 : 8)));
    const tracks = all.filter(onRail).length;
    return { label, tracks, w: all.length ? label + 12 + tracks * SIZE.track : 0 };
  }
  function block(k) {
    const source = graph.blocks[k], lanes = Math.max(0, ...source.rails.map((rail) => rail[1] + 1));
    const columns = source.columns.map((codes) => {
      const items = codes.map(item), left = gutter(items, "left"), right = gutter(items, "right");
      const body = Math.max(0, ...items.map((one) => one.w));
      const h = items.reduce((sum, one) => sum + one.h, 0) + SIZE.gap * (items.length - 1);
      return { items, left, right, body, w: left.w + body + right.w, h };
    });
    const head = (k === 0 ? 0 : SIZE.head) + lanes * SIZE.lane, before = lanes ? 46 : SIZE.pad;
    const single = columns.filter((c) => c.items.length === 1 && c.items[0].boxes.length === 1).map((c) => c.items[0].boxes[0]);
    const axis = Math.max(Math.max(20, ...columns.map((c) => c.h)) / 2 - 10, ...single.map((box) => box.top + 4));
    const most = Math.max(20, ...columns.map((c) => c.h), ...single.map((box) => axis + box.cell - box.top - 4));
    const w = columns.reduce((sum, c) => sum + c.w, 0) + SIZE.gap * Math.max(0, columns.length - 1) + before + SIZE.pad;
    return { k, columns, head, before, most, lanes, axis, w: Math.max(w, k === 0 ? 0 : width(source.label) + 50),
      h: head + most + 2 * SIZE.pad };
  }
  function put(inner, x, y, depth) {
    const source = graph.blocks[inner.k];
    frames.push({ block: inner.k, x, y, w: inner.w, h: inner.h, depth });
    for (const [space, lane] of source.rails) {
      rails.set("r" + space, { id: "r" + space, space, y: y + (inner.k === 0 ? 4 : SIZE.head) + lane * SIZE.lane + 24, xs: [] });
    }
    const blocky = inner.columns.some((c) => c.items.some((one) => one.block !== undefined || one.boxes.some((b) => b.id[0] === "c")));
    let cx = x + inner.before;
    for (const column of inner.columns) {
      const alone = column.items.length === 1 && column.items[0].boxes.length === 1;
      let cy = y + inner.head + SIZE.pad + (blocky ? 0 : (inner.most - column.h) / 2);
      if (!column.items.some((one) => one.boxes.length)) cy = y + inner.head + SIZE.pad;
      if (alone && !blocky) cy = y + inner.head + SIZE.pad + inner.axis - column.items[0].boxes[0].top - 4;
      const middle = cx + column.left.w + column.body / 2, track = { left: 0, right: 0 };
      for (const one of column.items) {
        if (one.block !== undefined) put(one.inner, cx + column.left.w + (column.body - one.w) / 2, cy, depth + 1);
        if (one.knot !== undefined && one.edge) one.edge.knot = { x: middle, y: cy + 12, top: cy };
        let by = cy;
        for (const box of one.boxes) {
          const place = { ...box, x: middle, y: by + box.top + 4 };
          boxes.set(box.id, place);
          for (const side of ["left", "right"]) portsAt(place, side, column, track, middle);
          by += box.cell;
        }
        cy += one.h + SIZE.gap;
      }
      cx += column.w + SIZE.gap;
    }
  }
  function portsAt(place, side, column, track, middle) {
    const sign = side === "left" ? -1 : 1, list = place[side], step = place.id[0] === "c" ? 10 : SIZE.port;
    list.forEach((edge, k) => {
      const py = place.y + (k - (list.length - 1) / 2) * step;
      const inner = middle + sign * (column.body / 2 + 3);
      let outer = inner + sign * (column[side].label + 4);
      if (onRail(edge)) outer += sign * SIZE.track * track[side]++;
      edge.port = { side, y: py, inner, outer, label: inner + sign * 6 };
    });
  }
  const root = block(0);
  put(root, 0, 0, 0);
  for (const edge of edges) {
    const x = edge.port ? edge.port.outer : edge.knot && edge.knot.x;
    for (const a of [...edge.reads, ...edge.writes]) if (a[0] === "r" && x !== undefined) rails.get(a).xs.push(x);
  }
  for (const rail of rails.values()) {
    const frame = frames.find((f) => f.block === graph.spaces[rail.space].home);
    rail.r = Math.min(16, radius(graph.spaces[rail.space].extent));
    rail.x1 = rail.xs.length ? Math.min(...rail.xs) - 24 : frame.x + 30;
    rail.x2 = Math.max(rail.x1 + 60, ...rail.xs.map((x) => x + 14));
  }
  const bottom = root.h + 8;
  graph.taps.forEach((k, n) => {
    const r = Math.min(15, radius(graph.spaces[k].extent));
    boxes.set("t" + k, { id: "t" + k, x: 40 + n * 74, y: bottom + 20, w: 2 * r, h: 2 * r, r, left: [], right: [], pins: [] });
  });
  const w = Math.max(root.w, 40 + graph.taps.length * 74);
  return { w, h: root.h + (graph.taps.length ? SIZE.tray : 0), boxes, rails, frames, edges, at };
}

function tapText(graph, edge) {
  return edge.taps.length ? " " + edge.taps.map((k) => graph.spaces[k].size).join("×") : "";
}
