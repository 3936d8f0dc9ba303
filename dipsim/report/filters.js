// Which runs are shown: a filter for each column that was swept, and a range for each number that decides.

const MOST_CHECKBOXES = 12;
const DECIDING = ["tok_per_s", "retained_magnitude", "perplexity"];
const filters = new Map(); // column's name -> whether a value passes

function visibleRuns() {
  const tests = [...filters].map(([name, passes]) => [columns.get(name).values, passes]);
  return succeeded.filter((row) => tests.every(([values, passes]) => passes(values[row])));
}

function makeFilters(box, onChange) {
  box.replaceChildren();
  filters.clear();
  const deciding = DECIDING.map((name) => columns.get(name)).filter((column) => column && !column.is_axis);
  for (const column of [...axes, ...deciding]) {
    const values = distinct(succeeded.map((row) => column.values[row])).sort(compare);
    if (values.length < 2) continue;
    const own = element("fieldset", {}, element("legend", { textContent: heading(column) }));
    own.dataset.column = column.name;
    own.append(...controlsOf(column, values, onChange));
    box.append(own);
  }
  if (!box.children.length) box.append(element("p", { className: "note", textContent: "All runs have the same inputs." }));
}

function controlsOf(column, values, onChange) {
  if (column.is_axis && values.length <= MOST_CHECKBOXES) return [checkboxes(column, values, onChange)];
  return [column.kind === "number" ? range(column, onChange) : choices(column, values, onChange)];
}

function checkboxes(column, values, onChange) {
  const allowed = new Set(values);
  const boxes = values.map((value) => {
    const input = element("input", { type: "checkbox", checked: true });
    input.addEventListener("change", () => {
      if (input.checked) allowed.add(value);
      else allowed.delete(value);
      filters.set(column.name, (other) => allowed.has(other));
      onChange();
    });
    return element("label", {}, input, ` ${shown(column, value)}`);
  });
  return element("div", { className: "checks" }, ...boxes);
}

function choices(column, values, onChange) {
  const select = element("select", { multiple: true, size: 6, ariaLabel: `${column.label}, none for all` });
  values.forEach((value, index) => select.append(element("option", { value: index, textContent: shown(column, value) })));
  select.addEventListener("change", () => {
    const allowed = new Set([...select.selectedOptions].map((option) => values[Number(option.value)]));
    filters.set(column.name, (other) => allowed.size === 0 || allowed.has(other));
    onChange();
  });
  return select;
}

function range(column, onChange) {
  const [least, most] = ["least", "most"].map((end) =>
    element("input", { type: "number", step: "any", placeholder: end, ariaLabel: `${heading(column)}, ${end}` }));
  const update = () => {
    const low = least.value === "" ? -Infinity : Number(least.value) * column.scale;
    const high = most.value === "" ? Infinity : Number(most.value) * column.scale;
    const isOpen = least.value === "" && most.value === "";
    filters.set(column.name, (value) => isOpen || (value != null && low <= value && value <= high));
    onChange();
  };
  for (const input of [least, most]) input.addEventListener("input", update);
  return element("div", { className: "range" }, least, "to", most);
}
