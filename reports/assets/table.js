// Sortable tables, and the tooltip that tables and plots share.
"use strict";

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// Missing values are last in both directions; "empty" is a distance to an empty mask, larger than any other.
function compare(one, other, descending) {
  const missing = (value) => value === null || value === undefined;
  if (missing(one) || missing(other)) return missing(one) - missing(other);
  const number = (value) => (value === "empty" ? Infinity : value);
  const [a, b] = [number(one), number(other)];
  if (a === b) return 0;
  const order = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a < b ? -1 : 1;
  return descending ? -order : order;
}

// Columns have key, title, help, best ("high", "low" or "") and optionally cell(row), which returns a node or text.
class SortableTable {
  constructor(table, caption, onSort = () => {}) {
    this.table = table;
    this.onSort = onSort;
    this.sort = null;
    table.replaceChildren(element("caption", {}, element("span", {}, caption)), element("thead"), element("tbody"));
  }

  show(columns, rows, { value = (row, key) => row[key], arrange = (list, order) => order(list), decorate = () => {} } = {}) {
    const focused = document.activeElement?.dataset?.sort;
    this.table.tHead.replaceChildren(element("tr", {}, ...columns.map((column) => this.heading(column))));
    const column = this.sort && columns.find((each) => each.key === this.sort.key);
    const order = (list) => (column
      ? [...list].sort((one, other) => compare(value(one, column.key), value(other, column.key), this.sort.descending))
      : list);
    const body = document.createDocumentFragment();
    for (const row of arrange(rows, order)) {
      const cells = columns.map((each, index) => {
        const cell = each.cell ? each.cell(row) : String(value(row, each.key) ?? "–");
        return index ? element("td", {}, cell) : element("th", { scope: "row" }, cell);
      });
      const line = element("tr", {}, ...cells);
      decorate(line, row);
      body.append(line);
    }
    this.table.tBodies[0].replaceChildren(body);
    if (focused === undefined) return;
    [...this.table.tHead.querySelectorAll("button")].find((each) => each.dataset.sort === focused)?.focus();
  }

  heading(column) {
    const sorted = this.sort?.key === column.key;
    const button = element("button", { type: "button", "data-sort": column.key }, column.title);
    button.addEventListener("click", () => {
      const bestFirst = column.best === "high";
      this.sort = { key: column.key, descending: this.sort?.key === column.key ? !this.sort.descending : bestFirst };
      hideTip();
      this.onSort();
    });
    if (column.help) explain(button, column.help);
    return element("th", {
      scope: "col", "aria-sort": sorted ? (this.sort.descending ? "descending" : "ascending") : null,
    }, button);
  }
}

function explain(target, text) {
  target.setAttribute("aria-description", text);
  for (const event of ["mouseenter", "focus"]) target.addEventListener(event, () => showTip(target, text));
  for (const event of ["mouseleave", "blur"]) target.addEventListener(event, hideTip);
}

function showTip(target, text) {
  const tip = document.getElementById("tip");
  tip.textContent = text;
  tip.hidden = false;
  const box = target.getBoundingClientRect();
  const left = Math.min(Math.max(box.left, 8), document.documentElement.clientWidth - tip.offsetWidth - 8);
  const above = box.top - tip.offsetHeight - 6;
  tip.style.left = `${Math.max(left, 8)}px`;
  tip.style.top = `${above < 4 ? box.bottom + 6 : above}px`;
}

function hideTip() {
  document.getElementById("tip").hidden = true;
}

document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
