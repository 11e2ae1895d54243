// Journeys of npm's openid-client. Its own checks are all on: state, nonce, PKCE, `iss`, and the signatures of ID tokens.

import assert from 'node:assert/strict';
import * as client from 'openid-client';
import { completed, given, go, letIn, remember, run } from './person.mjs';

const issuer = new URL(given.issuer);
const strictly = { execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks] };

const refusedWith = (error) => (thrown) => {
  assert.equal(thrown.constructor, client.ResponseBodyError, thrown.stack);
  assert.equal(thrown.error, error);
  return true;
};

async function application() {
  const metadata = {
    client_name: 'An application of openid-client',
    redirect_uris: [given.redirect_uri],
    post_logout_redirect_uris: [given.after_logout],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'client_secret_basic',
    scope: 'openid profile email offline_access',
  };
  const registration = { ...strictly, initialAccessToken: given.initial_access_token };
  // openid-client takes the method with the secret that it is given.
  const byHeader = (as, registered, body, headers) =>
    client.ClientSecretBasic(registered.client_secret)(as, registered, body, headers);
  const config = await client.dynamicClientRegistration(issuer, metadata, byHeader, registration);
  await remember(config.clientMetadata().client_secret, config.clientMetadata().registration_access_token);
  completed('registration');

  const { tokens, claims } = await logIn(config);
  completed('login');

  const about = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
  assert.equal(about.email, given.email);
  assert.equal(typeof about.name, 'string');
  completed('userinfo');

  const active = await client.tokenIntrospection(config, tokens.access_token);
  assert.equal(active.active, true);
  assert.equal(active.client_id, config.clientMetadata().client_id);
  assert.equal(active.sub, claims.sub);
  completed('introspection');

  const fresh = await client.refreshTokenGrant(config, tokens.refresh_token);
  await remember(fresh.access_token, fresh.refresh_token);
  assert.notEqual(fresh.refresh_token, tokens.refresh_token);
  assert.equal(fresh.claims().sub, claims.sub);
  completed('refresh');

  const newest = await client.refreshTokenGrant(config, fresh.refresh_token);
  await remember(newest.access_token, newest.refresh_token);
  assert.equal((await client.tokenIntrospection(config, fresh.refresh_token)).active, false);
  assert.equal((await client.tokenIntrospection(config, newest.refresh_token)).active, true);
  completed('rotation');

  await client.tokenRevocation(config, newest.refresh_token);
  assert.equal((await client.tokenIntrospection(config, newest.refresh_token)).active, false);
  assert.equal((await client.tokenIntrospection(config, newest.access_token)).active, false);
  await assert.rejects(client.refreshTokenGrant(config, newest.refresh_token), refusedWith('invalid_grant'));
  completed('revocation');

  await logOut(config);
  completed('logout');
}

async function logIn(config) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier();
  const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()];
  await remember(pkceCodeVerifier);
  const address = client.buildAuthorizationUrl(config, {
    redirect_uri: given.redirect_uri,
    scope: 'openid profile email offline_access',
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: expectedState,
    nonce: expectedNonce,
    max_age: '300',
  });
  const back = await go(address);
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, maxAge: 300, idTokenExpected: true };
  const tokens = await client.authorizationCodeGrant(config, back, checks);
  await remember(tokens.access_token, tokens.refresh_token);
  return { tokens, claims: tokens.claims() };
}

async function logOut(config) {
  const { tokens } = await logIn(config);
  const state = client.randomState();
  const address = client.buildEndSessionUrl(config, {
    id_token_hint: tokens.id_token,
    post_logout_redirect_uri: given.after_logout,
    state,
  });
  const back = await go(address);
  assert.equal(back.searchParams.get('state'), state);
  assert.equal(back.origin + back.pathname, given.after_logout);
  assert.equal((await client.tokenIntrospection(config, tokens.access_token)).active, false);
  await assert.rejects(client.refreshTokenGrant(config, tokens.refresh_token), refusedWith('invalid_grant'));
}

async function device() {
  const config = await client.discovery(issuer, given.client_id, undefined, client.None(), strictly);
  const shown = await client.initiateDeviceAuthorization(config, { scope: 'openid email offline_access' });
  await remember(shown.device_code);
  const once = client.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:device_code', {
    device_code: shown.device_code,
  });
  await assert.rejects(once, refusedWith('authorization_pending'));
  completed('pending');

  await letIn(shown.verification_uri_complete);
  const tokens = await client.pollDeviceAuthorizationGrant(config, shown);
  await remember(tokens.access_token, tokens.refresh_token);
  completed('let in');

  const about = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
  assert.equal(about.email, given.email);
  completed('userinfo');
}

async function machine() {
  const { client_id, client_secret } = given;
  await remember(client_secret);
  const config = await client.discovery(issuer, client_id, client_secret, undefined, strictly);
  const tokens = await client.clientCredentialsGrant(config, { scope: 'orders' });
  await remember(tokens.access_token);
  assert.equal(tokens.refresh_token, undefined);
  assert.equal(tokens.id_token, undefined);
  completed('credentials');

  const active = await client.tokenIntrospection(config, tokens.access_token);
  assert.deepEqual([active.active, active.sub, active.scope], [true, client_id, 'orders']);
  completed('introspection');

  await client.tokenRevocation(config, tokens.access_token);
  assert.equal((await client.tokenIntrospection(config, tokens.access_token)).active, false);
  completed('revocation');
}

await run({ application, device, machine });
