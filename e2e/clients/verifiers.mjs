// APIs of others, with what reads access tokens on node: each takes a token for itself, and refuses one for another API and one
// that was changed.

import assert from 'node:assert/strict';
import express from 'express';
import { auth } from 'express-oauth2-jwt-bearer';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import jsonwebtoken from 'jsonwebtoken';
import jwksClient from 'jwks-rsa';
import { completed, given, run } from './person.mjs';

const { issuer, audience } = given;
const jwksUri = `${issuer}/.well-known/jwks.json`;
const keys = createRemoteJWKSet(new URL(jwksUri));
const signingKeys = jwksClient({ jwksUri });

async function byJose(token) {
  const { payload } = await jwtVerify(token, keys, { issuer, audience });
  return payload.sub;
}

function byJsonwebtoken(token) {
  const keyOf = (header, found) => signingKeys.getSigningKey(header.kid, (error, key) => found(error, key?.getPublicKey()));
  return new Promise((resolve, reject) => {
    const verified = (error, claims) => (error ? reject(error) : resolve(claims.sub));
    jsonwebtoken.verify(token, keyOf, { issuer, audience }, verified);
  });
}

async function byExpress(token) {
  const app = express();
  app.use(auth({ issuerBaseURL: issuer, audience }));
  app.get('/', (req, res) => res.send(req.auth.payload.sub));
  app.use((error, req, res, next) => res.status(error.status).send(error.message));
  const server = app.listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/`, { headers });
  server.close();
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text;
}

async function read(name, verify) {
  for (const { token, sub } of given.good) {
    try {
      assert.equal(await verify(token), sub);
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      return completed(`${name}: ${error.message}`);
    }
  }
  await assert.rejects(verify(given.for_another_api), /aud/);
  await assert.rejects(verify(given.changed), /signature/i);
  completed(name);
}

async function verifiers() {
  await read('jose', byJose);
  await read('jsonwebtoken', byJsonwebtoken);
  await read('express-oauth2-jwt-bearer', byExpress);
}

await run({ verifiers });
