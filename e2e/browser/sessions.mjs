// Sessions in several tabs and browsers: renewed at once, ended from elsewhere, and confirmed before money moves.

import assert from 'node:assert/strict';
import { completed, given, goBack, run } from './browser.mjs';
import { shopper } from './shopper.mjs';

// Every page view renews an access token that is about to expire; the tabs of one service share its cookie.
async function tabs() {
  const ada = await shopper(given.language);
  const [first, second, third] = [await ada.tab(), await ada.tab(), await ada.tab()];
  await ada.signInAtOrders(first);
  await second.goto(`${given.orders}/`);
  await third.goto(`${given.shop}/basket`);
  await ada.header(third, ada.words.signIn).click();
  await ada.isAt(third, given.shop, /^\/basket$/);
  const values = async () => new Set((await ada.cookies()).map(({ value }) => value));
  for (let round = 0; round < 5; round += 1) {
    const before = await values();
    await Promise.all([first.reload(), second.reload(), third.reload()]);
    for (const page of [first, second, third]) await ada.isKnown(page);
    const renewed = (await ada.cookies()).filter(({ value }) => !before.has(value));
    assert.equal(renewed.length, 2, `one cookie of each service is renewed in round ${round}`);
  }
  completed('renewed at once in all tabs');
}

async function ended() {
  const [ada, elsewhere] = [await shopper(given.language), await shopper(given.language)];
  const [page, other] = [await ada.tab(), await elsewhere.tab()];
  await ada.signInAtOrders(page);
  await ada.header(page, ada.words.shop).click();
  await ada.isAt(page, given.shop, /^\/$/);

  await elsewhere.signInAtOrders(other);
  await other.goto(`${given.account}/account/sessions`);
  await elsewhere.look(other, 'sessions');
  await elsewhere.button(other, elsewhere.words.signOutThere).click();
  await other.getByRole('status').waitFor();
  await elsewhere.look(other, 'sessions-ended');
  completed('ended from another browser');

  await ada.header(page, ada.words.orders).click();
  await ada.isAskedToSignIn(page);
  await page.goto(`${given.shop}/basket`);
  await ada.isGuest(page);
  await elsewhere.header(other, elsewhere.words.orders).click();
  await elsewhere.isAt(other, given.orders, /^\/$/);
  await elsewhere.isKnown(other);
  completed('seen at the next click');

  await ada.header(page, ada.words.signIn).click();
  await ada.signIn(page);
  await ada.isAt(page, given.shop, /^\/basket$/);
  await ada.button(page, ada.words.signOut).click();
  await ada.isAt(page, given.shop, /^\/$/);
  await ada.isGuest(page);
  await goBack(page);
  await ada.isGuest(page);
  completed('signed out at the shop');
}

async function confirmed() {
  const ada = await shopper(given.language);
  const { words, button, link } = ada;
  const page = await ada.tab();
  await ada.choose(page, 0);
  await link(page, words.checkOutAsGuest).click();
  await ada.signIn(page);
  await ada.order(page);
  const order = page.url();
  // A login becomes too old by itself.
  while (new URL(page.url()).pathname !== '/sign-in') {
    await page.goto(order);
    await link(page, words.pay).click();
    await page.waitForURL(({ pathname }) => pathname.endsWith('/pay') || pathname === '/sign-in');
  }
  await ada.isAskedToSignIn(page, words.confirm);
  await ada.look(page, 'confirm');
  completed('asked to confirm');

  await ada.signIn(page);
  await page.waitForURL(`${order}/pay`);
  await page.getByRole('heading', { name: words.payTitle, exact: true }).waitFor();
  await button(page, words.payNow).click();
  await page.waitForURL(order);
  assert.equal(await page.locator('.badge').innerText(), words.paid);
  completed('straight back to the payment');
}

await run({ tabs, ended, confirmed });
