// The whole story of one shopper, from a guest's basket to the last page that shows nothing any more; and the shortest one.

import assert from 'node:assert/strict';
import { completed, given, goBack, run } from './browser.mjs';
import { shopper } from './shopper.mjs';

async function story() {
  const ada = await shopper(given.language);
  const { words, link, button, header } = ada;
  const page = await ada.tab();

  await page.goto(`${given.shop}/`);
  await ada.isGuest(page);
  await ada.look(page, 'catalogue');
  const chosen = [await ada.choose(page, 1)];
  assert.deepEqual(await ada.rows(page), chosen);
  await ada.look(page, 'basket-of-a-guest');
  completed('a guest has a basket');

  await header(page, words.signIn).click();
  await ada.isAskedToSignIn(page);
  await ada.look(page, 'sign-in');
  await link(page, words.createAccount).click();
  await ada.isAt(page, given.account, /^\/register$/);
  await ada.look(page, 'register');
  await ada.register(page, given.name);
  await ada.isAt(page, given.shop, /^\/basket$/);
  await ada.isKnown(page);
  assert.deepEqual(await ada.rows(page), chosen, 'the basket came along');
  await ada.look(page, 'basket');
  completed('registered, with the basket');

  await header(page, words.orders).click();
  await ada.isAt(page, given.orders, /^\/$/);
  await ada.isKnown(page);
  await page.getByRole('heading', { name: words.noOrders, exact: true }).waitFor();
  await ada.look(page, 'no-orders');
  completed('known at the orders');

  const account = await ada.tab();
  await account.goto(`${given.account}/account`);
  await ada.isKnown(account);
  await ada.look(account, 'account');
  completed('known at the account');

  await signOut();
  completed('signed out everywhere');

  // Somebody who is not signed in chooses more, and takes it along.
  chosen.push(await ada.choose(page, 2));
  assert.deepEqual(await ada.rows(page), chosen.slice(1));
  await link(page, words.checkOutAsGuest).click();
  await ada.isAskedToSignIn(page);
  await ada.signIn(page);
  await ada.isAt(page, given.orders, /^\/checkout$/);
  assert.deepEqual((await ada.rows(page)).sort(), [...chosen].sort(), 'both baskets are one');
  completed('signed in at the checkout, with both baskets');

  await ada.order(page);
  await ada.look(page, 'order');
  await link(page, words.pay).click();
  await ada.isAt(page, given.orders, /^\/o\/[^/]+\/pay$/);
  await ada.look(page, 'payment');
  await page.locator('input[value="test_card_declined"]').check();
  await button(page, words.payNow).click();
  await page.getByRole('alert').waitFor();
  await ada.look(page, 'payment-declined');
  await page.locator('input[value="test_card"]').check();
  await button(page, words.payNow).click();
  await ada.isAt(page, given.orders, /^\/o\/[^/]+$/);
  assert.equal(await page.locator('.badge').innerText(), words.paid);
  await ada.look(page, 'order-paid');
  completed('ordered and paid');

  await header(page, words.orders).click();
  await ada.isAt(page, given.orders, /^\/$/);
  await ada.look(page, 'orders');
  await signOut();
  await backShowsNothing();
  completed('the back button shows nothing');

  async function signOut() {
    const other = await ada.tab();
    await other.goto(`${given.shop}/basket`);
    await ada.isKnown(other);
    await button(page, words.signOut).click();
    await ada.isAt(page, given.account, /^\/signed-out$/);
    await ada.look(page, 'signed-out');
    await other.reload();
    await ada.isGuest(other);
    await other.goto(`${given.orders}/`);
    await ada.isAskedToSignIn(other);
    await other.goto(`${given.account}/account`);
    await ada.isAskedToSignIn(other);
    await other.close();
  }

  // All the way: what was private is shown by none of the pages that were open.
  async function backShowsNothing() {
    for (let steps = 0; steps < 8; steps += 1) {
      await goBack(page);
      const shown = await page.locator('body').innerText();
      for (const secret of [given.name, given.email]) {
        assert.ok(!shown.includes(secret), `${page.url()} shows ${secret} after ${steps + 1} steps back`);
      }
      assert.deepEqual(await ada.rows(page), [], `${page.url()} after ${steps + 1} steps back`);
    }
  }
}

// The shortest way, with the account that a first start makes.
async function newcomer() {
  const demo = await shopper(given.language);
  const { words, link, button } = demo;
  const page = await demo.tab();
  await page.goto(given.shop);
  await page.locator('.product a').first().click();
  await button(page, words.add).click();
  await link(page, words.checkOutAsGuest).click();
  await demo.signIn(page);
  await button(page, words.place).click();
  await link(page, words.pay).click();
  await button(page, words.payNow).click();
  await demo.isAt(page, given.orders, /^\/o\/[^/]+$/);
  assert.equal(await page.locator('.badge').innerText(), words.paid);
  completed('bought');
}

await run({ story, newcomer });
