// A single-page application as others write it: it has no server of its own, and signs people in by oidc-client-ts.

const { InMemoryWebStorage, UserManager, WebStorageStateStore } = globalThis.oidc;
const { origin, pathname } = location;
const { authority, client_id } = await (await fetch('/settings.json')).json();

const manager = (store) =>
  new UserManager({
    authority,
    client_id,
    redirect_uri: `${origin}/callback`,
    silent_redirect_uri: `${origin}/silent`,
    post_logout_redirect_uri: `${origin}/`,
    scope: 'openid profile email offline_access',
    loadUserInfo: true,
    automaticSilentRenew: false,
    userStore: new WebStorageStateStore({ store }),
  });
const signedIn = manager(sessionStorage);
const status = document.querySelector('[role="status"]');
const on = (id, act) => document.getElementById(id).addEventListener('click', () => show(act));

async function show(act) {
  try {
    status.textContent = (await act()) ?? '';
  } catch (error) {
    status.textContent = `refused: ${error.error ?? error.message}`;
  }
}

const greeting = (user, how) => (user ? `${how} as ${user.profile.name}, ${user.profile.email}` : 'Nobody is signed in');

if (pathname === '/silent') {
  await signedIn.signinSilentCallback();
} else {
  on('sign-in', () => signedIn.signinRedirect());
  on('renew', async () => greeting(await signedIn.signinSilent(), 'renewed'));
  // As one that has no refresh token: by a frame.
  on('ask', async () => greeting(await manager(new InMemoryWebStorage()).signinSilent(), 'known'));
  on('sign-out', () => signedIn.signoutRedirect());
  await show(async () => {
    if (pathname === '/callback') await signedIn.signinCallback();
    else if (new URLSearchParams(location.search).has('state')) await signedIn.signoutCallback();
    history.replaceState(null, '', '/');
    return greeting(await signedIn.getUser(), 'signed in');
  });
}
