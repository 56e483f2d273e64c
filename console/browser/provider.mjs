// An OpenID provider of others (npm oidc-provider), for tests. Whoever signs in is whom they say; alice is of the platform team, bob
// of support, and others of nothing.
// usage: node provider.mjs ISSUER CERT KEY REDIRECT SECRET
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // before Node 20
const { Provider } = await import("oidc-provider");
const [issuer, cert, key, redirect, secret] = process.argv.slice(2);
const roles = { alice: ["platform"], bob: ["support"] };
const provider = new Provider(issuer, {
  clients: [{ client_id: "palisade-console", client_secret: secret, redirect_uris: [redirect] }],
  scopes: ["openid", "roles"],
  claims: { openid: ["sub"], roles: ["roles"] },
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, roles: roles[id] ?? ["nobody"] }) }),
});
createServer({ cert: readFileSync(cert), key: readFileSync(key) }, provider.callback()).listen(new URL(issuer).port, "127.0.0.1", () => console.log("serves"));
