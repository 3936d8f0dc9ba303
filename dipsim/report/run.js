// One run in full: its inputs, its numbers, its provenance, and the configuration to run it again.

const PARTS_OF_RUN = [
  ["parameter", "Inputs"],
  ["result", "Results"],
  ["device", "Device"],
  ["provenance", "Provenance"],
];

function showRun(box, row) {
  box.replaceChildren();
  if (row === null) return;
  box.append(element("h2", { textContent: `Run ${called(row)}`, tabIndex: -1 }));
  if (errors[row] != null) box.append(element("p", { textContent: `Failed: ${errors[row]}` }));
  for (const [role, title] of PARTS_OF_RUN) {
    const own = [...columns.values()].filter((column) => column.role === role && valueOf(column, row) != null);
    if (own.length) box.append(element("h3", { textContent: title }), facts(own, row));
  }
  const config = configText(row);
  if (config === "{}") return;
  const text = element("pre", { textContent: config, tabIndex: 0, id: "config" });
  box.append(element("h3", { textContent: "Configuration" }), copyButton(text), text);
}

function facts(own, row) {
  const lines = [false, true].map((isList) => {
    const some = own.filter((column) => (column.kind === "list") === isList);
    return element("dl", { className: isList ? "facts lists" : "facts" }, ...some.map((column) => fact(column, row)));
  });
  return element("div", {}, ...lines);
}

function fact(column, row) {
  const name = element("dt", { textContent: column.label, title: column.name });
  return element("div", {}, name, element("dd", { textContent: withUnit(column, valueOf(column, row)) }));
}

function copyButton(text) {
  const button = element("button", { type: "button", className: "copy", textContent: "Copy JSON" });
  const status = element("span", { className: "note", role: "status" });
  button.addEventListener("click", async () => {
    status.textContent = (await copied(text)) ? " copied" : " selected: copy with the keyboard";
  });
  return element("p", { className: "copy" }, button, status);
}

// To the clipboard; where a browser does not let a file do that, the text is left selected.
async function copied(box) {
  try {
    await navigator.clipboard.writeText(box.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(box);
    return document.execCommand("copy");
  }
}

// Put together from its leaves, whose JSON is as the sweep wrote it. (Maps: a key may have any name.)
function configText(row) {
  const root = new Map();
  for (const { path, leaves } of configs()) {
    if (leaves[row] === null) continue;
    let node = root;
    for (const key of path.slice(0, -1)) {
      if (!node.has(key)) node.set(key, new Map());
      node = node.get(key);
    }
    node.set(path.at(-1), leaves[row]);
  }
  return jsonText(root, "");
}

function jsonText(node, indent) {
  if (!(node instanceof Map)) return node;
  if (!node.size) return "{}";
  const inner = `${indent}  `;
  const lines = [...node].map(([key, value]) => `${inner}${JSON.stringify(key)}: ${jsonText(value, inner)}`);
  return `{\n${lines.join(",\n")}\n${indent}}`;
}
