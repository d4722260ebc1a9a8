// The leaderboards: one is shown at a time; its state is in the address, so that a link opens the same view.
"use strict";

const LIMITS = [
  { key: "parameters", title: "parameters" }, { key: "flops", title: "FLOPs" },
  { key: "latency_ratio", title: "latency (× standard)", plain: true }, { key: "epochs", title: "epochs" },
];
const NAMED = 6; // most strategies that an answer names
const PHONE = ["strategy", "dice", "parameters"]; // first on narrow screens
const narrow = window.matchMedia("(max-width: 40rem)");
const byId = (id) => document.getElementById(id);
const chooser = byId("board");
const BOARDS = new Map();
const state = { board: chooser.value, limits: {}, filter: "", columns: null, sort: null, selected: [], open: [] };

function current() {
  if (!BOARDS.has(state.board)) BOARDS.set(state.board, JSON.parse(byId(`data-${state.board}`).textContent));
  return BOARDS.get(state.board);
}

// ---- state in the address

function readAddress() {
  const words = new URLSearchParams(location.hash.slice(1));
  const list = (name) => (words.get(name) ? JSON.parse(words.get(name)) : []);
  const known = [...chooser.options].some((option) => option.value === words.get("board"));
  state.board = known ? words.get("board") : [...chooser.options].find((option) => option.defaultSelected)?.value ?? chooser.value;
  const names = current().rows.map((row) => row.raw.strategy);
  state.limits = {};
  for (const { key } of LIMITS) if (parsed(words.get(key)) !== null) state.limits[key] = parsed(words.get(key));
  state.filter = words.get("filter") ?? "";
  try {
    state.selected = list("selected").filter((name) => names.includes(name)).slice(0, 2);
    state.open = list("open");
    state.columns = words.has("columns") ? list("columns") : null;
  } catch { state.selected = state.open = []; state.columns = null; }
  const [key, direction] = (words.get("sort") ?? "").split(" ");
  state.sort = current().columns.some((column) => column.key === key) ? { key, descending: direction === "desc" } : null;
}

function writeAddress() {
  const words = new URLSearchParams({ board: state.board });
  for (const [key, limit] of Object.entries(state.limits)) words.set(key, String(limit));
  if (state.filter) words.set("filter", state.filter);
  for (const name of ["selected", "open"]) if (state[name].length) words.set(name, JSON.stringify(state[name]));
  if (state.columns) words.set("columns", JSON.stringify(state.columns));
  if (state.sort) words.set("sort", `${state.sort.key} ${state.sort.descending ? "desc" : "asc"}`);
  history.replaceState(null, "", `#${words}`);
}

// ---- budget

// Returns the number of a text such as "20k" or "0.9"; null if it is none above 0.
function parsed(text) {
  const found = /^\s*(\d+\.?\d*|\.\d+)\s*([kmg]?)\s*$/i.exec(text ?? "");
  const value = found ? Number(found[1]) * { "": 1, k: 1e3, m: 1e6, g: 1e9 }[found[2].toLowerCase()] : 0;
  return value > 0 ? value : null;
}

function exact(number) {
  const [factor, unit] = unitOf(number);
  return `${Number((number / factor).toPrecision(6))} ${unit}`.trim();
}

function threeDigits(number) {
  const [factor, unit] = unitOf(number);
  return unit ? `${(number / factor).toFixed(Math.max(0, 2 - Math.floor(Math.log10((number / factor) * 1.0005))))} ${unit}` : String(number);
}

function fits(row) {
  return Object.entries(state.limits).every(([key, limit]) => row.raw[key] !== null && row.raw[key] <= limit);
}

// The answer in a sentence: the same words as those of `stampbench leaderboard --max-parameters …`.
function answer(board) {
  const words = { parameters: "parameters", flops: "FLOPs", epochs: "epochs" };
  const limits = LIMITS.filter(({ key }) => key in state.limits)
    .map(({ key, plain }) => (plain ? `${state.limits[key]} × latency` : `${exact(state.limits[key])} ${words[key]}`));
  const start = limits.length ? `Up to ${limits.length > 1 ? `${limits.slice(0, -1).join(", ")} and ${limits.at(-1)}` : limits[0]}: ` : "Best: ";
  const fitting = board.rows.filter(fits);
  if (!fitting.length) return [`${start}no strategy. ${nearest(board)}`, []];
  if (Math.max(...fitting.map((row) => row.raw.dice)) < 0.5) return [`${start}no strategy reaches Dice 0.5: too little is learnt here to recommend one.`, []];
  const first = Math.min(...fitting.map((row) => row.raw.tier));
  return [start, fitting.filter((row) => row.raw.tier === first)];
}

function nearest(board) {
  const { key, plain, title } = LIMITS.find((limit) => limit.key in state.limits);
  const known = board.rows.filter((row) => row.raw[key] !== null);
  if (!known.length) return `No ${plain ? "latency" : title} is known.`;
  const least = known.reduce((one, other) => (other.raw[key] < one.raw[key] ? other : one));
  const value = plain ? `${least.raw[key].toFixed(2)} × latency` : `${threeDigits(least.raw[key])} ${title}`;
  return `The least is ${value} (${least.raw.strategy}).`;
}

function showAnswer(board) {
  const [start, best] = answer(board);
  const named = ({ raw }) => element("a", { // a link, because the text of a button does not flow with the sentence
    href: "#leaderboard", onclick: (event) => { event.preventDefault(); select(raw.strategy); },
  }, raw.strategy);
  const parts = [start];
  const enough = best.filter((row) => row.raw.dice_low !== null);
  const shown = enough.length ? enough : best;
  const rest = best.length - shown.length;
  if (shown.length > NAMED) {
    const least = shown.reduce((one, other) => (other.raw.parameters < one.raw.parameters ? other : one));
    parts.push(`${shown.length} strategies, not separated; the smallest is `, named(least), ` (${least.text.parameters} parameters).`);
  } else if (shown.length) {
    parts.push(...shown.flatMap((row, index) => (index ? [", ", named(row)] : [named(row)])), shown.length > 1 ? "; not separated." : ".");
  }
  if (best.length && !enough.length) parts.push(" Too few runs to decide.");
  if (rest) parts.push(` ${rest} more ${rest === 1 ? "has" : "have"} too few runs.`);
  byId("answer").replaceChildren(...parts);
}

// A field and a slider for each limit; the right end of a slider is no limit.
function showLimits(board) {
  byId("limits").replaceChildren(...LIMITS.flatMap(({ key, title, plain }) => {
    const values = board.rows.map((row) => row.raw[key]).filter((value) => value !== null && value > 0);
    if (!values.length) return [];
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const at = (place) => low * (high / low) ** (place / 99);
    const round = (value) => { const unit = 10 ** (Math.floor(Math.log10(value)) - 1); return Number((Math.ceil(value / unit - 1e-9) * unit).toPrecision(3)); };
    const place = (value) => (value === undefined ? 100 : Math.max(0, Math.min(99, Math.round(99 * Math.log(value / low) / Math.log(high / low || 2)))));
    const text = element("input", { type: "text", id: `max-${key}`, inputmode: "decimal", placeholder: "no limit", size: 8 });
    const slider = element("input", { type: "range", min: 0, max: 100, "aria-label": `At most, ${title}, slider` });
    const write = () => { text.value = key in state.limits ? (plain ? String(state.limits[key]) : exact(state.limits[key])) : ""; };
    const move = () => { slider.value = place(state.limits[key]); slider.setAttribute("aria-valuetext", text.value || "no limit"); };
    write();
    move();
    slider.addEventListener("input", () => {
      if (Number(slider.value) === 100) delete state.limits[key];
      else state.limits[key] = round(at(Number(slider.value)));
      write();
      slider.setAttribute("aria-valuetext", text.value || "no limit");
      update();
    });
    text.addEventListener("input", () => {
      const value = parsed(text.value);
      text.setAttribute("aria-invalid", String(Boolean(text.value.trim()) && value === null));
      if (value === null) delete state.limits[key];
      else state.limits[key] = value;
      move();
      update();
    });
    return [element("div", { class: "limit" }, element("label", { for: `max-${key}` }, title), text, slider)];
  }));
}

// ---- leaderboard

const boardTable = new SortableTable(byId("leaderboard"), "Click a heading to sort, best first; a plus unfolds the variants of a strategy", () => {
  state.sort = boardTable.sort;
  update();
});

function visibleColumns(board) {
  const wanted = state.columns ?? board.columns.filter((column) => column.shown).map((column) => column.key);
  const shown = board.columns.filter((column) => column.key === "strategy" || wanted.includes(column.key));
  if (!narrow.matches) return shown;
  const rank = (column) => (PHONE.includes(column.key) ? PHONE.indexOf(column.key) : PHONE.length);
  return [...shown].sort((one, other) => rank(one) - rank(other));
}

// Returns the families of the rows that pass the filters: the plain strategy, else its best variant, leads.
function families(rows) {
  const found = new Map();
  for (const row of rows) found.set(row.name, [...(found.get(row.name) ?? []), row]);
  return [...found.values()].map((members) => {
    const lead = members.find((row) => row.raw.strategy === row.name) ?? members[0];
    return { lead, variants: members.filter((row) => row !== lead) };
  }).sort((one, other) => rows.indexOf(one.lead) - rows.indexOf(other.lead));
}

function isOpen(family) {
  return state.open.includes(family.lead.name) || family.variants.some((row) => state.selected.includes(row.raw.strategy));
}

function showTable(board) {
  const rows = board.rows.filter((row) => fits(row) && row.raw.strategy.toLowerCase().includes(state.filter.toLowerCase()));
  const groups = families(rows);
  const folded = new Map(groups.map((family) => [family.lead, family]));
  const isVariant = new Set(groups.flatMap((family) => family.variants));
  const columns = visibleColumns(board).map((column) => ({ ...column, cell: (row) => cell(column, row, folded.get(row), isVariant.has(row)) }));
  const arrange = (_, order) => order(groups.map((family) => family.lead)).flatMap((lead) => {
    const family = folded.get(lead);
    return [lead, ...(isOpen(family) ? order(family.variants) : [])];
  });
  boardTable.sort = state.sort;
  boardTable.show(columns, rows, {
    value: (row, key) => row.raw[key],
    arrange,
    decorate: (line, row) => {
      line.dataset.strategy = row.raw.strategy;
      line.classList.toggle("selected", state.selected.includes(row.raw.strategy));
      line.classList.toggle("variant", isVariant.has(row));
    },
  });
}

function cell(column, row, family, variant) {
  if (column.key === "strategy") return strategyCell(row, family, variant);
  if (column.key !== "runs") return row.text[column.key];
  return element("button", {
    type: "button", class: "link", "aria-label": `${row.text.runs} runs of ${row.raw.strategy}`, onclick: () => showRunsOf(row.raw.strategy),
  }, row.text.runs);
}

function strategyCell(row, family, variant) {
  const name = row.raw.strategy;
  const box = element("input", { type: "checkbox", "aria-label": `Compare ${name}`, onchange: () => select(name) });
  box.checked = state.selected.includes(name);
  const about = element("button", { type: "button", class: "link", onclick: () => reveal(byId(`about-${row.name}`)) }, name);
  explain(about, byId(`about-${row.name}`).nextElementSibling.textContent);
  const parts = [box, swatch(row.look), about];
  if (family?.variants.length) {
    const open = isOpen(family);
    const count = family.variants.length;
    parts.push(element("button", {
      type: "button", class: "fold", "aria-expanded": String(open), "data-sort": `fold ${row.name}`,
      "aria-label": `${count} more variant${count > 1 ? "s" : ""} of ${row.name}`,
      onclick: () => {
        state.open = open ? state.open.filter((each) => each !== row.name) : [...state.open, row.name];
        if (open) state.selected = state.selected.filter((each) => !family.variants.some((one) => one.raw.strategy === each));
        update();
        document.querySelector(`[data-sort="${CSS.escape(`fold ${row.name}`)}"]`)?.focus();
      },
    }, open ? "−" : `+${count}`));
  }
  return element("span", { class: variant ? "name variant" : "name" }, ...parts);
}

function select(name) {
  state.selected = state.selected.includes(name) ? state.selected.filter((each) => each !== name) : [...state.selected, name].slice(-2);
  const focused = document.activeElement;
  const where = focused?.type === "checkbox" ? `[data-strategy="${CSS.escape(name)}"] input` : focused?.closest?.(".point") ? `.plot[data-x="${focused.closest(".plot").dataset.x}"] .point[data-strategy="${CSS.escape(name)}"]` : null;
  update();
  if (where) document.querySelector(where)?.focus({ preventScroll: true });
}

function reveal(target) {
  hideTip();
  target.scrollIntoView({ block: "center" });
  target.focus({ preventScroll: true });
}

function showColumns(board) {
  byId("columns").replaceChildren(...board.columns.filter((column) => column.key !== "strategy").map((column) => {
    const box = element("input", { type: "checkbox", value: column.key });
    box.addEventListener("change", () => {
      state.columns = [...byId("columns").querySelectorAll("input:checked")].map((each) => each.value);
      update();
    });
    return element("label", {}, box, ` ${column.title}`);
  }));
}

function closeChooser(event) {
  const details = byId("columns").parentElement;
  if (!details.open || (event.type === "click" ? details.contains(event.target) : event.key !== "Escape")) return;
  details.open = false;
  if (event.type === "keydown") details.querySelector("summary").focus();
}

document.addEventListener("click", closeChooser);
document.addEventListener("keydown", closeChooser);

// ---- plots

const PLOTS = [
  { key: "parameters", front: "pareto_parameters", title: "parameters", log: true, format: short },
  { key: "latency_ratio", front: "pareto_latency", title: "latency relative to standard", format: (value) => String(value) },
];

function points(board, plot) {
  return board.rows.filter(fits).map((row) => ({
    strategy: row.raw.strategy, x: row.raw[plot.key], y: row.raw.dice, low: row.raw.dice_low, high: row.raw.dice_high,
    look: row.look, pale: ["undecided", "too few runs", "no common runs"].includes(row.raw.decision), front: row.raw[plot.front],
    label: `${row.raw.strategy}: Dice ${row.text.dice}, ${row.text.parameters} parameters${row.raw.latency_ratio === null ? "" : `, ${row.text.latency_ratio} × latency`}, ${row.raw.decision}`,
  }));
}

function drawPlots() {
  const board = current();
  for (const container of byId("plots").querySelectorAll(".plot")) {
    const plot = PLOTS.find((each) => each.key === container.dataset.x);
    const shown = points(board, plot);
    if (shown.some((point) => point.x !== null)) scatter(container, shown, plot, { selected: state.selected, hover: highlight, select });
    else container.replaceChildren();
  }
}

function showPlots(board) {
  const drawn = PLOTS.filter((plot) => board.rows.some((row) => row.raw[plot.key] !== null));
  byId("plots").replaceChildren(...drawn.map((plot) => element("figure", { class: "plot", "data-x": plot.key })),
    element("p", { class: "note" }, "Bars: 95 % interval over runs and subjects. Pale: undecided against the standard network, or too few runs. Steps: Pareto front."));
  for (const container of byId("plots").querySelectorAll(".plot")) redrawn(container, drawPlots);
}

function highlight(strategy) {
  for (const line of document.querySelectorAll("#leaderboard tbody tr")) line.classList.toggle("pointed", line.dataset.strategy === strategy);
}

// ---- runs and downloads

const runsTable = new SortableTable(byId("runs"), "One row per run; click its id for details", () => showRuns(current()));

function showRuns(board) {
  const wanted = byId("runs-filter").value.toLowerCase();
  const unit = board.columns.find((column) => column.key.startsWith("hd95"))?.title.match(/\[.*\]/)?.[0] ?? "";
  const rows = board.runs.filter((run) => run.strategy.toLowerCase() === wanted || run.run.startsWith(wanted) || run.strategy.toLowerCase().includes(wanted));
  const exactly = board.runs.filter((run) => run.strategy.toLowerCase() === wanted);
  runsTable.show([
    { key: "run", title: "run", best: "", cell: (run) => element("a", { href: `runs/${run.run}.html` }, run.run) },
    { key: "strategy", title: "strategy", best: "" }, { key: "training_set", title: "training set", best: "low" },
    { key: "fold", title: "fold", best: "low" }, { key: "seed", title: "seed", best: "low" },
    { key: "dice", title: "test Dice", best: "high", cell: (run) => run.dice.toFixed(3) },
    { key: "hd95", title: `HD95 ${unit}`, best: "low", cell: (run) => run.hd95.toFixed(2) },
    { key: "parameters", title: "parameters", best: "low", cell: (run) => run.parameters.toLocaleString("en") },
    { key: "epochs", title: "epochs", best: "low" },
  ], exactly.length ? exactly : rows);
}

function showRunsOf(strategy) {
  byId("runs-filter").value = strategy;
  showRuns(current());
  reveal(byId("runs-title"));
}

function save(name, type, text) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function fileName(board) {
  return board.label.replace(/[^\w=.-]+/g, "_");
}

// A text that begins like a formula gets a leading quote, so that no spreadsheet program runs it.
function csvCell(value) {
  const text = typeof value === "string" && /^\s*[=+\-@]/.test(value) ? `'${value}` : String(value ?? "");
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

byId("csv").addEventListener("click", () => {
  const board = current();
  const rows = board.rows.filter(fits).map((row) => row.raw);
  const keys = Object.keys(board.rows[0].raw);
  save(`${fileName(board)}.csv`, "text/csv", [keys, ...rows.map((row) => keys.map((key) => row[key]))].map((row) => row.map(csvCell).join(",")).join("\n") + "\n");
});

byId("json").addEventListener("click", () => {
  const board = current();
  const content = { title: board.title, notes: board.notes, limits: state.limits, rows: board.rows.filter(fits).map((row) => row.raw) };
  save(`${fileName(board)}.json`, "application/json", `${JSON.stringify(content, null, 1)}\n`);
});

// ---- all together

// Everything that depends on limits, filter, columns, order and selection.
function update() {
  const board = current();
  const shown = new Set(visibleColumns(board).map((column) => column.key));
  for (const box of byId("columns").querySelectorAll("input")) box.checked = shown.has(box.value);
  showAnswer(board);
  showTable(board);
  drawPlots();
  const panel = byId("pair");
  if (state.selected.length === 2) showPair(panel, board, ...state.selected, () => { state.selected = []; update(); });
  else panel.hidden = true;
  writeAddress();
}

function showBoard() {
  const board = current();
  chooser.value = state.board;
  byId("title").textContent = board.title;
  byId("dataset").textContent = board.dataset;
  byId("notes").replaceChildren(...board.notes.map((note) => element("p", { class: "note" }, note)));
  byId("filter").value = state.filter;
  byId("runs-filter").value = "";
  showLimits(board);
  showColumns(board);
  showPlots(board);
  update();
  showRuns(board);
}

chooser.addEventListener("change", () => {
  Object.assign(state, { board: chooser.value, limits: {}, selected: [], open: [], filter: "", sort: null });
  showBoard();
});
byId("filter").addEventListener("input", () => { state.filter = byId("filter").value; update(); });
byId("runs-filter").addEventListener("input", () => showRuns(current()));
narrow.addEventListener("change", update);
window.addEventListener("hashchange", () => { readAddress(); showBoard(); });
if (chooser.options.length) { readAddress(); showBoard(); }
