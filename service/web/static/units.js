// Numbers for people: three digits, the unit's own prefix.

const number = (value, digits = 3) =>
  Number(value.toPrecision(digits)).toLocaleString("en", { maximumSignificantDigits: digits });

function scaled(value, base, units) {
  let index = 0;
  while (Math.abs(value) >= base && index < units.length - 1) { value /= base; index += 1; }
  return `${number(value)} ${units[index]}`.trim();
}

export const count = (value) => scaled(value, 1000, ["", "thousand", "million", "billion", "trillion", "quadrillion"]);
export const bytes = (value) => scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
export const usd = (value) => `${number(value)} USD`.replace(/^(\S+)/, () => value >= 1e6 ? `${number(value / 1e6)} million` : number(value));
export const kilograms = (value) => value >= 1000 ? `${number(value / 1000)} t CO2e` : `${number(value)} kg CO2e`;
export const kilowattHours = (value) => value >= 1000 ? `${number(value / 1000)} MWh` : `${number(value)} kWh`;
export const percent = (value) => `${number(100 * value)} %`;
export const plain = (value) => number(value);
export const flops = (value) => value.toExponential(2).replace("e+", " × 10^") + " FLOPs";

export function seconds(value) {
  if (value < 1) return `${number(value * 1000)} ms`;
  if (value < 120) return `${number(value)} s`;
  if (value < 7200) return `${number(value / 60)} min`;
  if (value < 172800) return `${number(value / 3600)} h`;
  return `${number(value / 86400)} days`;
}
