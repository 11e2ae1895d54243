// Journeys of npm's oauth4webapi, which checks every answer by itself: content types, members, signatures and claims.

import assert from 'node:assert/strict';
import { exportJWK } from 'jose';
import * as oauth from 'oauth4webapi';
import { completed, given, go, remember, run } from './person.mjs';

const insecurely = { [oauth.allowInsecureRequests]: true };

async function discover() {
  const issuer = new URL(given.issuer);
  const oidc = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecurely));
  const search = { ...insecurely, algorithm: 'oauth2' };
  const plain = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, search));
  assert.deepEqual(plain, oidc);
  return oidc;
}

const refusedWith = (error) => (thrown) => {
  assert.equal(thrown.constructor, oauth.ResponseBodyError, thrown.stack);
  assert.equal(thrown.error, error);
  return true;
};

async function challenge(parameters) {
  const [verifier, state, nonce] = [oauth.generateRandomCodeVerifier(), oauth.generateRandomState(), oauth.generateRandomNonce()];
  await remember(verifier);
  const pkce = { code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' };
  return { verifier, state, nonce, parameters: { response_type: 'code', state, nonce, ...pkce, ...parameters } };
}

function authorizationUrl(as, parameters) {
  const url = new URL(as.authorization_endpoint);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url;
}

async function exchange(as, client, authentication, back, asked, more = {}) {
  const answer = oauth.validateAuthResponse(as, client, back, asked.state);
  const { redirect_uri } = asked.parameters;
  const request = [as, client, authentication, answer, redirect_uri, asked.verifier, { ...insecurely, ...more }];
  const response = await oauth.authorizationCodeGrantRequest(...request);
  const checks = { expectedNonce: asked.nonce, requireIdToken: true };
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, response, checks);
  await oauth.validateApplicationLevelSignature(as, response, insecurely);
  await remember(tokens.access_token, tokens.refresh_token);
  return { tokens, claims: oauth.getValidatedIdTokenClaims(tokens) };
}

async function refresh(as, client, authentication, token, more = {}) {
  const response = await oauth.refreshTokenGrantRequest(as, client, authentication, token, { ...insecurely, ...more });
  const tokens = await oauth.processRefreshTokenResponse(as, client, response);
  await oauth.validateApplicationLevelSignature(as, response, insecurely);
  await remember(tokens.access_token, tokens.refresh_token);
  return tokens;
}

async function revoke(as, client, authentication, token) {
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, authentication, token, insecurely));
}

async function isActive(as, client, authentication, token) {
  const response = await oauth.introspectionRequest(as, client, authentication, token, insecurely);
  return (await oauth.processIntrospectionResponse(as, client, response)).active;
}

/** A client with a key pair of its own, which demands signed answers and pushes its requests. */
async function keys() {
  const as = await discover();
  const pair = await oauth.generateKeyPair('ES256', { extractable: true });
  const key = { ...(await exportJWK(pair.publicKey)), kid: 'own', alg: 'ES256', use: 'sig' };
  const metadata = {
    client_name: 'A client with keys',
    redirect_uris: [given.redirect_uri],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [key] },
    id_token_signed_response_alg: 'ES256',
    userinfo_signed_response_alg: 'EdDSA',
    require_pushed_authorization_requests: true,
    require_auth_time: true,
    scope: 'openid email offline_access',
  };
  const initial = { ...insecurely, initialAccessToken: given.initial_access_token };
  const registration = await oauth.dynamicClientRegistrationRequest(as, metadata, initial);
  const client = await oauth.processDynamicClientRegistrationResponse(registration);
  await remember(client.registration_access_token);
  assert.equal(client.client_secret, undefined);
  const authentication = oauth.PrivateKeyJwt({ key: pair.privateKey, kid: 'own' });
  completed('registration');

  const { redirect_uri } = given;
  const login = { client_id: client.client_id, redirect_uri, scope: 'openid email offline_access' };
  const asked = await challenge(login);
  const back = await go(authorizationUrl(as, await push(as, client, authentication, asked)));
  completed('pushed request');

  const { tokens, claims } = await exchange(as, client, authentication, back, asked);
  assert.equal(typeof claims.auth_time, 'number');
  completed('login');

  const about = await oauth.userInfoRequest(as, client, tokens.access_token, insecurely);
  assert.match(about.headers.get('content-type'), /^application\/jwt/);
  assert.equal((await oauth.processUserInfoResponse(as, client, claims.sub, about)).email, given.email);
  await oauth.validateApplicationLevelSignature(as, about, insecurely);
  completed('signed userinfo');

  assert.equal(await isActive(as, client, authentication, tokens.access_token), true);
  completed('introspection');

  const fresh = await refresh(as, client, authentication, tokens.refresh_token);
  completed('refresh');

  const newest = await refresh(as, client, authentication, fresh.refresh_token);
  assert.equal(new Set([tokens, fresh, newest].map((it) => it.refresh_token)).size, 3);
  assert.equal(await isActive(as, client, authentication, fresh.refresh_token), false);
  completed('rotation');

  await revoke(as, client, authentication, newest.refresh_token);
  assert.equal(await isActive(as, client, authentication, newest.access_token), false);
  await assert.rejects(refresh(as, client, authentication, newest.refresh_token), refusedWith('invalid_grant'));
  completed('revocation');

  const silent = await challenge({ ...login, prompt: 'none', id_token_hint: tokens.id_token });
  const unseen = await go(authorizationUrl(as, await push(as, client, authentication, silent)));
  const again = await exchange(as, client, authentication, unseen, silent);
  assert.equal(again.claims.sub, claims.sub);
  completed('silent login');

  const stale = await challenge({ ...login, prompt: 'none', max_age: '0' });
  const refused = await go(authorizationUrl(as, await push(as, client, authentication, stale)));
  assert.throws(() => oauth.validateAuthResponse(as, client, refused, stale.state), (thrown) => {
    assert.equal(thrown.constructor, oauth.AuthorizationResponseError, thrown.stack);
    return thrown.error === 'login_required';
  });
  completed('refusal');
}

async function push(as, client, authentication, asked) {
  const request = [as, client, authentication, asked.parameters, insecurely];
  const response = await oauth.pushedAuthorizationRequest(...request);
  const { request_uri } = await oauth.processPushedAuthorizationResponse(as, client, response);
  return { client_id: client.client_id, request_uri };
}

/** A public client of a person's own machine: it listens on a port that it learns only then (RFC 8252). */
async function native() {
  const as = await discover();
  const client = { client_id: given.client_id, id_token_signed_response_alg: 'EdDSA' };
  const redirect_uri = 'http://127.0.0.1:49152/callback';
  const asked = await challenge({ client_id: client.client_id, redirect_uri, scope: 'openid offline_access cart' });
  const back = await go(authorizationUrl(as, asked.parameters));
  assert.equal(back.origin + back.pathname, redirect_uri);
  const { tokens } = await exchange(as, client, oauth.None(), back, asked);
  completed('login');

  const cart = (token) => oauth.protectedResourceRequest(token, 'GET', new URL('/cart', given.cart), undefined, undefined, insecurely);
  assert.equal((await cart(tokens.access_token)).status, 200);
  completed('cart');

  const fresh = await refresh(as, client, oauth.None(), tokens.refresh_token);
  assert.equal((await cart(fresh.access_token)).status, 200);
  completed('refresh');

  await revoke(as, client, oauth.None(), fresh.refresh_token);
  await assert.rejects(refresh(as, client, oauth.None(), fresh.refresh_token), refusedWith('invalid_grant'));
  completed('revocation');

  await assert.rejects(cart(fresh.access_token), (thrown) => {
    assert.equal(thrown.constructor, oauth.WWWAuthenticateChallengeError, thrown.stack);
    assert.equal(thrown.cause[0].parameters.error, 'invalid_token');
    return thrown.status === 401;
  });
  completed('cart refused');
}

/** A public client whose tokens are worth nothing without its key (RFC 9449). */
async function dpop() {
  const as = await discover();
  assert.ok(as.dpop_signing_alg_values_supported.includes('ES256'));
  const client = { client_id: given.client_id, id_token_signed_response_alg: 'ES256' };
  const holder = async () => oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
  const [key, thief] = [await holder(), await holder()];
  const redirect_uri = 'http://127.0.0.1:49152/callback';
  const bound = { dpop_jkt: await key.calculateThumbprint() };
  const asked = await challenge({ client_id: client.client_id, redirect_uri, scope: 'openid offline_access cart orders', ...bound });
  const back = await go(authorizationUrl(as, asked.parameters));
  const { tokens } = await exchange(as, client, oauth.None(), back, asked, { DPoP: key });
  assert.equal(tokens.token_type, 'dpop');
  completed('login');

  const call = (token, method, address, more, body, headers = {}) => {
    const type = body && { 'content-type': 'application/json' };
    const content = body && JSON.stringify(body);
    return oauth.protectedResourceRequest(token, method, new URL(address), new Headers({ ...type, ...headers }), content, { ...insecurely, ...more });
  };
  const cart = `${given.cart}/cart`;
  assert.equal((await call(tokens.access_token, 'GET', cart, { DPoP: key })).status, 200);
  completed('cart');

  for (const more of [{}, { DPoP: thief }]) {
    await assert.rejects(call(tokens.access_token, 'GET', cart, more), (thrown) => {
      assert.equal(thrown.constructor, oauth.WWWAuthenticateChallengeError, thrown.stack);
      return thrown.status === 401;
    });
  }
  completed('cart refused without the key');

  let sent;
  const watched = { DPoP: key, [oauth.customFetch]: (address, options) => fetch(address, (sent = options)) };
  assert.equal((await call(tokens.access_token, 'GET', cart, watched)).status, 200);
  const replayed = await fetch(cart, sent);
  assert.equal(replayed.status, 401);
  assert.match(replayed.headers.get('www-authenticate'), /^DPoP .*error="invalid_dpop_proof"/);
  completed('replay refused');

  // The order service has no key of the client's: it calls the cart service with a token of its own.
  const product = { product_id: given.product, quantity: 1 };
  assert.equal((await call(tokens.access_token, 'POST', `${given.cart}/cart/items`, { DPoP: key }, product)).status, 200);
  const once = { 'idempotency-key': 'once' };
  const order = await call(tokens.access_token, 'POST', `${given.orders}/orders`, { DPoP: key }, {}, once);
  assert.equal(order.status, 201, await order.clone().text());
  completed('order');

  const fresh = await refresh(as, client, oauth.None(), tokens.refresh_token, watched);
  assert.equal(fresh.token_type, 'dpop');
  assert.equal((await call(fresh.access_token, 'GET', cart, { DPoP: key })).status, 200);
  completed('refresh');

  const again = await fetch(as.token_endpoint, sent);
  assert.deepEqual([again.status, (await again.json()).error], [400, 'invalid_dpop_proof']);
  const stolen = (more) => refresh(as, client, oauth.None(), fresh.refresh_token, more);
  await assert.rejects(stolen({}), refusedWith('invalid_dpop_proof'));
  await assert.rejects(stolen({ DPoP: thief }), refusedWith('invalid_grant'));
  await refresh(as, client, oauth.None(), fresh.refresh_token, { DPoP: key });
  completed('refresh refused without the key');
}

await run({ keys, native, dpop });
