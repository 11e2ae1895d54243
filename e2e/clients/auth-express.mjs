// The application of Auth.js for Express, with its pages for signing in and out.

import { ExpressAuth, getSession } from '@auth/express';
import express from 'express';
import { given, page, serve } from './application.mjs';

const provider = {
  id: 'roam',
  name: 'Roam',
  type: 'oidc',
  issuer: given.issuer,
  clientId: given.client_id,
  clientSecret: given.client_secret,
};
const config = { providers: [provider], secret: 'a secret of this application alone, long enough', trustHost: true };

const app = express();
app.set('trust proxy', true);
app.use('/auth', ExpressAuth(config));

app.get('/', async (req, res) => {
  const session = await getSession(req, config);
  if (!session?.user) return res.send(page({}, '<a href="/auth/signin">Sign in</a>'));
  const { name, email } = session.user;
  res.send(page({ name, email }, '<a href="/auth/signout">Sign out</a>'));
});

await serve(app);
