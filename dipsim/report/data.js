// What is in the page: columns of runs, their lists and configurations; and how a value is shown.

const MISSING = "\u2013";
const LABEL_CHARACTERS = 70;

function embedded(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

function revived(value) {
  if (Array.isArray(value)) return value.map(revived);
  return value === "\u221e" ? Infinity : value === "-\u221e" ? -Infinity : value;
}

// A packed column by row; see embedding.py.
function unpacked(packed, nRuns, revive = revived) {
  if ("one" in packed) return new Array(nRuns).fill(revive(packed.one));
  if ("all" in packed) return packed.all.map(revive);
  const table = packed.table.map(revive);
  return packed.codes.map((code) => table[code]);
}

function once(make) {
  let made;
  return () => (made ??= make());
}

const same = (value) => value;
const source = embedded("data");
const runs = Array.from({ length: source.n_runs }, (_, row) => row);
const columns = new Map();
source.columns.forEach((column, index) => {
  const values = once(() => unpacked(embedded(`values-${index}`), source.n_runs, column.kind === "number" ? revived : same));
  columns.set(column.name, Object.defineProperty(column, "values", { get: values })); // most are never asked for
});
const errors = columns.get("error")?.values ?? [];
const succeeded = runs.filter((row) => errors[row] == null);
const failed = runs.filter((row) => errors[row] != null);
const axes = [...columns.values()].filter((column) => column.is_axis);

// Lists and configurations are many bytes, and read only when a run is looked at.
const lists = once(() => {
  const packed = Object.entries(embedded("lists"));
  return new Map(packed.map(([name, one]) => [name, unpacked(one, source.n_runs)]));
});
const configs = once(() =>
  embedded("configs").map(({ path, packed }) => ({ path, leaves: unpacked(packed, source.n_runs, same) })));

function valueOf(column, row) {
  return column.kind === "list" ? lists().get(column.name)[row] : column.values[row];
}

function distinct(values) {
  return [...new Set(values)];
}

// The values of a column, each once and sorted, of all runs that succeeded.
const sortedValues = new Map();
function valuesOf(column) {
  if (!sortedValues.has(column.name)) {
    sortedValues.set(column.name, distinct(succeeded.map((row) => valueOf(column, row))).sort(compare));
  }
  return sortedValues.get(column.name);
}

// Missing ones last, whichever way; the rest by number or by code point.
function compare(a, b) {
  if (a == null || b == null) return (a == null) - (b == null);
  return a < b ? -1 : a > b ? 1 : 0;
}

function shownNumber(number) {
  if (!Number.isFinite(number)) return number > 0 ? "\u221e" : "-\u221e";
  const size = Math.abs(number);
  if (size >= 1e9 || (size < 1e-3 && size > 0)) return number.toExponential(3);
  return size >= 1000 ? String(Math.round(number)) : String(Number(number.toPrecision(4)));
}

function shown(column, value) {
  if (value == null) return MISSING;
  if (Array.isArray(value)) return value.map((one) => shown(column, one)).join(", ");
  return typeof value === "number" ? shownNumber(value / column.scale) : String(value);
}

function withUnit(column, value) {
  return column.unit && value != null ? `${shown(column, value)} ${column.unit}` : shown(column, value);
}

function heading(column) {
  return column.unit ? `${column.label} (${column.unit})` : column.label;
}

// What tells a run from others, in a line.
function called(row, among = axes) {
  return [`#${row + 1}`, ...among.map((axis) => withUnit(axis, axis.values[row]))].join(" \u00b7 ");
}

// Plotly takes some HTML for markup, also in names that come from files.
function inert(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function shortened(text, most = LABEL_CHARACTERS) {
  return text.length > most ? `${text.slice(0, Math.floor(most) - 1)}\u2026` : text;
}

// An element with properties and children; text is never taken for HTML.
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
