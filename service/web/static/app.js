// The page: a form that becomes a request, an answer that appears as one looks for it.

import { offer } from "./alternatives.js";
import { names, post, Problem } from "./api.js";
import { card, figures, made } from "./elements.js";
import * as plots from "./plots.js";
import { bytes, count, flops, kilograms, kilowattHours, percent, plain, seconds, usd } from "./units.js";

const $ = (id) => document.getElementById(id);
const NUMBERS = ["tokens", "sequence_length", "global_batch_size", "micro_batch_size", "rank", "prompt_tokens", "output_tokens", "concurrency", "count", "usd"];
const TRAINING = ["tokens", "sequence_length", "global_batch_size", "micro_batch_size", "precision", "recomputation"];
const FIELDS = { pretraining: TRAINING, finetuning: [...TRAINING, "method", "rank"], inference: ["prompt_tokens", "output_tokens", "concurrency", "weights"] };
let request = null;
let kept = null;
let turn = 0;

function value(id) {
  const text = $(id).value.trim();
  if (text === "") return undefined;
  if (!NUMBERS.includes(id)) return text;
  const number = Number(text.replaceAll(",", "").replaceAll(" ", ""));
  if (!Number.isFinite(number)) throw new Error(`${$(id).labels[0].textContent}: "${text}" is not a number`);
  return number;
}

function section(entries) {
  const given = Object.fromEntries(entries.filter(([, found]) => found !== undefined));
  return Object.keys(given).length ? given : undefined;
}

function read() {
  const config = $("config").value.trim();
  let model = { kind: "catalog", name: value("model") };
  if (config) {
    try { model = { kind: "huggingface", config: JSON.parse(config) }; }
    catch (error) { throw new Error(`The config is not JSON: ${error.message}`); }
  }
  const kind = $("kind").value;
  const built = {
    model,
    workload: { kind, ...section(FIELDS[kind].map((id) => [id, value(id)])) },
    hardware: section([["accelerator", value("accelerator")], ["count", value("count")]]),
    site: section([["region", value("region")]]),
    pricing: section([["usd_per_device_hour", value("usd")]]),
  };
  return JSON.parse(JSON.stringify({ ...extras(), ...built }));
}

// What a change or a link set that the form has no field for.
let beyond = {};
const extras = () => beyond;

function write(found) {
  const workload = found.workload || {};
  $("kind").value = workload.kind || "pretraining";
  $("config").value = found.model.kind === "huggingface" ? JSON.stringify(found.model.config, null, 1) : "";
  $("model").value = found.model.name || "";
  for (const id of new Set(Object.values(FIELDS).flat())) $(id).value = workload[id] ?? $(id).defaultValue ?? "";
  $("accelerator").value = found.hardware?.accelerator ?? "";
  $("count").value = found.hardware?.count ?? "";
  $("region").value = found.site?.region ?? "";
  $("usd").value = found.pricing?.usd_per_device_hour ?? "";
  showKind();
}

function showKind() {
  document.querySelectorAll("[data-kind]").forEach((part) => {
    part.hidden = !part.dataset.kind.split(" ").includes($("kind").value);
  });
}

function merge(target, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const merged = { ...(target && typeof target === "object" ? target : {}) };
  for (const [key, change] of Object.entries(patch)) {
    if (change === null) delete merged[key];
    else merged[key] = merge(merged[key], change);
  }
  return merged;
}

const VERDICTS = { fits: "It fits", at_risk: "At risk: the interval straddles the limit", does_not_fit: "It does not fit" };

function showVerdict(answer) {
  const found = answer.verdict;
  if (!found) return;
  const part = card("Does it fit?");
  part.append(made("p", { className: `verdict ${found.admission}`, textContent: VERDICTS[found.admission] }));
  if (answer.memory?.capacity_bytes) plots.memory(part, answer.memory);
  part.append(made("p", { textContent: `Limited by ${found.limited_by}; margin ${bytes(found.margin_bytes)}.` }));
  if (answer.layout) {
    const l = answer.layout;
    part.append(made("p", { textContent: `${l.devices} devices: data ${l.data}, tensor ${l.tensor}, pipeline ${l.pipeline}, context ${l.context}, expert ${l.expert}, ZeRO stage ${l.zero_stage}; ${l.micro_batches} micro-batches of ${l.micro_batch_size}.` }));
  }
  if (found.smallest_changes?.length) {
    part.append(made("h3", { textContent: "Smallest changes" }));
    const list = made("ul", { className: "changes" });
    for (const change of found.smallest_changes) {
      const button = made("button", { type: "button", textContent: change.effect });
      button.append(made("small", { className: "mono", textContent: ` ${JSON.stringify(change.patch)}` }));
      button.addEventListener("click", () => apply(change.patch));
      list.append(made("li", {}, button));
    }
    part.append(list);
  }
}

function apply(patch) {
  const changed = merge(request, patch);
  const { model, workload, hardware, site, pricing, ...rest } = changed;
  beyond = rest;
  write(changed);
  submit(changed);
}

function showTime(answer) {
  if (!answer.time) return;
  const part = card("How long, and how much?");
  figures(part, [
    ["Wall clock", answer.time.wall_clock_seconds, seconds],
    ["Device-hours", answer.time.device_hours, count],
    ["Money", answer.cost?.usd, usd],
    ["One step", answer.time.step_seconds, seconds],
    ["Tokens/s on a device", answer.time.tokens_per_second_per_device, plain],
    ["Model-FLOPs utilisation", answer.time.model_flops_utilization, percent],
    ["Where a step's time goes", largestFirst(answer.time.step_shares), String],
  ]);
  return part;
}

function largestFirst(shares) {
  const parts = Object.entries(shares ?? {}).filter(([, share]) => share >= 0.005);
  if (!parts.length) return null;
  parts.sort(([, a], [, b]) => b - a);
  return parts.map(([name, share]) => `${name} ${percent(share)}`).join(", ");
}

function showServing(answer) {
  if (!answer.serving) return;
  const found = answer.serving;
  figures(card("Serving"), [
    ["Weights", found.weights_bytes, bytes],
    ["Cache a token", found.kv_cache_bytes_per_token, bytes],
    ["Requests that fit at once", found.max_concurrency, plain],
    ["Prompt, unloaded", found.prefill_seconds, seconds],
    ["Between output tokens", found.decode_seconds_per_token, seconds],
    ["Output tokens/s", found.output_tokens_per_second, plain],
    ["USD a million output tokens", found.usd_per_million_output_tokens, plain],
    ["Joules an output token", found.joules_per_output_token, plain],
  ]);
  offer(card("Would something smaller do?"), request, found);
}

function showCarbon(answer) {
  if (!answer.carbon) return;
  const part = card("Energy and carbon");
  figures(part, [
    ["Energy", answer.carbon.energy_kwh, kilowattHours],
    ["Operational, location-based", answer.carbon.operational_kgco2e, kilograms],
    ["Market-based", answer.carbon.market_kgco2e, kilograms],
    ["Embodied (methods differ)", answer.carbon.embodied_kgco2e, kilograms],
    ["Total", answer.carbon.total_kgco2e, kilograms],
  ]);
  return part;
}

const SIZES = { undertrained: "Undertrained: a smaller model on more tokens would do better for this compute", compute_optimal: "About the right size for its compute", overtrained: "Overtrained: smaller and longer than compute-optimal, which pays when it serves much" };

function showSize(answer) {
  if (!answer.compute_optimal) return;
  const found = answer.compute_optimal;
  const part = card("Is it the right size?");
  part.append(made("p", { className: "verdict", textContent: SIZES[found.verdict] }));
  figures(part, [
    ["Parameters", answer.parameters?.total, count],
    ["Active for a token", answer.parameters?.active, count],
    ["Training compute", answer.compute?.training_flops, flops],
    ["Optimal parameters", found.parameters, count],
    ["Optimal tokens", found.tokens, count],
    ["Tokens a parameter, here", found.tokens_per_parameter, plain],
    ["Tokens a parameter, optimal", found.optimal_tokens_per_parameter, plain],
  ]);
  return part;
}

function showProvenance(answer) {
  const part = card("What the answer rests on");
  if (answer.warnings.length) {
    const list = made("ul", { className: "warnings" });
    list.append(...answer.warnings.map((warning) => made("li", { textContent: `${warning.message} (${warning.code})` })));
    part.append(list);
  }
  const rows = answer.assumptions.map((a) => [a.field, typeof a.value === "object" ? JSON.stringify(a.value) : String(a.value), a.origin, a.source || ""]);
  const shown = plots.table(["field", "value", "origin", "source"], rows);
  shown.querySelector("summary").textContent = `${rows.length} assumptions with their sources`;
  shown.querySelectorAll(".number").forEach((cell) => cell.classList.remove("number"));
  part.append(shown);
  const curl = `curl -s ${location.origin}/estimate -H 'Content-Type: application/json' -d '${JSON.stringify(request).replaceAll("'", "'\\''")}'`;
  const same = made("details", {}, made("summary", { textContent: "The same with curl" }), made("pre", { textContent: curl, tabIndex: 0 }));
  part.append(same, made("p", { className: "mono", textContent: `estimator ${answer.provenance.estimator}, catalog ${answer.provenance.catalog}, calibration ${answer.provenance.calibration}, interval ${answer.provenance.interval}` }));
}

const COMPARED = [
  ["Peak memory", (a) => a.memory?.peak_bytes?.value, bytes], ["Wall clock", (a) => a.time?.wall_clock_seconds?.value, seconds],
  ["Device-hours", (a) => a.time?.device_hours?.value, count], ["Money", (a) => a.cost?.usd?.value, usd],
  ["Emissions", (a) => a.carbon?.total_kgco2e?.value, kilograms], ["Output tokens/s", (a) => a.serving?.output_tokens_per_second?.value, plain],
];

function showComparison(answer) {
  if (!kept) return;
  const part = card("Beside the kept scenario");
  const rows = COMPARED.map(([name, pick, unit]) => [name, pick(kept.answer), pick(answer), unit]).filter(([, a, b]) => a !== undefined || b !== undefined)
    .map(([name, a, b, unit]) => [name, a === undefined ? "none" : unit(a), b === undefined ? "none" : unit(b), a && b ? `${plain(b / a)} times` : ""]);
  const shown = plots.table(["", "kept", "now", "ratio"], rows);
  shown.open = true;
  shown.querySelector("summary").textContent = "Both side by side";
  const back = made("button", { type: "button", textContent: "Return to the kept scenario" });
  back.addEventListener("click", () => { const before = kept.request; write(before); submit(before); });
  part.append(shown, made("div", { className: "row" }, back));
}

function showError(error) {
  $("answer").replaceChildren();
  const part = card("This could not be estimated");
  part.classList.add("problem");
  part.setAttribute("role", "alert");
  part.append(made("p", { textContent: error.message }));
  const problems = error instanceof Problem ? error.document.errors || [] : [];
  const list = made("ul");
  for (const problem of problems) list.append(made("li", {}, made("code", { textContent: problem.pointer || "" }), ` ${problem.detail || ""}`));
  if (problems.length) part.append(list);
}

const powers = (centre) => {
  const start = 2 ** Math.max(0, Math.round(Math.log2(centre)) - 4);
  return Array.from({ length: 9 }, (_, i) => start * 2 ** i);
};

async function showSweeps(mine, answer, parts) {
  const base = { ...mine };
  delete base.layout;
  if (parts.time) {
    const columns = ["/time/wall_clock_seconds/value", "/time/wall_clock_seconds/low", "/time/wall_clock_seconds/high", "/cost/usd/value"];
    const devices = powers(answer.layout?.devices || 8);
    const [found, pareto] = await Promise.all([
      post("/sweep", { base, axes: { "/hardware/count": devices }, columns }).catch(() => null),
      post("/layouts", { request: base, devices }).catch(() => null),
    ]);
    if (found && mine === request) plots.scaling(parts.time, found.columns, pareto?.layouts || []);
  }
  if (parts.carbon) {
    const places = (await regions).filter((region) => region.includes("/"));
    if (places.length) {
      const found = await post("/sweep", { base, axes: { "/site/region": places }, columns: ["/carbon/total_kgco2e/value"] }).catch(() => null);
      if (found && mine === request) plots.regions(parts.carbon, found.columns, mine.site?.region);
    }
  }
  if (parts.size && answer.compute?.training_flops) {
    const found = await post("/compute-optimal", { budget: { kind: "flops", value: answer.compute.training_flops } }).catch(() => null);
    if (found?.curve?.parameters?.length && mine === request) {
      const size = answer.parameters.active;
      const near = found.curve.parameters.reduce((best, n, i) => Math.abs(Math.log(n / size)) < Math.abs(Math.log(found.curve.parameters[best] / size)) ? i : best, 0);
      plots.isoflop(parts.size, found, { parameters: size, loss: found.curve.loss[near] });
    }
  }
}

async function submit(given) {
  const mine = ++turn;
  try { request = given || read(); } catch (error) { showError(error); return; }
  $("busy").textContent = "Estimating …";
  history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(request))}`);
  try {
    const answer = await post("/estimate", request);
    if (mine !== turn) return;
    $("answer").replaceChildren();
    $("answer").dataset.answer = JSON.stringify(answer);
    showVerdict(answer);
    showServing(answer);
    const parts = { time: showTime(answer), carbon: showCarbon(answer), size: showSize(answer) };
    showComparison(answer);
    showProvenance(answer);
    $("busy").textContent = "Drawing the alternatives …";
    await showSweeps(request, answer, parts);
    if (mine === turn) $("busy").textContent = "";
  } catch (error) {
    if (mine !== turn) return;
    $("busy").textContent = "";
    showError(error);
  }
}

function fill(list, found) {
  $(list).replaceChildren(...found.map((name) => made("option", { value: name })));
  return found;
}

const listed = (path, list) => names(path).then((items) => fill(list, items.map((item) => item.name))).catch(() => []);
listed("/models", "models");
listed("/accelerators", "accelerators");
const regions = listed("/regions", "regions");

$("form").addEventListener("submit", (event) => { event.preventDefault(); beyond = {}; submit(); });
$("kind").addEventListener("change", showKind);
$("share").addEventListener("click", async () => {
  try { await navigator.clipboard.writeText(location.href); $("busy").textContent = "The link is in the clipboard."; }
  catch { $("busy").textContent = "The address of this page is the link."; }
});
$("keep").addEventListener("click", () => {
  if (!$("answer").dataset.answer) return;
  kept = { request, answer: JSON.parse($("answer").dataset.answer) };
  $("busy").textContent = "Kept; change something and estimate again.";
});
const config = $("config");
config.addEventListener("dragover", (event) => { event.preventDefault(); config.classList.add("dropping"); });
config.addEventListener("dragleave", () => config.classList.remove("dropping"));
config.addEventListener("drop", async (event) => {
  event.preventDefault();
  config.classList.remove("dropping");
  const file = event.dataTransfer.files[0];
  if (file) config.value = await file.text();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => submit(request));

function restore() {
  try {
    const found = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    if (!found.model) return false;
    const { model, workload, hardware, site, pricing, ...rest } = found;
    beyond = rest;
    write(found);
    submit(found);
    return true;
  } catch { return false; }
}

if (!restore()) { showKind(); submit(); }
