// A real OpenID provider (npm oidc-provider) on loopback, with its own development login page.
import { pathToFileURL } from "node:url";

const { port, issuer, redirects, jwks, people } = JSON.parse(process.env.OPENID_PROVIDER);
const { Provider } = await import(pathToFileURL(process.env.OPENID_PROVIDER_MODULE).href);

const provider = new Provider(issuer, {
  clients: [{
    client_id: "portal",
    client_secret: "a secret of the test",
    redirect_uris: redirects,
    post_logout_redirect_uris: [redirects[0].replace(/\/sign-in\/.*/, "/enroll/sign-in")],
    response_types: ["code"],
    grant_types: ["authorization_code"],
  }],
  jwks,
  claims: { openid: ["sub"], profile: ["name", "preferred_username", "locale"], email: ["email"], work: ["groups", "work_account"] },
  scopes: ["openid", "profile", "email", "work"],
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  findAccount: (_context, id) => (people[id] ? { accountId: people[id].sub, claims: () => people[id] } : undefined),
});
provider.on("server_error", (_context, error) => console.error(error));
provider.listen(port, "127.0.0.1", () => console.log("ready"));
