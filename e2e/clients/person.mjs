// The person at the other end of a journey: the test that runs this program, and plays their browser. Owns the conversation,
// a line of JSON each way; knows nothing of OpenID.

import { createInterface } from 'node:readline';

const input = createInterface({ input: process.stdin });
const lines = input[Symbol.asyncIterator]();
const steps = [];

async function hear() {
  const { value, done } = await lines.next();
  if (done) throw new Error('the person is gone');
  return JSON.parse(value);
}

function ask(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
  return hear();
}

/** What the test gives its journey. */
export const given = await hear();

/** Sends the person's browser to an address. Answers where it ends: at the client's own address. */
export async function go(address) {
  return new URL((await ask({ ask: 'go', to: String(address) })).at);
}

/** The person lets a device in. */
export async function letIn(address) {
  await ask({ ask: 'let_in', to: address });
}

/** What must stand in no log. */
export async function remember(...secrets) {
  for (const secret of secrets.filter(Boolean)) await ask({ ask: 'remember', secret });
}

/** Writes a step down as completed. */
export function completed(step) {
  steps.push(step);
}

/** Runs the journey that the command line names, to its end. */
export async function run(journeys) {
  const name = process.argv[2];
  if (!Object.hasOwn(journeys, name)) throw new Error(`there is no journey ${name}`);
  await journeys[name]();
  process.stdout.write(`${JSON.stringify({ ask: 'done', steps })}\n`);
  input.close();
}
