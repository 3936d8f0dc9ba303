// Which runs are shown: a filter for each column that was swept, and a range for each number that decides.

const MOST_CHECKBOXES = 12;
const DECIDING = ["tok_per_s", "retained_magnitude", "perplexity"];
const filters = new Map(); // column's name -> the values that pass, as a Set, or the ends of a range, {least, most}
const filterControls = new Map(); // column's name -> what makes its controls say what the filter does

function passes(filter, value) {
  if (filter instanceof Set) return filter.has(value);
  return value != null && (filter.least ?? -Infinity) <= value && value <= (filter.most ?? Infinity);
}

function visibleRuns() {
  const tests = [...filters].map(([name, filter]) => [columns.get(name).values, filter]);
  return succeeded.filter((row) => tests.every(([values, filter]) => passes(filter, values[row])));
}

// `onChange` is called after a reader changed a filter; who changes `filters` otherwise calls `showFilters`.
function makeFilters(box, onChange) {
  for (const column of filtered()) {
    const change = (filter) => {
      if (filter) filters.set(column.name, filter);
      else filters.delete(column.name);
      onChange();
    };
    const own = element("fieldset", {}, element("legend", { textContent: heading(column) }), controlOf(column, change));
    own.dataset.column = column.name;
    box.append(own);
  }
  if (!box.children.length) box.append(element("p", { className: "note", textContent: "All runs have the same inputs." }));
}

// The columns that have a filter.
function filtered() {
  const deciding = DECIDING.map((name) => columns.get(name)).filter((column) => column && !column.is_axis);
  return [...axes, ...deciding].filter((column) => valuesOf(column).length > 1);
}

function showFilters() {
  for (const [name, showFilter] of filterControls) showFilter(filters.get(name));
}

function isByValue(column) {
  return column.kind !== "number" || (column.is_axis && valuesOf(column).length <= MOST_CHECKBOXES);
}

function controlOf(column, change) {
  const values = valuesOf(column);
  if (!isByValue(column)) return range(column, change);
  return values.length <= MOST_CHECKBOXES ? checkboxes(column, values, change) : choices(column, values, change);
}

function checkboxes(column, values, change) {
  const inputs = values.map(() => element("input", { type: "checkbox" }));
  const update = () => {
    const allowed = values.filter((_, index) => inputs[index].checked);
    change(allowed.length < values.length && new Set(allowed));
  };
  for (const input of inputs) input.addEventListener("change", update);
  filterControls.set(column.name, (filter) => inputs.forEach((input, index) => { input.checked = !filter || filter.has(values[index]); }));
  return element("div", { className: "checks" }, ...values.map((value, index) => element("label", {}, inputs[index], ` ${shown(column, value)}`)));
}

function choices(column, values, change) {
  const select = element("select", { multiple: true, size: 6, ariaLabel: `${column.label}, none for all` });
  select.append(...values.map((value, index) => element("option", { value: index, textContent: shown(column, value) })));
  select.addEventListener("change", () => {
    const allowed = new Set([...select.selectedOptions].map((option) => values[Number(option.value)]));
    change(allowed.size > 0 && allowed);
  });
  filterControls.set(column.name, (filter) => [...select.options].forEach((option, index) => { option.selected = Boolean(filter?.has(values[index])); }));
  return select;
}

function range(column, change) {
  const ends = ["least", "most"].map((end) =>
    [end, element("input", { type: "number", step: "any", placeholder: end, ariaLabel: `${heading(column)}, ${end}` })]);
  const update = () => {
    const given = ends.filter(([, input]) => input.value !== "").map(([end, input]) => [end, Number(input.value) * column.scale]);
    change(given.length > 0 && Object.fromEntries(given));
  };
  for (const [, input] of ends) input.addEventListener("input", update);
  filterControls.set(column.name, (filter) => ends.forEach(([end, input]) => {
    const value = filter?.[end];
    input.value = value === undefined ? "" : Number((value / column.scale).toPrecision(12));
  }));
  return element("div", { className: "range" }, ends[0][1], "to", ends[1][1]);
}
