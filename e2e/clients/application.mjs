// A web application whose visitors are the test that runs this program: it is told its client on one line, says when it listens,
// and ends with its input. Owns its page; knows nothing of OpenID.

import { createInterface } from 'node:readline';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** The issuer, and what was registered there. */
export const given = JSON.parse((await lines.next()).value);

/** Where the application is. */
export const home = `http://localhost:${given.port}`;

export const SIGN_IN = '<a href="/login">Sign in</a>';
export const SIGN_OUT = '<a href="/logout">Sign out</a>';

const escaped = (value) => String(value).replace(/[<>&"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** A page that shows what the application knows of its visitor, and the way on. */
export function page(known, way) {
  const rows = Object.entries(known).map(([name, value]) => `<li>${name}: ${escaped(value)}</li>`);
  return `<!doctype html><title>An application</title><main><ul>${rows.join('')}</ul>${way}</main>`;
}

/** Serves the application until the test leaves. */
export async function serve(app) {
  await new Promise((listening) => app.listen(given.port, '127.0.0.1', listening));
  process.stdout.write('listening\n');
  while (!(await lines.next()).done);
  process.exit();
}
