// An application of better-auth with its plugin for OpenID providers. What its script in the browser does (ask for the address
// of the provider, go there) is done here.

import { betterAuth } from 'better-auth';
import { memoryAdapter } from 'better-auth/adapters/memory';
import { fromNodeHeaders, toNodeHandler } from 'better-auth/node';
import { genericOAuth } from 'better-auth/plugins';
import express from 'express';
import { SIGN_IN, SIGN_OUT, given, home, page, serve } from './application.mjs';

const provider = {
  providerId: 'roam',
  clientId: given.client_id,
  clientSecret: given.client_secret,
  discoveryUrl: `${given.issuer}/.well-known/openid-configuration`,
  scopes: ['openid', 'profile', 'email', 'offline_access'],
};
const auth = betterAuth({
  baseURL: home,
  secret: 'a secret of this application alone, long enough',
  database: memoryAdapter({ user: [], session: [], account: [], verification: [] }),
  plugins: [genericOAuth({ config: [provider] })],
});

const asked = (req, body) => ({ headers: fromNodeHeaders(req.headers), body, asResponse: true });

async function follow(answer, res) {
  res.append('set-cookie', answer.headers.getSetCookie());
  const { url } = await answer.json();
  res.redirect(url ?? '/');
}

const app = express();
app.all('/api/auth/*splat', toNodeHandler(auth));

app.get('/login', async (req, res) =>
  follow(await auth.api.signInSocial(asked(req, { provider: 'roam', callbackURL: '/' })), res),
);
app.get('/logout', async (req, res) => follow(await auth.api.signOut(asked(req)), res));

app.get('/refresh', async (req, res) => {
  const headers = fromNodeHeaders(req.headers);
  const [{ id: accountId }] = await auth.api.listUserAccounts({ headers });
  const kept = { headers, body: { accountId } };
  const { accessToken: before } = await auth.api.getAccessToken(kept);
  const { accessToken: after } = await auth.api.refreshToken(kept);
  res.send(page({ refreshed: after !== before }, SIGN_OUT));
});

app.get('/', async (req, res) => {
  const session = await auth.api.getSession({ headers: fromNodeHeaders(req.headers) });
  if (!session) return res.send(page({}, SIGN_IN));
  const { name, email } = session.user;
  res.send(page({ name, email }, SIGN_OUT));
});

await serve(app);
