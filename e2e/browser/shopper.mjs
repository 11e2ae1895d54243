// What a shopper does at the pages, by the words and the forms that they have; and how one sees who is signed in. Owns no
// journey.

import assert from 'node:assert/strict';
import { given, open } from './browser.mjs';
import { wordsOf } from './words.mjs';

export async function shopper(language) {
  const browser = await open(language);
  const words = wordsOf(language);
  const button = (page, name) => page.getByRole('button', { name, exact: true });
  const link = (page, name) => page.getByRole('link', { name, exact: true });
  const header = (page, name) => page.getByRole('banner').getByRole('link', { name, exact: true });
  const fill = (page, label, value) => page.getByLabel(label, { exact: true }).fill(value);
  const isAt = async (page, service, path) => {
    await page.waitForURL((url) => url.origin === new URL(service).origin && path.test(url.pathname));
    await page.waitForLoadState();
  };

  return {
    ...browser,
    words,
    button,
    link,
    header,
    isAt,

    /** Puts the product at this place of the catalogue's first page into the basket. */
    async choose(page, place) {
      await page.goto(`${given.shop}/`);
      await page.locator('.product a').nth(place).click();
      await isAt(page, given.shop, /^\/p\//);
      const name = await page.getByRole('heading', { level: 1 }).innerText();
      await browser.look(page, 'product');
      await button(page, words.add).click();
      await isAt(page, given.shop, /^\/basket$/);
      return name;
    },

    /** What stands in the rows of a page. */
    rows: (page) => page.locator('.rows .title').allInnerTexts(),

    /** Fills the form of the sign-in. */
    async signIn(page) {
      await isAt(page, given.account, /^\/sign-in$/);
      await fill(page, words.email, given.email);
      await fill(page, words.password, given.password);
      await button(page, words.signIn).click();
    },

    /** Fills the form of the registration. */
    async register(page, name) {
      await isAt(page, given.account, /^\/register$/);
      await fill(page, words.email, given.email);
      await fill(page, words.name, name);
      await fill(page, words.password, given.password);
      await button(page, words.createAccount).click();
    },

    /** Opens the orders, by way of the sign-in. */
    async signInAtOrders(page) {
      await page.goto(`${given.orders}/`);
      await this.signIn(page);
      await isAt(page, given.orders, /^\/$/);
      await this.isKnown(page);
    },

    /** Whom the page greets. */
    async isKnown(page, name = given.name) {
      assert.equal(await page.locator('.person bdi').innerText(), name, page.url());
    },

    async isGuest(page) {
      await header(page, words.signIn).waitFor();
      assert.equal(await page.locator('.person').count(), 0, page.url());
    },

    /** The page asks to sign in, and shows nothing else. */
    async isAskedToSignIn(page, title = words.signIn) {
      await isAt(page, given.account, /^\/sign-in$/);
      assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), title);
    },

    /** Orders what is in the basket. */
    async order(page) {
      await isAt(page, given.orders, /^\/checkout$/);
      await browser.look(page, 'checkout');
      await button(page, words.place).click();
      await isAt(page, given.orders, /^\/o\/[^/]+/);
    },
  };
}
