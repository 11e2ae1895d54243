// The quick start of openid-client 5, which many applications still have.

import express from 'express';
import session from 'express-session';
import { Issuer, generators } from 'openid-client-5';
import { SIGN_IN, SIGN_OUT, given, home, page, serve } from './application.mjs';

const issuer = await Issuer.discover(given.issuer);
const client = new issuer.Client({
  client_id: given.client_id,
  client_secret: given.client_secret,
  redirect_uris: [`${home}/cb`],
  response_types: ['code'],
});

const app = express();
app.use(session({ secret: 'a secret of this application', resave: false, saveUninitialized: false }));

app.get('/login', (req, res) => {
  const code_verifier = generators.codeVerifier();
  req.session.code_verifier = code_verifier;
  const challenge = { code_challenge: generators.codeChallenge(code_verifier), code_challenge_method: 'S256' };
  res.redirect(client.authorizationUrl({ scope: 'openid email profile offline_access', ...challenge }));
});

app.get('/cb', async (req, res) => {
  const checks = { code_verifier: req.session.code_verifier };
  req.session.tokens = await client.callback(`${home}/cb`, client.callbackParams(req), checks);
  res.redirect('/');
});

app.get('/refresh', async (req, res) => {
  const before = req.session.tokens;
  const after = await client.refresh(before.refresh_token);
  req.session.tokens = { ...before, ...after };
  res.send(page({ refreshed: after.access_token !== before.access_token }, SIGN_OUT));
});

app.get('/logout', (req, res) => {
  const { id_token: id_token_hint } = req.session.tokens;
  const address = client.endSessionUrl({ id_token_hint, post_logout_redirect_uri: `${home}/` });
  req.session.destroy(() => res.redirect(address));
});

app.get('/', async (req, res) => {
  if (!req.session.tokens) return res.send(page({}, SIGN_IN));
  const { name, email, preferred_username: username } = await client.userinfo(req.session.tokens.access_token);
  res.send(page({ name, email, username }, SIGN_OUT));
});

await serve(app);
