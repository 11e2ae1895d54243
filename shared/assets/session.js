/**
 * The signed-in session of a single-page application, for a service that has the relying party's routes. It has no
 * dependencies. The access token is in memory only; the refresh token never leaves the server.
 *
 *     import { session } from "/assets/session.js";
 *     const { signedIn, user } = await session.current();
 *     const answer = await session.fetch("https://cart.example/cart");
 *
 * However many requests wait, and in however many tabs, one of them asks the server for a fresh token. A 401 is tried once
 * more with a fresh one; after that the browser goes to the sign-in and comes back.
 */

/** A token that has less than this to live is not sent any more. */
const MARGIN_MS = 15_000;

/** What a browser has; tests give their own. */
const browser = () => ({
  fetch: (...request) => globalThis.fetch(...request),
  now: () => Date.now(),
  locks: globalThis.navigator?.locks,
  channel: typeof BroadcastChannel === "function" ? new BroadcastChannel("roam-session") : undefined,
  location: globalThis.location,
});

export class Session {
  #world;
  /** @type {{signedIn: boolean, user?: object, token?: string, expiresAt: number} | undefined} */
  #known;
  /** The one request for a token that all wait for. */
  #asking;
  #leaving = false;

  constructor(world = browser()) {
    this.#world = world;
    world.channel?.addEventListener("message", ({ data }) => this.#hear(data));
  }

  /**
   * Who is signed in: `{signedIn, user}`.
   * @throws {SessionUnavailable} while the server cannot say.
   */
  async current() {
    const { signedIn, user } = await this.#fresh();
    return { signedIn, user };
  }

  /**
   * As `fetch`, with the access token. Guests' requests are sent without one.
   * A 401 is tried once more with a fresh token. If that is refused too, the browser goes to the sign-in.
   * Give only addresses of services that the token is for: they get to see it.
   */
  async fetch(resource, options) {
    // Made once, so that a body that can be read only once can be sent twice.
    const request = new Request(resource, options);
    const first = await this.#fresh();
    const answer = await this.#send(request.clone(), first);
    if (answer.status !== 401) {
      return answer;
    }
    const second = await this.#fresh(first.token);
    if (second.token !== undefined && second.token !== first.token) {
      const retried = await this.#send(request, second);
      if (retried.status !== 401) {
        return retried;
      }
    }
    this.signIn();
    return answer;
  }

  /** Goes to the sign-in, and comes back to this page. */
  signIn() {
    if (this.#leaving) {
      return;
    }
    this.#leaving = true;
    const { pathname, search, hash } = this.#world.location;
    this.#world.location.assign(`/login?return_to=${encodeURIComponent(pathname + search + hash)}`);
  }

  /**
   * Signs out: tells the server, forgets the token in all tabs, and ends the session at the provider.
   * @throws {SessionUnavailable} if the server could not do it: then the user is still signed in.
   */
  async signOut() {
    const headers = { Accept: "application/json", "X-Requested-With": "session.js" };
    const answer = await this.#ask("/logout", { method: "POST", headers });
    const { location } = await answer.json();
    this.#known = undefined;
    this.#world.channel?.postMessage({ signedOut: true });
    this.#leaving = true;
    this.#world.location.assign(location);
  }

  /** What is known, if it is good for a while and not the token that was refused; else what the server says. */
  async #fresh(refused) {
    if (this.#isGood(refused)) {
      return this.#known;
    }
    this.#asking ??= this.#askOnce(refused).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  #isGood(refused) {
    const known = this.#known;
    return known !== undefined && known.expiresAt - MARGIN_MS > this.#world.now() &&
      (refused === undefined || known.token !== refused);
  }

  /** One tab at a time; what another tab has got meanwhile will do. */
  async #askOnce(refused) {
    const work = async () => {
      if (!this.#isGood(refused)) {
        await this.#renew();
      }
      return this.#known;
    };
    const { locks } = this.#world;
    return locks === undefined ? work() : locks.request("roam-session", work);
  }

  async #renew() {
    const answer = await this.#ask("/session", { headers: { "X-Requested-With": "session.js" } });
    const { signed_in: signedIn, user, access_token: token, expires_in: seconds } = await answer.json();
    // A guest may sign in in another tab at any time: asked again soon.
    const life = signedIn ? seconds * 1000 : MARGIN_MS + 5_000;
    this.#known = { signedIn, user, token, expiresAt: this.#world.now() + life };
    this.#world.channel?.postMessage({ known: this.#known });
  }

  async #ask(path, options) {
    let answer;
    try {
      answer = await this.#world.fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
    } catch (cause) {
      throw new SessionUnavailable("the server does not answer", { cause });
    }
    if (!answer.ok) {
      throw new SessionUnavailable(`the server answers ${answer.status}`);
    }
    return answer;
  }

  async #send(request, { token }) {
    if (token !== undefined) {
      request.headers.set("Authorization", `Bearer ${token}`);
    }
    return this.#world.fetch(request);
  }

  #hear({ known, signedOut }) {
    if (signedOut) {
      this.#known = undefined;
    } else if (known !== undefined) {
      this.#known = known;
    }
  }
}

/** It cannot be said who is signed in, or the sign-out could not be done. Try again. */
export class SessionUnavailable extends Error {
  name = "SessionUnavailable";
}

/** This page's session. */
export const session = new Session();
