// Drives the console in a real browser: sign-in, search, explain, map, who may do what, live; the keyboard; axe on every page.
// usage: node drive.mjs BASE LINK REQUEST [OUT [all]]: pictures go to OUT; with "all" every page is looked at in every size and colour.
import { chromium } from "playwright-core";
import { readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";

const [base, link, request, out, all] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const failures = [];
const check = (ok, what) => { if (!ok) failures.push(what); };
if (out) mkdirSync(out, { recursive: true });

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 900 }, baseURL: base });
const page = await context.newPage();
page.setDefaultTimeout(60000);
// What the content security policy stops is a fault of ours.
page.on("console", (m) => { if (m.type() === "error" && !/status of 40[0-9]/.test(m.text())) failures.push("the browser says: " + m.text()); });
page.on("pageerror", (e) => failures.push("a script failed: " + e.message));
page.on("request", (r) => { if (!r.url().startsWith(base) && !r.url().startsWith("data:")) failures.push("asked for " + r.url()); });

// Sign in by the link, once.
await page.goto("/");
check(new URL(page.url()).pathname === "/sign-in", "without a session a page is shown: " + page.url());
await page.goto(link);
await page.waitForURL(base + "/");
check(await page.getByRole("heading", { level: 1 }).innerText() === "Overview", "the link does not lead to the overview");
check(!(await page.evaluate(() => document.cookie)).includes("palisade"), "scripts see the session");
const again = await context.newPage();
await again.goto("/sign-in?again=1");
await again.fill("#code", link.split("#")[1]);
await again.getByRole("button", { name: "Sign in" }).click();
check((await again.locator("[role=alert]").innerText()).includes("used already"), "the link works twice");
await again.close();

// Search, with a query that cannot be understood on the way.
await page.goto("/events");
const query = page.getByRole("searchbox", { name: "Query" });
await query.fill("outcome:deniet");
await query.press("Enter");
await page.locator("#results [role=alert]").waitFor();
check((await page.locator("#results").innerText()).includes("deniet"), "the mistake is not shown");
await query.fill("outcome:denied reason:no-permit side:edge");
await query.press("Enter");
await page.locator("#results table").waitFor();
check(await page.locator("#results .badge.denied").count() > 0, "nothing was found");
check(await page.locator("#results .badge.allowed").count() === 0, "the query does not narrow");
check(new URL(page.url()).searchParams.get("q")?.includes("no-permit"), "the address does not keep the query");

// Explain the first of them.
await page.locator("#results table a").first().click();
await page.getByRole("heading", { name: "What decided" }).waitFor();
check(await page.locator(".trail .deny").count() > 0, "the page does not say what refused");

// The map: find, focus, go back in time.
await page.goto("/map");
await page.locator('.map [data-node="orders"]').first().waitFor();
await page.getByRole("searchbox", { name: "Find a service" }).fill("payments");
await page.getByRole("searchbox", { name: "Find a service" }).press("Enter");
await page.getByText("Around payments").waitFor();
await page.getByRole("slider").focus();
await page.keyboard.press("ArrowRight");
await page.waitForURL(/back=1/);

// Who may do what.
await page.goto("/policies");
await page.getByLabel("Who", { exact: true }).fill("user-1");
await page.getByLabel("Roles").fill("customer");
await page.getByLabel("Method").selectOption("DELETE");
await page.getByLabel("Path").fill("/orders/7");
await page.getByRole("button", { name: "Decide" }).click();
await page.locator("#answer h3").waitFor();
check(/user-1 may (not )?DELETE \/orders\/7/.test(await page.locator("#answer h3").innerText()), "who may is not answered");

// A model is planned, refused while nobody accepts what it denies, and applied.
await page.goto("/model");
await page.getByLabel("Or its text").fill("denies");
await page.getByRole("button", { name: "Show the plan", exact: true }).click();
await page.getByRole("heading", { name: "What was used, decided again" }).waitFor();
const planned = new URL(page.url()).pathname;
await page.getByLabel("I have read the plan").check();
await page.getByRole("button", { name: "Apply", exact: true }).click();
await page.getByText("that was not accepted").waitFor();
await page.getByLabel("Deny what was used").check();
await page.getByLabel("I have read the plan").check();
await page.getByRole("button", { name: "Apply", exact: true }).click();
await page.getByText("no more errors than before").waitFor(); // by itself, without a reload
await page.getByRole("button", { name: /^Plan going back/ }).click();
await page.getByRole("heading", { name: "Apply it" }).waitFor();
const back = new URL(page.url()).pathname;

// Live: what happens shows up by itself.
await page.goto("/live");
await page.getByText("live", { exact: true }).waitFor();
await page.locator("#live tbody tr").first().waitFor();

// The keyboard reaches the content and the pages.
await page.goto("/");
await page.keyboard.press("Tab");
check(await page.evaluate(() => document.activeElement.className) === "skip", "the first stop is not the way past the menu");
for (let i = 0; i < 3; i++) await page.keyboard.press("Tab");
check(await page.evaluate(() => document.activeElement.closest("nav") !== null), "the keyboard does not reach the menu");

// Dark, kept in a cookie.
await page.getByRole("button", { name: "Dark" }).click();
await page.locator('html[data-theme="dark"]').waitFor({ state: "attached" }); // of the page that comes then
await page.getByRole("button", { name: "Light" }).click();
await page.getByRole("button", { name: "Auto" }).click();

const pages = { overview: "/", live: "/live", events: "/events?q=outcome:denied", mistake: "/events?q=(", request: "/request/" + request, map: "/map", blast: "/map?blast=orders&focus=orders&steps=2&diff=1", services: "/services", service: "/services/orders", policies: "/policies?as=user-1&role=customer&method=DELETE&target=/orders/7", proxies: "/proxies", model: "/model", draft: back, applied: planned };
const serious = async (name) => {
  await page.evaluate(axe + "; undefined");
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const v of found.violations) {
    if (v.impact === "serious" || v.impact === "critical") failures.push(`${name}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + (n.any[0]?.message ?? "")).join(" | ")}`);
  }
};
const narrow = async (name) => {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(over <= 0, `${name} is ${over} px wider than the window`);
};
for (const [name, path] of Object.entries(pages)) {
  for (const [width, height] of [[1280, 900], [360, 780], [3840, 2160]]) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of ["light", "dark"]) {
      if (!all && !(width === 1280 || (width === 360 && colorScheme === "dark"))) continue;
      await page.emulateMedia({ colorScheme });
      await page.goto(path);
      if (name === "live") await page.locator("#live tbody tr").first().waitFor();
      if (width === 1280) await serious(`${name}, ${colorScheme}`);
      await narrow(`${name} at ${width}`);
      if (out) await page.screenshot({ path: `${out}/${name}-${width}-${colorScheme}.png`, fullPage: width === 360 });
    }
  }
}
await page.emulateMedia({ colorScheme: "light" });
await page.setViewportSize({ width: 1280, height: 900 });
await page.goto("/");
await page.getByRole("button", { name: "Sign out" }).click();
await page.waitForURL(/sign-in/);
await serious("sign-in");
if (out) await page.screenshot({ path: `${out}/sign-in-1280-light.png` });
await page.goto("/events");
check(new URL(page.url()).pathname === "/sign-in", "after signing out a page is shown");
await browser.close();
for (const f of failures) console.error(f);
process.exit(failures.length ? 1 : 0);
