// Signs in to a console at an OpenID provider, in a real browser.
// usage: node sign-in.mjs CONSOLE ISSUER
import { chromium } from "playwright-core";

const [base, issuer] = process.argv.slice(2);
const failures = [];
const check = (ok, what) => { if (!ok) failures.push(what); };
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
const open = async () => {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, baseURL: base });
  const page = await context.newPage();
  page.setDefaultTimeout(60000);
  return page;
};
// signIn goes to the provider and through its pages, until the browser is sent back.
const signIn = async (page, who) => {
  await page.goto("/");
  check(new URL(page.url()).pathname === "/sign-in", "without a session a page is shown: " + page.url());
  await page.getByRole("link", { name: "Sign in with staff" }).click();
  await page.waitForURL(issuer + "/interaction/**");
  await page.locator("input[name=login]").fill(who);
  await page.locator("input[name=password]").fill("any");
  await page.locator("button[type=submit]").click();
  await page.getByRole("button", { name: "Continue" }).click();
};
const refused = async (page, want) => {
  await page.locator("[role=alert]").waitFor();
  const text = await page.locator("[role=alert]").innerText();
  check(text.includes(want), `expected ${want}, got ${text}`);
  await page.goto("/");
  check(new URL(page.url()).pathname === "/sign-in", "somebody who was refused is in");
};

const alice = await open();
await signIn(alice, "alice");
await alice.waitForURL(base + "/");
check(await alice.getByRole("heading", { level: 1 }).innerText() === "Overview", "signing in does not lead to the overview");
check(await alice.locator(".who").innerText() === "staff:alice", "another name");
check(await alice.locator(".who").getAttribute("title") === "admin", "another role");
const cookies = await alice.context().cookies(base);
const session = cookies.find((c) => c.name === "__Host-palisade");
check(session?.httpOnly && session.secure && session.sameSite === "Strict", "the session's cookie is not as it should be");
check(session?.expires - Date.now() / 1000 < 3700, "the session outlives the ID token");
check(!cookies.some((c) => c.name === "__Host-palisade-flow"), "the way to the provider is remembered");
await alice.goto("/model");
await alice.getByRole("heading", { name: "Plan another" }).waitFor();
await alice.getByRole("button", { name: "Sign out" }).click();
await alice.waitForURL(/sign-in/);
check((await alice.getByRole("link", { name: "Sign out of staff" }).getAttribute("href")).startsWith(issuer + "/session/end?"), "the provider's own session is not spoken of");
await alice.goto("/model");
check(new URL(alice.url()).pathname === "/sign-in", "after signing out a page is shown");

// Who has no role there has none here; a viewer only looks.
const carol = await open();
await signIn(carol, "carol");
await refused(carol, "none of your roles");
const bob = await open();
await signIn(bob, "bob");
await bob.waitForURL(base + "/");
check(await bob.locator(".who").getAttribute("title") === "viewer", "bob is more than a viewer");

// An answer that another browser got signs nobody in (login CSRF), and neither does the own one twice.
const mallory = await open();
let stolen = "";
mallory.on("request", (r) => { if (r.url().includes("/sign-in/callback?")) stolen = r.url(); });
await signIn(mallory, "alice");
await mallory.waitForURL(base + "/");
const victim = await open();
await victim.goto(stolen);
await refused(victim, "not begun in this browser");
await mallory.goto(stolen);
await mallory.locator("[role=alert]").waitFor();

await browser.close();
for (const f of failures) console.error(f);
process.exit(failures.length ? 1 : 0);
