// The comparison of two selected strategies, subject by subject.
"use strict";

const signed = (value, digits = 4) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);

// Returns {subject, first, second, difference} for each subject, over the runs that both strategies have.
function paired(board, first, second) {
  const [one, other] = [board.scores[first], board.scores[second]];
  const runs = Object.keys(one).filter((run) => run in other);
  return board.subjects.map((subject, index) => {
    const mean = (scores) => {
      const values = runs.map((run) => scores[run][index]).filter((value) => value !== null);
      return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length / 1000 : null;
    };
    const [a, b] = [mean(one), mean(other)];
    return { subject, first: a, second: b, difference: a === null || b === null ? null : a - b };
  }).filter((row) => row.difference !== null);
}

function analysis(board, first, second) {
  const found = board.pairs[`${first}\n${second}`];
  if (found) return found;
  const [mean, low, high, decision, pairs] = board.pairs[`${second}\n${first}`];
  const minus = (value) => (value === null ? null : -value);
  return [minus(mean), minus(high), minus(low), { better: "worse", worse: "better" }[decision] ?? decision, pairs];
}

function showPair(panel, board, first, second, close) {
  const [mean, low, high, decision, pairs] = analysis(board, first, second);
  const rows = paired(board, first, second);
  const interval = low === null ? "" : ` (95 % interval over runs and subjects ${signed(low)} to ${signed(high)})`;
  const sentence = mean === null ? `${decision}.` : `${signed(mean)}${interval} in ${pairs} pair${pairs === 1 ? "" : "s"} of runs: ${decision}.`;
  const plot = element("figure", { class: "plot" });
  const table = element("table", { class: "cases" });
  panel.replaceChildren(
    element("h3", {}, `${first} − ${second}, subject by subject`),
    element("p", { class: "verdict" }, `Difference in test Dice: ${sentence}`),
    element("div", { class: "sides" }, plot,
      element("div", { class: "wide tall", tabindex: 0, role: "region", "aria-label": "Paired differences, scrolls" }, table)),
    element("button", { type: "button", onclick: close }, "Close the comparison"),
  );
  panel.hidden = false;
  const digits = (key) => (row) => (key === "difference" ? signed(row[key], 3) : row[key].toFixed(3));
  const columns = [
    { key: "subject", title: "test subject", help: "Mean over the cases of the subject", best: "" },
    { key: "first", title: first, best: "high", cell: digits("first") },
    { key: "second", title: second, best: "high", cell: digits("second") },
    { key: "difference", title: "difference", best: "high", cell: digits("difference") },
  ];
  const sortable = new SortableTable(table, "Dice by test subject, mean over the runs that both have", () => sortable.show(columns, rows));
  sortable.sort = { key: "difference", descending: true };
  sortable.show(columns, rows);
  if (rows.length) redrawn(plot, () => differences(plot, rows));
}

// Draws the sorted differences as bars; gains of the first strategy are above 0.
function differences(container, rows) {
  const sorted = [...rows].sort((a, b) => b.difference - a.difference);
  const { drawing, x, y } = frame(container, {
    title: "test subjects, sorted", values: [0.5, sorted.length + 0.5], ticks: [1, sorted.length], format: String,
  }, { title: "difference in Dice", values: [0, ...sorted.map((row) => row.difference)], format: (value) => value.toFixed(2) });
  const width = Math.max(1, (x(2) - x(1)) * 0.7);
  sorted.forEach((row, index) => {
    const [top, bottom] = [y(Math.max(row.difference, 0)), y(Math.min(row.difference, 0))];
    const bar = svg("rect", { class: row.difference < 0 ? "loss" : "gain", x: x(index + 1) - width / 2, width, y: top, height: Math.max(bottom - top, 0.5) });
    bar.addEventListener("mouseenter", () => showTip(bar, `${row.subject}: ${signed(row.difference, 3)}`));
    bar.addEventListener("mouseleave", hideTip);
    drawing.append(bar);
  });
  drawing.append(svg("line", { class: "zero", x1: x(0.5), x2: x(sorted.length + 0.5), y1: y(0), y2: y(0) }));
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", "Differences by test subject, sorted; the table beside it has the numbers");
  container.replaceChildren(drawing);
}
