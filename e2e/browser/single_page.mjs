// A single-page application of another origin, and of another site: its own small server gives out its files, and nothing else.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { completed, given, run } from './browser.mjs';
import { shopper } from './shopper.mjs';

const here = (name) => readFile(new URL(name, import.meta.url), 'utf8');

async function serve() {
  const page = ['text/html; charset=utf-8', await here('single_page.html')];
  const library = createRequire(import.meta.url).resolve('oidc-client-ts').replace(/umd\/[^/]+$/, 'browser/oidc-client-ts.js');
  const settings = { authority: given.account, client_id: given.client_id };
  const files = {
    '/': page,
    '/callback': page,
    '/silent': page,
    '/application.js': ['text/javascript', await here('single_page_application.js')],
    '/oidc-client-ts.js': ['text/javascript', await readFile(library, 'utf8')],
    '/settings.json': ['application/json', JSON.stringify(settings)],
  };
  const server = createServer((request, response) => {
    const [kind, content] = files[new URL(request.url, 'http://here').pathname] ?? ['text/plain', ''];
    response.writeHead(content ? 200 : 404, { 'content-type': kind }).end(content);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

async function application() {
  const { origin, close } = await serve();
  const ada = await shopper(given.language);
  const page = await ada.tab();
  const says = (text) => page.getByRole('status').filter({ hasText: text }).waitFor();
  const press = (name) => ada.button(page, name).click();
  const known = `as ${given.name}, ${given.email}`;
  const tokens = () => page.evaluate(() => JSON.parse(Object.values(sessionStorage).find((it) => it.includes('id_token'))));

  await page.goto(origin);
  await says('Nobody is signed in');
  await press('Sign in');
  await ada.signIn(page);
  await ada.isAt(page, given.account, /^\/consent$/);
  await ada.button(page, ada.words.allow).click();
  await ada.isAt(page, origin, /^\/$/);
  await says(`signed in ${known}`);
  completed('signed in');

  const first = await tokens();
  await press('Renew');
  await says(`renewed ${known}`);
  const second = await tokens();
  assert.notEqual(second.access_token, first.access_token);
  assert.notEqual(second.refresh_token, first.refresh_token);
  completed('renewed by the refresh token');

  // The frame is of another site than the page around it, and its cookie is `SameSite=Lax`.
  await press('Ask silently');
  await says('refused: login_required');
  await page.reload();
  await says(`signed in ${known}`);
  completed('not known in a frame of another site');

  await press('Sign out');
  await ada.isAt(page, origin, /^\/$/);
  await says('Nobody is signed in');
  const refused = await page.evaluate(
    async ({ account, ...grant }) => {
      const body = new URLSearchParams({ grant_type: 'refresh_token', ...grant });
      return (await fetch(`${account}/oauth2/token`, { method: 'POST', body })).json();
    },
    { account: given.account, client_id: given.client_id, refresh_token: second.refresh_token },
  );
  assert.equal(refused.error, 'invalid_grant');
  await page.goto(`${given.account}/account`);
  await ada.isAskedToSignIn(page);
  completed('signed out');
  close();
}

await run({ application });
