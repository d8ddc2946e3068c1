// The model in use beside smaller and quantised ones, for a traffic that one states.

import { post } from "./api.js";
import { figures, made } from "./elements.js";
import * as plots from "./plots.js";
import { kilograms, plain, seconds, usd } from "./units.js";

const TASKS = ["chat", "classification", "extraction", "retrieval", "knowledge", "reasoning", "code", "instruction-following", "agentic", "language-modelling", "vision"];
const FITS = { fits: "fits", at_risk: "at risk", does_not_fit: "does not fit" };

function field(name, label, control) {
  control.id = `alternatives-${name}`;
  return made("div", {}, made("label", { htmlFor: control.id, textContent: label }), control);
}

export function offer(part, request, served) {
  const rate = made("input", { inputMode: "decimal", value: plain(served.requests_per_second.value).replaceAll(",", "") });
  const limit = made("input", { inputMode: "decimal", placeholder: "none" });
  const task = made("select", {}, ...TASKS.map((name) => made("option", { textContent: name })));
  const compare = made("button", { type: "submit", textContent: "Compare" });
  const form = made("form", { className: "inner" },
    made("div", { className: "pair" }, field("rate", "Requests a second", rate), field("limit", "Seconds between tokens, at most", limit), field("task", "Task", task)),
    made("div", { className: "row" }, compare));
  const shown = made("div", { tabIndex: -1 });
  shown.setAttribute("aria-live", "polite");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    shown.replaceChildren(made("p", { className: "busy", textContent: "Comparing …" }));
    post("/alternatives", question(request, Number(rate.value), Number(limit.value), task.value))
      .then((answer) => show(shown, answer))
      .catch((error) => shown.replaceChildren(made("p", { className: "does_not_fit", role: "alert", textContent: error.message })));
  });
  part.append(made("p", { textContent: "The same model in fewer bits, smaller ones of its family, adapters and a cascade, each sized for this traffic. Of their quality only what was measured is said." }), form, shown);
}

function question(request, rate, limit, task) {
  const { layout, ...rest } = request;
  const { load, draft, ...workload } = request.workload;
  const { prompt_tokens, output_tokens } = workload;
  const traffic = { requests_per_second: rate, prompt_tokens: prompt_tokens && { mean: prompt_tokens }, output_tokens: output_tokens && { mean: output_tokens } };
  return { request: { ...rest, workload }, traffic, task, ...(limit > 0 ? { latency: { seconds_per_token: limit } } : {}) };
}

const known = (found, unit) => found === null || found === undefined ? "unknown" : unit(found);

function fit(option) {
  if (option.dominated_by.length) return `${FITS[option.fit]}, but ruled out by ${option.dominated_by[0]}`;
  return option.reason ? `${FITS[option.fit]}: ${option.reason}` : FITS[option.fit];
}

function quality(option, place) {
  if (place === 0) return "the model in use";
  return option.quality.measured_on_task ? "measured on this task" : "measure this";
}

function show(part, answer) {
  const rows = answer.options.map((o, place) => [
    o.pareto ? `${o.name} *` : o.name, fit(o), o.devices ?? "", known(o.usd_per_month, usd), known(o.kgco2e_per_month?.value, kilograms),
    known(o.decode_seconds_per_token?.value, seconds), quality(o, place),
  ]);
  const table = plots.table(["", "fit", "devices", "money a month", "carbon a month", "a token", "quality"], rows);
  table.open = true;
  table.querySelector("summary").textContent = `${rows.length} options side by side; * not ruled out: no other costs as little, emits as little and is as fast, with its quality as well known`;
  part.replaceChildren(table);
  if (answer.experiment) {
    part.append(made("h3", { textContent: "What to measure next" }), made("p", { textContent: `${answer.experiment.candidate}: ${answer.experiment.why}. ${plain(answer.experiment.requests)} requests cost ${usd(answer.experiment.usd)}.` }));
  }
  const beside = answer.beside.map((pair) => made("li", { textContent: `Before ${pair.smaller}, try ${pair.larger}: about the same bytes` }));
  if (beside.length) part.append(made("ul", {}, ...beside));
  part.append(evidence(answer), changes(answer));
  const full = answer.diminishing[0];
  part.append(made("h3", { textContent: "What half and a quarter of the size would lose" }));
  figures(part, answer.diminishing.map((rung) => [`${plain(rung.factor)} of the size: nats a token more, ${plain(rung.usd_per_million_output_tokens.value / full.usd_per_million_output_tokens.value)} of the price`, rung.loss_added, plain]));
}

function changes(answer) {
  const names = (found) => found.length ? found.slice(0, 3).join(", ") + (found.length > 3 ? ` and ${found.length - 3} more` : "") : "nothing serves it";
  const line = (what, factor, found) => made("li", { textContent: `${what} times ${plain(factor)}: ${names(found)}` });
  const items = [
    ...answer.by_rate.map((at) => line("fewest devices at the rate", at.rate_factor, at.fewest_devices)),
    ...answer.by_output_length.map((at) => line("fewest devices at outputs", at.output_factor, at.fewest_devices)),
    ...answer.by_price.map((at) => line("cheapest in the end at the price", at.price_factor, at.cheapest_over_horizon)),
  ];
  return made("details", {}, made("summary", { textContent: "What would change the answer" }), made("ul", {}, ...items));
}

function evidence(answer) {
  const findings = new Map(answer.options.flatMap((o) => o.quality.findings).map((f) => [f.id, f]));
  const items = [...findings.values()].map((f) => made("li", { textContent: `${f.finding} (${f.source}; ${f.limits})` }));
  return made("details", {}, made("summary", { textContent: `${items.length} published findings on quality` }), made("ul", {}, ...items));
}
