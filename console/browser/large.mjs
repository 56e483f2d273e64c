// Looks at the map of thousands of services in a real browser: grouped, searched, focused, by the keyboard, in every size.
// usage: node large.mjs BASE LINK [OUT]
import { chromium } from "playwright-core";
import { readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";

const [base, link, out] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const failures = [];
const check = (ok, what) => { if (!ok) failures.push(what); };
if (out) mkdirSync(out, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
const page = await (await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 900 }, baseURL: base })).newPage();
page.setDefaultTimeout(240_000); // under the race detector the graph of thousands takes its time
page.on("pageerror", (e) => failures.push("a script failed: " + e.message));
const boxes = () => page.locator(".map [data-node]").count();
const looked = async (name) => {
  const n = await boxes();
  check(n > 0 && n <= 61, `${name}: ${n} boxes`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(over <= 0, `${name} is ${over} px wider than the window`);
  await page.evaluate(axe + "; undefined");
  for (const v of (await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }))).violations) {
    if (v.impact === "serious" || v.impact === "critical") failures.push(`${name}: ${v.id}: ${v.nodes[0].html.slice(0, 160)}`);
  }
  if (out) await page.screenshot({ path: `${out}/${name}.png` });
};

await page.goto(link);
await page.waitForURL(base + "/");
const begun = performance.now();
await page.goto("/map");
await page.getByText("grouped by owner").waitFor();
console.log(`the whole map: ${Math.round(performance.now() - begun)} ms, ${await boxes()} boxes, ${(await page.content()).length} bytes`);
await looked("large");

// A group opens with the keyboard alone.
check(await page.locator(".groups a").count() > 100, "groups are missing from the list");
await page.locator(".groups").getByRole("link", { name: "team-119" }).waitFor(); // it has no box of its own
await page.locator(".groups").getByRole("link", { name: "team-07", exact: true }).focus();
await page.keyboard.press("Enter");
await page.getByText("Group team-07").waitFor();
await looked("large-group");

// One of five thousand is found by name, and its neighbours are drawn.
const find = page.getByRole("searchbox", { name: "Find a service" });
await find.fill("svc-4242");
await find.press("Enter");
await page.getByText("Around svc-4242").waitFor();
check(await page.locator('.map [data-node="svc-4242"]').count() > 0, "what was found is not drawn");
await looked("large-focus");
await find.fill("team-07");
await find.press("Enter");
await page.getByText("Found:").waitFor();

for (const [width, height, colorScheme] of [[360, 780, "dark"], [3840, 2160, "light"]]) {
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme });
  await page.goto("/map?focus=svc-4242&blast=svc-4242&steps=2");
  await page.getByRole("heading", { name: "If svc-4242 is taken" }).waitFor();
  const box = await page.locator('.map [data-node="svc-4242"]').first().boundingBox();
  check(box.x >= 0 && box.x + box.width <= width, `at ${width} the service that the picture is about is out of sight`);
  await looked(`large-${width}`);
}
await browser.close();
for (const f of failures) console.error(f);
process.exit(failures.length ? 1 : 0);
