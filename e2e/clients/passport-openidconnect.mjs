// The application of passport-openidconnect's README, which knows the provider's addresses by its settings.

import express from 'express';
import session from 'express-session';
import passport from 'passport';
import OpenIDConnectStrategy from 'passport-openidconnect';
import { SIGN_IN, SIGN_OUT, given, home, page, serve } from './application.mjs';

const settings = {
  issuer: given.issuer,
  authorizationURL: `${given.issuer}/oauth2/authorize`,
  tokenURL: `${given.issuer}/oauth2/token`,
  userInfoURL: `${given.issuer}/oauth2/userinfo`,
  clientID: given.client_id,
  clientSecret: given.client_secret,
  callbackURL: `${home}/cb`,
  scope: ['profile', 'email'],
};
passport.use(new OpenIDConnectStrategy(settings, (issuer, profile, done) => done(null, profile)));
passport.serializeUser((user, done) => done(null, user));
passport.deserializeUser((user, done) => done(null, user));

const app = express();
app.use(session({ secret: 'a secret of this application', resave: false, saveUninitialized: false }));
app.use(passport.authenticate('session'));

app.get('/login', passport.authenticate('openidconnect'));
app.get('/cb', passport.authenticate('openidconnect'), (req, res) => res.redirect('/'));
app.get('/logout', (req, res, next) => req.logout((error) => (error ? next(error) : res.redirect('/'))));

app.get('/', (req, res) => {
  if (!req.user) return res.send(page({}, SIGN_IN));
  const { displayName: name, username, emails } = req.user;
  res.send(page({ name, email: emails[0].value, username }, SIGN_OUT));
});

await serve(app);
