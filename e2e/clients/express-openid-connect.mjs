// The application of express-openid-connect's README. The code flow is chosen, for the library's own choice is the implicit one.

import express from 'express';
import { auth } from 'express-openid-connect';
import { SIGN_OUT, given, home, page, serve } from './application.mjs';

const codeFlow = { response_type: 'code', scope: 'openid profile email offline_access' };

const app = express();
app.use(
  auth({
    issuerBaseURL: given.issuer,
    baseURL: home,
    clientID: given.client_id,
    clientSecret: given.client_secret,
    secret: 'a secret of this application alone, long enough',
    idpLogout: true,
    ...(given.library_defaults ? {} : { authorizationParams: codeFlow }),
  }),
);

app.get('/', (req, res) => {
  const { name, email, preferred_username: username } = req.oidc.user;
  res.send(page({ name, email, username }, SIGN_OUT));
});

app.get('/refresh', async (req, res) => {
  const before = req.oidc.accessToken.access_token;
  const { access_token: after } = await req.oidc.accessToken.refresh();
  res.send(page({ refreshed: after !== before }, SIGN_OUT));
});

app.use((error, req, res, next) => res.send(page({ error: error.error, description: error.error_description }, '')));

await serve(app);
