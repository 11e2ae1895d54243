// What shared/assets/session.js does, in a browser that a test holds: run by `script.rs`.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

// An open channel would keep Node from ending.
delete globalThis.BroadcastChannel;
// As its text: without a package around it, Node would not take the file for a module.
const source = await readFile(new URL("../../assets/session.js", import.meta.url), "utf8");
const { Session, SessionUnavailable } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

/** One browser: locks and a channel that its tabs share, a server, a clock. */
class Browser {
  now = 1_000_000;
  generation = 0;
  asked = 0;
  signedIn = true;
  status = 200;
  /** Tokens that the API takes. */
  good = new Set();
  sent = [];
  left = [];
  #listeners = [];
  #queue = Promise.resolve();

  tab() {
    const listeners = this.#listeners;
    const own = [];
    listeners.push(own);
    return new Session({
      now: () => this.now,
      location: { pathname: "/shop", search: "?q=tea", hash: "#top", assign: (to) => this.left.push(to) },
      locks: { request: (_name, work) => (this.#queue = this.#queue.then(work, work)) },
      channel: {
        addEventListener: (_type, listener) => own.push(listener),
        postMessage: (data) => listeners.filter((it) => it !== own).flat().forEach((hear) => hear({ data })),
      },
      fetch: (...request) => this.#answer(...request),
    });
  }

  async #answer(resource, options) {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.away) {
      throw new TypeError("fetch failed");
    }
    if (resource === "/session") {
      this.asked += 1;
      assert.equal(options.headers["X-Requested-With"], "session.js");
      if (this.status !== 200) {
        return new Response("", { status: this.status });
      }
      if (!this.signedIn) {
        return Response.json({ signed_in: false });
      }
      const token = `token-${++this.generation}`;
      this.good.add(token);
      return Response.json({ signed_in: true, user: { name: "Ada" }, access_token: token, expires_in: 300 });
    }
    if (resource === "/logout") {
      assert.equal(options.method, "POST");
      return this.status === 200 ? Response.json({ location: "http://auth.test/end" }) : new Response("", { status: 503 });
    }
    const token = resource.headers.get("Authorization")?.replace("Bearer ", "");
    this.sent.push([await resource.text(), token]);
    return new Response("", { status: token === undefined || this.good.has(token) ? 200 : 401 });
  }
}

const api = "http://cart.test/cart";

test("many requests that wait ask for one token", async () => {
  const browser = new Browser();
  const tab = browser.tab();
  const answers = await Promise.all(Array.from({ length: 20 }, () => tab.fetch(api)));
  assert.ok(answers.every((answer) => answer.status === 200));
  assert.equal(browser.asked, 1);
  assert.deepEqual(await tab.current(), { signedIn: true, user: { name: "Ada" } });
});

test("many tabs ask for one token", async () => {
  const browser = new Browser();
  const tabs = Array.from({ length: 5 }, () => browser.tab());
  await Promise.all(tabs.map((tab) => tab.fetch(api)));
  assert.equal(browser.asked, 1);
});

test("a token that is about to expire is renewed before it is sent", async () => {
  const browser = new Browser();
  const tab = browser.tab();
  await tab.fetch(api);
  browser.now += 284_000;
  await tab.fetch(api);
  assert.equal(browser.asked, 1);
  browser.now += 2_000;
  await tab.fetch(api);
  assert.equal(browser.asked, 2);
  assert.equal(browser.sent.at(-1)[1], "token-2");
});

test("a 401 is tried once more, with a fresh token and the same body", async () => {
  const browser = new Browser();
  const tab = browser.tab();
  await tab.fetch(api);
  browser.good.clear();
  const answer = await tab.fetch(api, { method: "POST", body: "two teas" });
  assert.equal(answer.status, 200);
  assert.deepEqual(browser.sent.slice(1), [["two teas", "token-1"], ["two teas", "token-2"]]);
  assert.deepEqual(browser.left, []);
});

test("many that got a 401 at once ask for one fresh token", async () => {
  const browser = new Browser();
  const tab = browser.tab();
  await tab.fetch(api);
  browser.good.clear();
  const answers = await Promise.all(Array.from({ length: 20 }, () => tab.fetch(api)));
  assert.ok(answers.every((answer) => answer.status === 200));
  assert.equal(browser.asked, 2);
});

test("a second 401 leads to the sign-in, once, and back to this page", async () => {
  const browser = new Browser();
  const tab = browser.tab();
  browser.good.add = () => {};
  const answers = await Promise.all([tab.fetch(api), tab.fetch(api)]);
  assert.deepEqual(answers.map((answer) => answer.status), [401, 401]);
  assert.deepEqual(browser.left, ["/login?return_to=%2Fshop%3Fq%3Dtea%23top"]);
});

test("an ended session leads to the sign-in", async () => {
  const browser = new Browser();
  const tab = browser.tab();
  await tab.fetch(api);
  browser.good.clear();
  browser.signedIn = false;
  assert.equal((await tab.fetch(api)).status, 401);
  assert.equal(browser.left.length, 1);
});

test("a guest's request is sent without a token", async () => {
  const browser = new Browser();
  browser.signedIn = false;
  const tab = browser.tab();
  assert.equal((await tab.fetch(api)).status, 200);
  assert.deepEqual(browser.sent, [["", undefined]]);
  assert.deepEqual(await tab.current(), { signedIn: false, user: undefined });
});

test("a server that does not answer is no sign-out", async () => {
  const browser = new Browser();
  const tab = browser.tab();
  browser.status = 503;
  await assert.rejects(tab.fetch(api), SessionUnavailable);
  browser.status = 200;
  browser.away = true;
  await assert.rejects(tab.current(), SessionUnavailable);
  browser.away = false;
  assert.equal((await tab.fetch(api)).status, 200);
  assert.deepEqual(browser.left, []);
});

test("a sign-out tells the server, forgets the token in all tabs and goes on at the provider", async () => {
  const browser = new Browser();
  const [one, two] = [browser.tab(), browser.tab()];
  await Promise.all([one.fetch(api), two.fetch(api)]);
  browser.status = 503;
  await assert.rejects(one.signOut(), SessionUnavailable);
  assert.deepEqual(browser.left, []);
  browser.status = 200;
  await one.signOut();
  assert.deepEqual(browser.left, ["http://auth.test/end"]);
  browser.signedIn = false;
  assert.deepEqual(await two.current(), { signedIn: false, user: undefined });
});
