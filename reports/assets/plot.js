// Plots as SVG, drawn at the width that the page has for them.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 56, right: 16, top: 14, bottom: 46 };

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const polygon = (...points) => `M${points.map((point) => point.join(",")).join("L")}Z`;
const corners = (count, radius, turn, inner = radius) => Array.from({ length: count }, (_, index) => {
  const angle = (2 * Math.PI * index) / count + turn;
  const r = index % 2 ? inner : radius;
  return [(r * Math.cos(angle)).toFixed(2), (r * Math.sin(angle)).toFixed(2)];
});
const UP = -Math.PI / 2;
const PLUS = "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4Z";
// Shapes by matplotlib's names of markers.
const SHAPES = {
  o: "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0Z", s: polygon(...corners(4, 6.4, Math.PI / 4)),
  "^": polygon(...corners(3, 6.6, UP)), v: polygon(...corners(3, 6.6, -UP)), "<": polygon(...corners(3, 6.6, Math.PI)),
  ">": polygon(...corners(3, 6.6, 0)), D: polygon(...corners(4, 6.4, 0)), P: PLUS, X: PLUS,
  "*": polygon(...corners(10, 7.2, UP, 3)), h: polygon(...corners(6, 6, UP)),
};

function mark(look, pale = false) {
  const made = svg("path", {
    d: SHAPES[look.marker], class: pale ? "mark pale" : "mark", transform: look.marker === "X" ? "rotate(45)" : null,
  });
  made.style.setProperty("--day", look.colour);
  made.style.setProperty("--night", look.night);
  return made;
}

function swatch(look) {
  return svg("svg", { viewBox: "-8 -8 16 16", width: 16, height: 16, "aria-hidden": "true", class: "swatch" }, mark(look));
}

function linearTicks(low, high, count = 5) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const ticks = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6; at += step) ticks.push(Number(at.toPrecision(12)));
  return ticks;
}

function logTicks(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const factor of [1, 2, 5]) {
      const at = factor * 10 ** power;
      if (at >= low && at <= high) ticks.push(at);
    }
  }
  return ticks;
}

const unitOf = (number) => [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([each]) => number >= each * 0.9995) ?? [1, ""];

function short(number) {
  const [factor, unit] = unitOf(number);
  return unit ? `${Number((number / factor).toPrecision(3))} ${unit}` : String(Number(number.toPrecision(3)));
}

// Axes: {title, values, log, reversed, format}. Returns the scales and the svg with grid and ticks.
function frame(container, x, y) {
  const width = Math.max(container.clientWidth, 240);
  const height = Math.round(Math.min(420, Math.max(260, width * 0.62)));
  const scale = (axis, start, end) => {
    let [low, high] = [Math.min(...axis.values), Math.max(...axis.values)];
    if (axis.log) [low, high] = [low / 1.25, high * 1.25];
    else { const room = (high - low) * 0.07 || Math.abs(high) * 0.1 || 1; [low, high] = [low - room, high + room]; }
    if (axis.zero) low = 0;
    const f = axis.log ? Math.log : (value) => value;
    const place = (value) => start + ((f(value) - f(low)) / (f(high) - f(low))) * (end - start);
    const at = axis.reversed ? (value) => start + end - place(value) : place;
    const ticks = axis.ticks ?? (axis.log ? logTicks(low, high) : linearTicks(low, high));
    return { at, ticks };
  };
  const [left, right, top, bottom] = [MARGIN.left, width - MARGIN.right, MARGIN.top, height - MARGIN.bottom];
  const across = scale(x, left, right);
  const up = scale(y, bottom, top);
  const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
  for (const tick of up.ticks) {
    drawing.append(svg("line", { class: "grid", x1: left, x2: right, y1: up.at(tick), y2: up.at(tick) }));
    drawing.append(svg("text", { class: "tick", x: left - 7, y: up.at(tick) + 4, "text-anchor": "end" }, y.format(tick)));
  }
  let last = -Infinity;
  for (const tick of [...across.ticks].sort((a, b) => across.at(a) - across.at(b))) {
    drawing.append(svg("line", { class: "grid", x1: across.at(tick), x2: across.at(tick), y1: top, y2: bottom }));
    if (across.at(tick) - last < 34) continue;
    last = across.at(tick);
    drawing.append(svg("text", { class: "tick", x: last, y: bottom + 17, "text-anchor": "middle" }, x.format(tick)));
  }
  drawing.append(svg("text", { class: "axis", x: (left + right) / 2, y: height - 8, "text-anchor": "middle" }, x.title));
  drawing.append(svg("text", {
    class: "axis", transform: `translate(13 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle",
  }, y.title));
  return { drawing, x: across.at, y: up.at, box: { left, right, top, bottom } };
}

// Points: {strategy, x, y, low, high, look, pale, front, label}. Calls back with a strategy, or null.
function scatter(container, points, axis, { selected, hover, select }) {
  const known = points.filter((point) => point.x !== null && point.x !== undefined);
  const bounds = known.flatMap((point) => [point.low ?? point.y, point.high ?? point.y]);
  const { drawing, x, y, box } = frame(container, { ...axis, values: known.map((point) => point.x) }, {
    title: "test Dice", values: bounds, format: (value) => value.toFixed(2),
  });
  drawing.setAttribute("role", "group");
  drawing.setAttribute("aria-label", `Dice against ${axis.title}; the table has the same numbers`);
  const front = known.filter((point) => point.front).sort((a, b) => a.x - b.x);
  if (front.length) {
    const steps = front.map((point, index) => (index ? `H${x(point.x)}V${y(point.y)}` : `M${x(point.x)},${y(point.y)}`));
    drawing.append(svg("path", { class: "front", d: `${steps.join("")}H${box.right}` }));
  }
  for (const point of known) {
    if (point.low !== null) drawing.append(svg("line", { class: "interval", x1: x(point.x), x2: x(point.x), y1: y(point.low), y2: y(point.high) }));
  }
  const placed = known.map((point) => ({ left: x(point.x) - 7, right: x(point.x) + 7, top: y(point.y) - 7, bottom: y(point.y) + 7 }));
  for (const point of [...known].sort((a, b) => Number(b.front) - Number(a.front))) label(drawing, point, x(point.x), y(point.y), placed, box);
  for (const point of known) {
    const chosen = selected.includes(point.strategy);
    const dot = svg("g", {
      class: "point", transform: `translate(${x(point.x)} ${y(point.y)})`, tabindex: 0, role: "button",
      "aria-pressed": String(chosen), "aria-label": point.label, "data-strategy": point.strategy,
    }, svg("circle", { r: 11, class: "halo" }), mark(point.look, point.pale));
    const enter = () => { showTip(dot, point.label); hover(point.strategy); };
    const leave = () => { hideTip(); hover(null); };
    dot.addEventListener("mouseenter", enter);
    dot.addEventListener("focus", enter);
    dot.addEventListener("mouseleave", leave);
    dot.addEventListener("blur", leave);
    dot.addEventListener("click", () => select(point.strategy));
    dot.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); select(point.strategy); }
    });
    drawing.append(dot);
  }
  container.replaceChildren(drawing);
}

// Writes the name beside its point where there is room; otherwise the mark in the table names it.
function label(drawing, point, px, py, placed, box) {
  const width = point.strategy.length * 6.4;
  const spots = [[9, 4, "start"], [-9, 4, "end"], [0, -11, "middle"], [0, 20, "middle"], [9, -8, "start"], [-9, -8, "end"], [9, 16, "start"], [-9, 16, "end"]];
  for (const [dx, dy, anchor] of spots) {
    const left = px + dx - (anchor === "end" ? width : anchor === "middle" ? width / 2 : 0);
    const area = { left, right: left + width, top: py + dy - 10, bottom: py + dy + 3 };
    const inside = area.left >= box.left && area.right <= box.right + 12 && area.top >= box.top && area.bottom <= box.bottom;
    const free = placed.every((each) => each.right <= area.left || each.left >= area.right || each.bottom <= area.top || each.top >= area.bottom
      || (each.left === px - 7 && each.top === py - 7));
    if (!inside || !free) continue;
    placed.push(area);
    drawing.append(svg("text", { class: "name", x: px + dx, y: py + dy, "text-anchor": anchor }, point.strategy));
    return;
  }
}

// Draws again when the width changes.
function redrawn(container, draw) {
  let width = 0;
  new ResizeObserver(() => {
    if (Math.abs(container.clientWidth - width) < 2) return;
    width = container.clientWidth;
    draw();
  }).observe(container);
}
