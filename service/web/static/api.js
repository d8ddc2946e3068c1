// Calls of the service. A problem document becomes an Error that carries it.

export class Problem extends Error {
  constructor(document) {
    super(document.detail || document.title || "the request failed");
    this.document = document;
  }
}

async function answer(response) {
  const body = await response.json().catch(() => ({ title: `status ${response.status}` }));
  if (!response.ok) throw new Problem(body);
  return body;
}

export async function post(path, body) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return answer(await fetch(path, options));
}

export async function names(path) {
  const found = [];
  let cursor = "";
  do {
    const query = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
    const page = await answer(await fetch(`${path}?limit=200${query}`));
    found.push(...page.items);
    cursor = page.next;
  } while (cursor);
  return found;
}

export async function get(path) {
  return answer(await fetch(path));
}
