// Elements that the parts of the page are made of.

export function made(tag, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
}

export function card(title) {
  const element = made("section");
  element.append(made("h2", { textContent: title }));
  document.getElementById("answer").append(element);
  return element;
}

export function figures(parent, rows) {
  const list = made("dl", { className: "figures" });
  for (const [name, found, unit] of rows) {
    if (found === null || found === undefined) continue;
    const predicted = typeof found === "object";
    const text = made("dd", { textContent: unit(predicted ? found.value : found) });
    if (predicted) text.append(made("small", { textContent: `${unit(found.low)} to ${unit(found.high)}` }));
    list.append(made("div", {}, made("dt", { textContent: name }), text));
  }
  parent.append(list);
}
