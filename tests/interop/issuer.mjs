// A third-party identity provider (`oidc-provider`), on this machine: people log in by its forms and authorise a
// client, machines log in by a secret. Its access tokens are signed, each for one resource.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const SCOPES = ["codes:read", "codes:verify", "secrets:read", "secrets:write", "seats:read"];
/** Machines that log in. The second one's tokens are valid for a second. */
export const MACHINE = "night-shift";
export const HASTY = "hasty";
const SECRET = randomUUID();
/** The client that people use, and its redirect address, at which nothing listens. */
export const HOST = "host";
export const CALLBACK = "http://127.0.0.1:1/callback";

const machine = (client_id) => ({
  client_id,
  client_secret: SECRET,
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
});

const host = {
  client_id: HOST,
  application_type: "native",
  token_endpoint_auth_method: "none",
  grant_types: ["authorization_code"],
  redirect_uris: [CALLBACK],
  response_types: ["code"],
};

/** Servers at whose pages people sign in: one with a secret, and one without. */
export const SITE = "site: 1";
export const PUBLIC_SITE = "site";
export const SITE_SECRET = `${randomUUID()}&%+`;

const site = (client_id, callback, more) => ({
  client_id,
  grant_types: ["authorization_code"],
  redirect_uris: [callback],
  response_types: ["code"],
  ...more,
});

function signingKey() {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "ES256" };
}

export class Issuer {
  /** `callback`: the redirect address of the servers. */
  static async start(callback = CALLBACK) {
    const issuer = new Issuer();
    issuer.callback = callback;
    issuer.server = createServer((asked, answer) => issuer.answer(asked, answer)).listen(0, "127.0.0.1");
    await once(issuer.server, "listening");
    issuer.url = `http://127.0.0.1:${issuer.server.address().port}`;
    issuer.restart();
    return issuer;
  }

  /** Starts again with another signing key; the one before is gone. */
  restart() {
    const resource = (_ctx, audience, client) => ({
      audience,
      scope: SCOPES.join(" "),
      accessTokenFormat: "jwt",
      accessTokenTTL: client.clientId === HASTY ? 1 : 600,
      jwt: { sign: { alg: "ES256" } },
    });
    const provider = new Provider(this.url, {
      jwks: { keys: [signingKey()] },
      clients: [
        host,
        machine(MACHINE),
        machine(HASTY),
        site(SITE, this.callback, { client_secret: SITE_SECRET }),
        site(PUBLIC_SITE, this.callback, { application_type: "native", token_endpoint_auth_method: "none" }),
      ],
      clientDefaults: { id_token_signed_response_alg: "ES256" },
      cookies: { keys: [randomUUID()] },
      features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: true },
        resourceIndicators: { enabled: true, getResourceServerInfo: resource },
      },
      scopes: SCOPES,
    });
    this.answer = provider.callback();
  }

  close() {
    this.server.close();
  }

  /** An access token for a machine. */
  async token(client_id, resource, scope) {
    const asked = { grant_type: "client_credentials", client_id, client_secret: SECRET, resource, scope };
    const body = new URLSearchParams(asked);
    const answer = await (await fetch(`${this.url}/token`, { method: "POST", body })).json();
    if (!answer.access_token) throw new Error(JSON.stringify(answer));
    return answer.access_token;
  }

  /** Fills in every form as a person in a browser, from the page that a client opens; returns what the client gets. */
  async logIn(page, person) {
    const at = await this.visit(page, person);
    if (!at.searchParams.has("code")) throw new Error(`no login: ${at}`);
    return at.searchParams;
  }

  /** Does the same; returns the address to which the browser is sent at the end. */
  async visit(page, person, cookies = new Map()) {
    let at = page;
    let form = null;
    for (let hops = 0; at.origin === this.url; hops += 1) {
      if (hops === 20) throw new Error(`the login does not end: ${at}`);
      const cookie = [...cookies].map((pair) => pair.join("=")).join("; ");
      const sent = form ? { method: "POST", body: new URLSearchParams(form) } : {};
      const answer = await fetch(at, { ...sent, headers: { cookie }, redirect: "manual" });
      for (const set of answer.headers.getSetCookie()) cookies.set(...set.split(";")[0].split(/=(.*)/s, 2));
      const next = answer.headers.get("location");
      if (next) {
        [at, form] = [new URL(next, at), null];
      } else {
        const html = await answer.text();
        const prompt = html.match(/name="prompt" value="(\w+)"/)?.[1];
        if (!prompt) throw new Error(`no form at ${at}: ${html}`);
        form = { prompt, login: person, password: "any" };
      }
    }
    return at;
  }
}
