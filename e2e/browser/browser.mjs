// A person's browser: Chromium with a new profile, and what is demanded of every page that it shows. Owns its start, its end
// and what it tells the test, a line of JSON each: the steps that were completed, and what must stand in no log. Knows no
// journey.

import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { chromium } from 'playwright-core';

/** What the test gives its journey. */
export const given = JSON.parse(await text(process.stdin));

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const arguments_ = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const sizes = { narrow: { width: 360, height: 740 }, wide: { width: 1280, height: 800 } };
const tags = { en: 'en', zh: 'zh-Hans' };
// Nothing leaves this machine, so what takes longer will not come.
const patience = 30_000;

let chrome;
const contexts = [];

const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

/** Writes a step down as completed. */
export const completed = (step) => tell({ step });

/** A browser that knows nobody yet, and whose person reads this language. */
export async function open(language) {
  const locale = { en: 'en-GB', zh: 'zh-CN' }[language];
  const context = await chrome.newContext({ locale, viewport: sizes.wide, reducedMotion: 'reduce' });
  context.setDefaultTimeout(patience);
  contexts.push(context);
  const browser = {
    language,
    faults: [],
    /** Another tab. */
    async tab() {
      const page = await context.newPage();
      page.on('pageerror', (error) => browser.faults.push(`${page.url()}: ${error}`));
      page.on('console', (message) => {
        // A refusal's status is no fault of the page that says why.
        const isStatus = message.text().startsWith('Failed to load resource: the server responded with a status of 4');
        if (message.type() === 'error' && !isStatus) browser.faults.push(`${page.url()}: ${message.text()}`);
      });
      return page;
    },
    cookies: () => context.cookies(),
    /** Looks at a page as people do: narrow and wide, by day and by night. Every fault of it ends the journey. */
    look: (page, name) => look(browser, page, name),
  };
  return browser;
}

async function look(browser, page, name) {
  assert.equal(await page.locator('html').getAttribute('lang'), tags[browser.language], `the language of ${name}`);
  await page.evaluate(axe);
  for (const [size, viewport] of Object.entries(sizes)) {
    await page.setViewportSize(viewport);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(overflow <= 0, `${name} is ${overflow} pixels too wide at ${viewport.width}`);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await picture(page, `${name}-${browser.language}-${size}-${colorScheme}.png`);
      if ((size === 'narrow') === (colorScheme === 'dark')) await examine(page, `${name}, ${size} and ${colorScheme}`);
    }
  }
  await goThrough(page, name);
  assert.deepEqual(browser.faults, [], `what the browser says of ${name}`);
}

async function examine(page, name) {
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const told = violations.flatMap(({ id, help, nodes }) => nodes.map(({ html }) => `${id}: ${help}\n  ${html}`));
  assert.deepEqual(told, [], `what axe says of ${name}`);
}

/** By the Tab key: everything is reached, in the order in which it is read, and shows that it has the focus. */
async function goThrough(page, name) {
  const count = await page.evaluate(() => {
    const all = [...document.querySelectorAll('a[href], button, input:not([type="hidden"]), select, textarea')];
    const isReached = (it) => !it.disabled && it.checkVisibility() && (it.type !== 'radio' || it.checked);
    globalThis.reached = all.filter(isReached);
    globalThis.reached[0].focus();
    return globalThis.reached.length;
  });
  for (let place = 0; place < count; place += 1) {
    const fault = await page.evaluate((expected) => {
      const { activeElement: found } = document;
      if (found !== globalThis.reached[expected]) return `is not where the focus is after ${expected} steps`;
      const isMarked = (it) => it && getComputedStyle(it).outlineStyle !== 'none';
      return isMarked(found) || isMarked(found.closest('.product')) ? null : `does not show the focus`;
    }, place);
    const what = await page.evaluate((expected) => globalThis.reached[expected].outerHTML, place);
    assert.equal(fault, null, `${name}: ${what} ${fault}`);
    await page.keyboard.press('Tab');
  }
}

async function picture(page, file) {
  if (!given.pictures) return;
  await mkdir(given.pictures, { recursive: true });
  await page.screenshot({ path: join(given.pictures, file), fullPage: true });
}

/** The page that the back button shows. */
export async function goBack(page) {
  const shown = page.waitForEvent('framenavigated');
  // The page that runs this is gone before it can answer.
  await page.evaluate(() => setTimeout(() => history.back()));
  await shown;
  // A page that was kept is hidden, and asked for again.
  await page.waitForFunction(() => !document.documentElement.hidden && document.readyState === 'complete');
}

/** Runs the journey that the command line names, to its end. */
export async function run(journeys) {
  const name = process.argv[2];
  if (!Object.hasOwn(journeys, name)) throw new Error(`there is no journey ${name}`);
  chrome = await chromium.launch({
    executablePath: given.chromium,
    args: arguments_,
    // As people have it: what a page leaves behind is shown again by the back button.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
  });
  try {
    await journeys[name]();
  } finally {
    for (const context of contexts) {
      for (const { value } of await context.cookies()) if (value.length >= 16) tell({ secret: value });
    }
    await chrome.close();
  }
}
