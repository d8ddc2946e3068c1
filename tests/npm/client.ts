// A caller in TypeScript: every name and field below is checked against the generated types.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };
const address = process.argv[2];
if (!address) throw new Error("usage: client.js ADDRESS");
const api = createClient<paths>({ baseUrl: address });

type Request = components["schemas"]["EstimateRequest"];
const body: Request = { model: { kind: "catalog", name: "llama-3.1-8b" } };

const success = await api.POST("/estimate", { body });
const total: number | undefined = success.data?.parameters?.total;

const refused = await api.POST("/estimate", {
  body: { model: { kind: "catalog", name: "llama-3.1-8" } },
});
const suggestions = refused.error?.errors?.[0]?.suggestions ?? [];

const first = await api.GET("/accelerators", { params: { query: { limit: 2 } } });
const cursor = first.data?.next ?? undefined;
const second = await api.GET("/accelerators", { params: { query: { limit: 2, cursor } } });

const swept = await api.POST("/sweep", {
  body: {
    base: { ...body, hardware: { accelerator: "h100-sxm" } },
    axes: { "/hardware/count": [8, 16] },
    columns: ["/time/device_hours/value"],
  },
});

// A sweep answers in JSON or, where one accepts that, as CSV: its type is either.
if (typeof swept.data !== "object") throw new Error("the sweep was refused");

console.log(
  JSON.stringify({
    total,
    suggestions,
    pages: [first, second].map((page) => page.data?.items.map((item) => item.name)),
    columns: Object.keys(swept.data.columns),
    rows: swept.data.rows,
  }),
);
