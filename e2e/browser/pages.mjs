// The pages beside the story: each is looked at as it is, as it refuses, and in the other language.

import assert from 'node:assert/strict';
import { completed, given, run } from './browser.mjs';
import { shopper } from './shopper.mjs';

async function pages() {
  const ada = await shopper(given.language);
  const { words, button, link } = ada;
  const page = await ada.tab();
  const see = async (address, name) => {
    await page.goto(address);
    await ada.look(page, name);
  };

  await page.goto(`${given.shop}/`);
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main', 'the first key leads past the header');
  await see(`${given.shop}/basket`, 'basket-empty');
  await see(`${given.shop}/?q=nothing-has-this-name`, 'nothing-found');
  await see(`${given.shop}/nowhere`, 'not-found');
  await see(`${given.shop}/p/${given.sold_out}`, 'product-sold-out');
  assert.equal(await button(page, words.add).count(), 0, 'what is sold out cannot be chosen');
  await see(`${given.account}/sign-in?flow=none`, 'sign-in-over');
  await see(`${given.account}/oauth2/logout/confirm?request=none`, 'log-out-over');
  await see(`${given.account}/sign-in`, 'sign-in-here');
  await button(page, words.signIn).click();
  await page.getByText(words.emailInvalid, { exact: true }).waitFor();
  await ada.look(page, 'sign-in-again');
  await link(page, words.createAccount).click();
  await ada.isAt(page, given.account, /^\/register$/);
  await button(page, words.createAccount).click();
  await page.getByText(words.emailInvalid, { exact: true }).waitFor();
  await ada.look(page, 'register-again');
  completed('guests');

  const { issuer } = await (await fetch(`${given.account}/.well-known/openid-configuration`)).json();
  const begun = page.waitForRequest((request) => request.url().startsWith(`${given.account}/oauth2/authorize`));
  await page.goto(`${given.orders}/checkout`);
  const callback = new URL(`${given.orders}/callback?error=access_denied`);
  callback.searchParams.set('state', new URL((await begun).url()).searchParams.get('state'));
  callback.searchParams.set('iss', issuer);
  await see(`${callback}`, 'sign-in-cancelled');
  await see(`${callback}`, 'sign-in-failed');
  await link(page, words.signInAgain).click();
  await ada.isAskedToSignIn(page);
  completed('sign-ins that come to no end');

  // Cookies are a host's own: whoever came by the address goes on by the name.
  const byAddress = new URL(`${given.shop}/basket`);
  byAddress.hostname = '127.0.0.1';
  await page.goto(byAddress.href);
  await ada.header(page, words.signIn).click();
  await ada.signIn(page);
  await ada.isAt(page, given.shop, /^\/basket$/);
  await ada.isKnown(page);
  await button(page, words.signOut).click();
  await ada.isAt(page, given.shop, /^\/$/);
  await ada.isGuest(page);
  completed('by the address');

  // A second click sends nothing.
  await page.goto(`${given.account}/sign-in`);
  const sent = [];
  page.on('request', (request) => request.method() === 'POST' && sent.push(request.url()));
  await page.getByLabel(words.email, { exact: true }).fill(given.email);
  await page.getByLabel(words.password, { exact: true }).fill(given.password);
  await button(page, words.signIn).dblclick();
  await ada.isAt(page, given.account, /^\/account$/);
  assert.deepEqual(sent, [`${given.account}/sign-in`]);
  await see(`${given.account}/account/password`, 'password');
  await see(`${given.account}/account/sessions`, 'sessions');
  await see(`${given.account}/account/applications`, 'applications');
  await see(`${given.account}/device`, 'device');
  await see(`${given.account}/oauth2/logout`, 'log-out');
  await see(`${given.orders}/checkout`, 'checkout-empty');
  await see(`${given.orders}/nowhere`, 'orders-not-found');
  completed('people who are signed in');

  await ada.choose(page, 3);
  await link(page, words.checkOutAsGuest).click();
  await ada.order(page);
  await button(page, words.cancel).click();
  await page.locator('.badge.status-cancelled').waitFor();
  await ada.look(page, 'order-cancelled');
  completed('an order that is cancelled');

  const ask = new URL(`${given.account}/oauth2/authorize`);
  const asked = {
    response_type: 'code',
    client_id: given.client_id,
    redirect_uri: given.redirect_uri,
    scope: 'openid profile email orders',
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
    code_challenge_method: 'S256',
    state: 'a-state',
  };
  for (const [name, value] of Object.entries(asked)) ask.searchParams.set(name, value);
  await see(`${ask}&prompt=select_account`, 'select-account');
  await see(`${ask}&prompt=consent`, 'consent');
  await see(`${ask}&prompt=login`, 'confirm');
  const unapproved = new URL(ask);
  unapproved.searchParams.set('client_id', given.unapproved_id);
  unapproved.searchParams.set('scope', 'nothing-of-the-kind');
  await see(`${unapproved}`, 'leave');
  await see(`${unapproved}&response_mode=form_post`, 'leave-by-form');
  completed('on the way to a client');

  // Nobody listens at the client's address: the browser's request is what counts.
  let arrive;
  const posted = new Promise((resolve) => {
    arrive = resolve;
  });
  await page.route(given.redirect_uri, (route) => {
    arrive(route.request());
    // The browser stays at the form.
    return route.fulfill({ status: 204 });
  });
  await page.goto(`${ask}&prompt=consent&response_mode=form_post`);
  await button(page, words.allow).click();
  const request = await posted;
  const answer = new URLSearchParams(request.postData());
  assert.equal(request.method(), 'POST');
  assert.deepEqual([...answer.keys()].sort(), ['code', 'iss', 'state']);
  assert.equal(answer.get('state'), asked.state);
  await ada.look(page, 'form-post');
  completed('back at the client, by its form');

  const eve = await shopper(given.language);
  const elsewhere = await eve.tab();
  await elsewhere.goto(`${given.account}/register`);
  await elsewhere.getByLabel(words.email, { exact: true }).fill(`eve-${given.language}@example.com`);
  await elsewhere.getByLabel(words.password, { exact: true }).fill('a sentence that only Eve knows');
  await eve.button(elsewhere, words.createAccount).click();
  await eve.isAt(elsewhere, given.account, /^\/account$/);
  const about = new URL(ask);
  about.searchParams.set('id_token_hint', await idToken(answer.get('code')));
  await elsewhere.goto(`${about}`);
  await elsewhere.getByText(given.email).waitFor();
  await eve.look(elsewhere, 'switch-account');
  const over = elsewhere.url();
  await eve.link(elsewhere, words.switchAccount).click();
  await eve.isAt(elsewhere, given.account, /^\/sign-in$/);
  assert.equal(await elsewhere.getByLabel(words.email, { exact: true }).inputValue(), given.email);
  await eve.look(elsewhere, 'sign-in-instead');
  await eve.link(elsewhere, words.keepAccount).click();
  const declined = elsewhere.waitForRequest((it) => it.url().startsWith(given.redirect_uri));
  await eve.button(elsewhere, words.keepThisOne).click();
  const told = new URL((await declined).url()).searchParams;
  assert.deepEqual([told.get('error'), told.get('state')], ['login_required', asked.state]);
  const again = await eve.tab();
  await again.goto(over);
  await eve.look(again, 'sign-in-answered');
  assert.match(await eve.link(again, `${words.backTo} Reading list`).getAttribute('href'), /error=login_required/);
  unapproved.searchParams.set('scope', 'openid');
  await again.goto(`${unapproved}`);
  await eve.button(again, words.allow).waitFor();
  const answered = again.url();
  const allowed = again.waitForRequest((it) => it.url().startsWith(given.redirect_uri));
  await eve.button(again, words.allow).click();
  await allowed;
  const last = await eve.tab();
  await last.goto(answered);
  await eve.look(last, 'sign-in-answered-unapproved');
  completed('another account');

  const asking = { client_id: given.client_id, scope: asked.scope };
  const device = await fetch(`${given.account}/oauth2/device_authorization`, {
    method: 'POST',
    body: new URLSearchParams(asking),
  });
  const { verification_uri_complete: decision } = await device.json();
  await page.goto(decision);
  await button(page, words.goOn).click();
  await button(page, words.allow).waitFor();
  await ada.look(page, 'device-decision');
  await button(page, words.allow).click();
  await page.getByRole('status').waitFor();
  await ada.look(page, 'device-allowed');
  await see(`${given.account}/account/applications`, 'applications-with-access');
  await button(page, words.withdraw).last().click();
  await page.getByRole('status').waitFor();
  completed('a device');

  const guessing = await (await shopper(given.language)).tab();
  await guessing.goto(`${given.account}/sign-in`);
  let status;
  for (let attempt = 0; attempt < 30 && status !== 429; attempt += 1) {
    await guessing.getByLabel(words.email, { exact: true }).fill('eve@example.com');
    await guessing.getByLabel(words.password, { exact: true }).fill(`a wrong password ${attempt}`);
    const answered = guessing.waitForNavigation();
    await button(guessing, words.signIn).click();
    status = (await answered).status();
  }
  assert.equal(status, 429);
  await ada.look(guessing, 'sign-in-too-often');
  completed('too many guesses');

  const other = { en: 'zh', zh: 'en' }[given.language];
  await page.goto(`${given.shop}/?q=tea`);
  await page.getByRole('contentinfo').getByRole('button').click();
  await page.locator(`html[lang^="${other}"]`).waitFor();
  await page.goto(`${given.account}/account`);
  await page.locator(`html[lang^="${other}"]`).waitFor();
  completed('the other language');

  // An ID token for the code, whose verifier is that of RFC 7636, appendix B.
  async function idToken(code) {
    const grant = {
      grant_type: 'authorization_code',
      client_id: given.client_id,
      redirect_uri: given.redirect_uri,
      code,
      code_verifier: 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk',
    };
    const answered = await fetch(`${given.account}/oauth2/token`, { method: 'POST', body: new URLSearchParams(grant) });
    assert.equal(answered.status, 200);
    return (await answered.json()).id_token;
  }
}

await run({ pages });
