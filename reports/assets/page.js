// Sortable and filterable tables, and plots. tables.js provides jQuery and DataTables, plotly.js provides Plotly.
"use strict";

const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star", "pentagon", "hexagon"];
const LAYOUT = {
  margin: { l: 60, r: 15, t: 30, b: 55 }, hovermode: "closest", font: { family: "system-ui, sans-serif", size: 13 },
};
const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
const INITIALISED = new Set(); // indices of the leaderboards whose tables and plots exist

function showBoard(index) {
  document.querySelectorAll("section.board").forEach((section, number) => { section.hidden = number !== index; });
  const section = document.getElementById(`board-${index}`);
  if (!section || INITIALISED.has(index)) return;
  INITIALISED.add(index); // A leaderboard is initialised when it is first shown, so that the page opens fast.
  makeSortable(section.querySelector("table.leaderboard"), [[0, "asc"]], "Filter strategies");
  makeSortable(section.querySelector("table.runs"), [], "Filter runs");
  const points = JSON.parse(section.querySelector("script.points").textContent);
  const plots = [...section.querySelectorAll(".plot")];
  plots.forEach((plot) => { plot.hidden = points.every((point) => point[plot.dataset.x] === null); });
  plots.filter((plot) => !plot.hidden).forEach((plot) => drawFront(section, plot, points));
}

const MISSING = 1e300; // Stands for a missing number in the tables; it is last in both sort directions.

function orderMissingLast() {
  window.jQuery.fn.dataTable.ext.type.order["num-desc"] = (a, b) => (a === MISSING) - (b === MISSING) || b - a;
}

function makeSortable(table, order, label) {
  window.jQuery(table).DataTable({
    order, paging: table.rows.length > 60, pageLength: 50, info: false, autoWidth: false,
    language: { search: label, emptyTable: "no rows" },
    layout: { topStart: "search", topEnd: null, bottomStart: null, bottomEnd: table.rows.length > 60 ? "paging" : null },
  });
}

function drawFront(section, element, points) {
  const x = element.dataset.x;
  const known = points.filter((point) => point[x] !== null);
  const colours = JSON.parse(document.getElementById("colours").textContent);
  const mark = x === "parameters" ? "small" : "fast";
  const name = x === "parameters" ? "parameters" : "latency relative to standard";
  const traces = known.map((point) => {
    return {
      x: [point[x]], y: [point.dice], name: point.strategy, mode: "markers", customdata: [point.strategy],
      marker: { size: 11, color: colours[point.place % colours.length], symbol: SYMBOLS[point.place % SYMBOLS.length] },
      error_y: point.dice_low === null ? undefined : {
        type: "data", symmetric: false, array: [point.dice_high - point.dice],
        arrayminus: [point.dice - point.dice_low], thickness: 1, color: "#8c959f",
      },
      hovertemplate: `<b>${escaped(point.strategy)}</b><br>Dice %{y:.3f}<br>${name} %{x:,}` +
        `<br>${point.parameters.toLocaleString("en")} parameters<extra></extra>`,
    };
  });
  const front = known.filter((point) => point[mark]).sort((a, b) => a[x] - b[x]);
  traces.unshift({
    x: front.map((point) => point[x]), y: front.map((point) => point.dice), mode: "lines", name: "Pareto front",
    line: { color: "#8c959f", width: 1 }, hoverinfo: "skip",
  });
  Plotly.newPlot(element, traces, {
    ...LAYOUT, legend: { orientation: "h", y: -0.22 },
    xaxis: { title: { text: name }, type: x === "parameters" ? "log" : "linear", exponentformat: "SI", dtick: x === "parameters" ? "D2" : undefined },
    yaxis: { title: { text: "test Dice" } },
  }, CONFIG).then(() => {
    element.on("plotly_hover", (event) => highlightRow(section, event.points[0].customdata));
    element.on("plotly_unhover", () => highlightRow(section, null));
  });
}

function highlightRow(section, strategy) {
  section.querySelectorAll("table.leaderboard tbody tr").forEach((row) => {
    row.classList.toggle("pointed", strategy !== null && row.dataset.strategy === String(strategy));
  });
}

function escaped(text) {
  return text.replace(/[&<>]/g, (character) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[character]);
}

function drawRun(data) {
  const trajectory = document.querySelector('[data-plot="trajectory"]');
  const widths = document.querySelector('[data-plot="widths"]');
  trajectory.hidden = data.dice.length < 2;
  widths.hidden = data.widths.length === 0;
  if (!trajectory.hidden) Plotly.newPlot(trajectory, [{
    x: data.parameters, y: data.dice, text: data.epoch.map((epoch) => `epoch ${epoch}`), mode: "lines+markers",
    line: { color: "#0072B2" }, hovertemplate: "Dice %{y:.3f}<br>%{x:,} parameters<br>%{text}<extra></extra>",
  }], {
    ...LAYOUT, xaxis: { title: { text: "remaining parameters" }, type: "log", autorange: "reversed" },
    yaxis: { title: { text: "validation Dice" } },
  }, CONFIG);
  if (!widths.hidden) Plotly.newPlot(widths, data.widths.map((width, index) => ({
    x: width.map((_, layer) => layer + 1), y: width, type: "bar", name: index ? "best checkpoint" : "first checkpoint",
    marker: { color: index ? "#D55E00" : "#8c959f" },
  })), {
    ...LAYOUT, barmode: "group", legend: { orientation: "h", y: 1.12 },
    xaxis: { title: { text: "layer (convolution, counted from the input)" } }, yaxis: { title: { text: "filters" } },
  }, CONFIG);
}

const select = document.getElementById("board");
if (select) {
  select.addEventListener("change", () => showBoard(Number(select.value)));
  orderMissingLast();
  showBoard(Number(select.value) || 0);
} else {
  drawRun(JSON.parse(document.getElementById("data").textContent));
}
