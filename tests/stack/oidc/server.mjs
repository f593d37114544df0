// A certified OpenID Connect provider for tests: node server.mjs CONFIG, a JSON file with port, keys (JWKS), audience and
// clients ({id, secret, groups}). Each client gets tokens of its own, by its secret: nobody needs to log in by a browser.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const require = createRequire(join(config.modules, 'x.js'));
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);
const issuer = `http://127.0.0.1:${config.port}`;
const groups = Object.fromEntries(config.clients.map(client => [client.id, client.groups]));

const provider = new Provider(issuer, {
  jwks: { keys: config.keys },
  clients: config.clients.map(({ id, secret }) => ({
    client_id: id,
    client_secret: secret,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: config.keys[0].alg,
  })),
  ttl: { ClientCredentials: (_context, _token, client) => (client.clientId === 'hasty' ? 1 : 600) },
  extraTokenClaims: (_context, token) => ({ groups: groups[token.clientId] }),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => config.audience,
      getResourceServerInfo: (_context, audience) => ({
        scope: 'admit',
        audience,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: config.keys[0].alg } },
      }),
    },
  },
});
provider.listen(config.port, '127.0.0.1', () => console.log(`listening ${issuer}`));
