//! The Rust crate `openidconnect`: the client of services like this platform's own. It brings no HTTP here: that is ours, and
//! in clear.

use e2e::secrets;
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreGrantType, CoreIdTokenClaims,
    CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode,
    CoreResponseType, CoreRevocableToken, CoreSubjectIdentifierType, CoreTokenResponse, CoreUserInfoClaims,
};
use openidconnect::{
    AccessTokenHash, AdditionalProviderMetadata, AuthType, AuthenticationFlow, AuthorizationCode, ClientId,
    ClientSecret, CsrfToken, EndSessionUrl, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    IntrospectionUrl, IssuerUrl, LogoutRequest, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge,
    PostLogoutRedirectUrl, ProviderMetadata, RedirectUrl, RevocationUrl, Scope, TokenIntrospectionResponse as _,
    TokenResponse as _,
};
use serde_json::json;

use crate::browser::Browser;
use crate::place::{AFTER_LOGOUT, Place, REDIRECT_URI};

#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
struct More {
    introspection_endpoint: IntrospectionUrl,
    revocation_endpoint: RevocationUrl,
    end_session_endpoint: EndSessionUrl,
}

impl AdditionalProviderMetadata for More {}

type Metadata = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// Authorization, introspection, revocation and token endpoints are known.
type Client = CoreClient<EndpointSet, EndpointNotSet, EndpointSet, EndpointSet, EndpointMaybeSet, EndpointMaybeSet>;

/// The transport. The crate revokes by https alone, so that is what it is told; what terminates TLS before the platform is
/// left out.
struct Http(reqwest::Client);

impl Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().replacen("https://", "http://", 1);
        let answer = self.0.request(parts.method, url).headers(parts.headers).body(body).send().await?;
        let mut response = HttpResponse::default();
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        *response.body_mut() = answer.bytes().await?.to_vec();
        Ok(response)
    }
}

/// A client and its end of a login.
struct Application {
    http: Http,
    client: Client,
    end_session: EndSessionUrl,
}

impl Application {
    async fn register(place: &Place) -> Self {
        let metadata = json!({
            "client_name": "An application of openidconnect",
            "redirect_uris": [REDIRECT_URI],
            "post_logout_redirect_uris": [AFTER_LOGOUT],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "client_secret_post",
            "scope": "openid profile email offline_access",
            "first_party": true,
        });
        let made = place.register(&metadata).await;
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let http = Http(http.build().expect("an HTTP client"));
        let issuer = IssuerUrl::new(place.issuer()).expect("an issuer");
        let found = Metadata::discover_async(issuer, &|request| http.call(request)).await.expect("the metadata");
        let more = found.additional_metadata().clone();
        let revocation = more.revocation_endpoint.as_str().replacen("http://", "https://", 1);
        let (id, secret) = (ClientId::new(text("client_id")), ClientSecret::new(text("client_secret")));
        let client = CoreClient::from_provider_metadata(found, id, Some(secret))
            .set_auth_type(AuthType::RequestBody)
            .set_redirect_uri(RedirectUrl::new(REDIRECT_URI.to_owned()).expect("an address"))
            .set_introspection_url(more.introspection_endpoint)
            .set_revocation_url(RevocationUrl::new(revocation).expect("an address"));
        Self { http, client, end_session: more.end_session_endpoint }
    }

    async fn log_in(&self, browser: &mut Browser) -> (CoreTokenResponse, CoreIdTokenClaims) {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let words = ["profile", "email", "offline_access"].map(|word| Scope::new(word.to_owned()));
        let request = self.client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
        let (url, state, nonce) = request.add_scopes(words).set_pkce_challenge(challenge).url();
        let back = browser.go(url.as_str()).await;
        let value =
            |name: &str| back.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned());
        assert_eq!(value("state").as_ref(), Some(state.secret()), "{back}");
        let code = AuthorizationCode::new(value("code").expect("a code"));
        let request = self.client.exchange_code(code).expect("a token endpoint").set_pkce_verifier(verifier);
        let tokens = request.request_async(&|request| self.http.call(request)).await.expect("tokens");
        let claims = self.verified(&tokens, &nonce);
        (remembered(tokens), claims)
    }

    /// The claims of the ID token: signed by the issuer, for this client and login, and for this very access token.
    fn verified(&self, tokens: &CoreTokenResponse, nonce: &Nonce) -> CoreIdTokenClaims {
        let (id_token, verifier) = (tokens.id_token().expect("an ID token"), self.client.id_token_verifier());
        let claims = id_token.claims(&verifier, nonce).expect("claims");
        let (alg, key) = (id_token.signing_alg().expect("an algorithm"), id_token.signing_key(&verifier));
        let hash = AccessTokenHash::from_token(tokens.access_token(), alg, key.expect("a key")).expect("a hash");
        assert_eq!(claims.access_token_hash(), Some(&hash));
        claims.clone()
    }

    async fn refresh(&self, tokens: &CoreTokenResponse) -> Result<CoreTokenResponse, String> {
        let token = tokens.refresh_token().expect("a refresh token");
        let request = self.client.exchange_refresh_token(token).expect("a token endpoint");
        let fresh = request.request_async(&|request| self.http.call(request)).await;
        fresh.map(remembered).map_err(|error| error.to_string())
    }

    async fn is_active(&self, tokens: &CoreTokenResponse) -> bool {
        let request = self.client.introspect(tokens.access_token());
        request.request_async(&|request| self.http.call(request)).await.expect("an answer").active()
    }
}

fn remembered(tokens: CoreTokenResponse) -> CoreTokenResponse {
    secrets::remember(tokens.access_token().secret());
    secrets::remember(tokens.refresh_token().expect("a refresh token").secret());
    tokens
}

#[tokio::test]
async fn a_service_signs_a_person_in_and_out() {
    let place = Place::in_one_process().await;
    let (application, mut browser) = (Application::register(&place).await, place.browser());
    let http = |request| application.http.call(request);

    let (tokens, claims) = application.log_in(&mut browser).await;
    assert_eq!(browser.filled, ["/sign-in"], "nobody is asked for leave by the platform's own");
    let about = application.client.user_info(tokens.access_token().clone(), Some(claims.subject().clone()));
    let about: CoreUserInfoClaims = about.expect("an endpoint").request_async(&http).await.expect("who it is");
    assert_eq!(about.email().map(|email| email.as_str()), Some(place.person.email.as_str()));
    assert!(application.is_active(&tokens).await);

    let fresh = application.refresh(&tokens).await.expect("tokens");
    assert_ne!(fresh.refresh_token().map(|it| it.secret()), tokens.refresh_token().map(|it| it.secret()));
    let token = CoreRevocableToken::RefreshToken(fresh.refresh_token().expect("one").clone());
    application.client.revoke_token(token).expect("https").request_async(&http).await.expect("it is revoked");
    assert!(!application.is_active(&fresh).await);
    application.refresh(&fresh).await.expect_err("a revoked token");

    // The browser's session is still there: nobody signs in twice.
    let (tokens, _) = application.log_in(&mut browser).await;
    assert_eq!(browser.filled, ["/sign-in"]);
    let state = CsrfToken::new_random();
    let address = LogoutRequest::from(application.end_session.clone())
        .set_id_token_hint(tokens.id_token().expect("an ID token"))
        .set_post_logout_redirect_uri(PostLogoutRedirectUrl::new(AFTER_LOGOUT.to_owned()).expect("an address"))
        .set_state(state.clone());
    let back = browser.go(address.http_get_url().as_str()).await;
    assert_eq!(back.as_str(), format!("{AFTER_LOGOUT}?state={}", state.secret()));
    assert!(!application.is_active(&tokens).await);
    application.log_in(&mut browser).await;
    assert_eq!(browser.filled, ["/sign-in", "/sign-in"], "they are signed out");
    place.finish();
}
