// The page of a run: all test cases, the trajectory, and filters per layer.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);

function drawTrajectory(container) {
  const { drawing, x, y } = frame(container,
    { title: "remaining parameters", values: data.parameters, log: true, reversed: true, format: short },
    { title: "validation Dice", values: data.dice, format: (value) => value.toFixed(2) });
  const points = data.parameters.map((value, index) => `${x(value)},${y(data.dice[index])}`);
  drawing.append(svg("path", { class: "line", d: `M${points.join("L")}` }));
  data.parameters.forEach((value, index) => {
    const dot = svg("circle", { class: "dot", r: 3.5, cx: x(value), cy: y(data.dice[index]) });
    const text = `epoch ${data.epoch[index]}: Dice ${data.dice[index].toFixed(3)}, ${value.toLocaleString("en")} parameters`;
    dot.addEventListener("mouseenter", () => showTip(dot, text));
    dot.addEventListener("mouseleave", hideTip);
    drawing.append(dot);
  });
  container.replaceChildren(drawing);
}

function drawWidths(container) {
  const layers = Math.max(...data.widths.map((width) => width.length));
  const { drawing, x, y } = frame(container, {
    title: "layer (convolution, counted from the input)", values: [0.5, layers + 0.5], format: String,
    ticks: Array.from({ length: layers }, (_, index) => index + 1),
  }, { title: "filters", values: [0, ...data.widths.flat()], zero: true, format: String });
  const step = (x(2) - x(1)) * 0.8;
  const width = step / data.widths.length;
  data.widths.forEach((filters, series) => filters.forEach((count, layer) => {
    drawing.append(svg("rect", {
      class: series ? "best bar" : "first bar", x: x(layer + 1) - step / 2 + series * width, width, y: y(count), height: y(0) - y(count),
    }));
  }));
  const names = data.widths.length > 1 ? ["first checkpoint", "best checkpoint"] : [];
  names.forEach((name, series) => {
    drawing.append(svg("rect", { class: series ? "best" : "first", x: 70 + 140 * series, y: 4, width: 12, height: 12 }));
    drawing.append(svg("text", { class: "name", x: 87 + 140 * series, y: 14 }, name));
  });
  container.replaceChildren(drawing);
}

for (const [id, draw] of [["trajectory", drawTrajectory], ["widths", drawWidths]]) {
  const container = document.getElementById(id);
  if (container) redrawn(container, () => draw(container));
}

const COLUMNS = [
  { key: 0, title: "case", best: "" },
  { key: 1, title: "Dice", help: "Mean over classes", best: "high", cell: (row) => row[1].toFixed(3) },
  { key: 2, title: "HD95", help: "95th percentile of surface distances, mean over classes", best: "low", cell: (row) => row[2].toFixed(2) },
  { key: 3, title: "others", help: "Median Dice of the other strategies on this case", best: "high", cell: (row) => (row[3] === null ? "–" : row[3].toFixed(3)) },
];
const cases = new SortableTable(document.getElementById("cases"), "Sort by clicking a heading; the worst cases come first", () => cases.show(COLUMNS, data.cases));
cases.show(COLUMNS, data.cases);
