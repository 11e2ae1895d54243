//! One page for one request: its language, its form token, who is signed in, and the headers that it is answered with.

use std::future::{Ready, ready};

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY,
};
use actix_web::{FromRequest, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use askama::Template;
use time::OffsetDateTime;
use time::macros::format_description;
use url::{Url, form_urlencoded};

use super::csrf::{self, Secret};
use super::{Language, LayoutTexts, NextStep, Site, Visit, asset};
use crate::clock::Timestamp;
use crate::problem::Problem;

/// Where a chosen language is remembered.
const LANGUAGE_COOKIE: &str = "roam_language";
/// The parameter that chooses one: OpenID's own (Core, section 3.1.2.1), so that a link of a client does it too.
const LANGUAGE_PARAMETER: &str = "ui_locales";

/// What `layout.html` shows: a template that extends it has a `page: &Page`.
pub struct Page {
    pub language: Language,
    site: web::Data<Site>,
    secret: Secret,
    secret_is_new: bool,
    language_is_chosen: bool,
    language_is_remembered: bool,
    path: String,
    /// What the language switch must not lose.
    parameters: Vec<(String, String)>,
    visit: Visit,
    form_targets: Vec<String>,
}

impl FromRequest for Page {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(Self::of(request).ok_or_else(|| Problem::internal("web::Data<Site> is not in this App's data")))
    }
}

impl Page {
    /// The page that a request asks for; none in an `App` without pages.
    pub fn of(request: &HttpRequest) -> Option<Self> {
        let site = request.app_data::<web::Data<Site>>()?.clone();
        let headers = request.headers();
        let (chosen, parameters): (Vec<_>, Vec<_>) = form_urlencoded::parse(request.query_string().as_bytes())
            .into_owned()
            .partition(|(name, _)| name == LANGUAGE_PARAMETER);
        let chosen = chosen.first().and_then(|(_, value)| Language::from_ui_locales(value));
        let remembered = csrf::cookies(headers, LANGUAGE_COOKIE).find_map(|value| Language::from_tag(&value));
        let accepted = || Language::from_accept_language(headers.get(ACCEPT_LANGUAGE)?.to_str().ok()?);
        let presented = Secret::presented(&site, headers);
        Some(Self {
            language: chosen.or(remembered).or_else(accepted).unwrap_or(Language::En),
            secret_is_new: presented.is_none(),
            secret: presented.unwrap_or_else(Secret::random),
            language_is_chosen: chosen.is_some(),
            language_is_remembered: remembered.is_some(),
            path: request.path().to_owned(),
            parameters,
            visit: Visit::Guest,
            form_targets: Vec::new(),
            site,
        })
    }

    /// Speaks the language that a client has asked for (`ui_locales`), unless the person has chosen one here.
    pub fn preferring(mut self, ui_locales: &str) -> Self {
        if let (false, Some(language)) =
            (self.language_is_chosen || self.language_is_remembered, Language::from_ui_locales(ui_locales))
        {
            self.language = language;
        }
        self
    }

    /// Shows who is signed in, by the name that they want to be called.
    pub fn signed_in_as(self, name: impl Into<String>) -> Self {
        self.visited_by(Visit::SignedIn(name.into()))
    }

    /// Shows what is known of who visits.
    pub fn visited_by(mut self, visit: Visit) -> Self {
        self.visit = visit;
        self
    }

    /// Lets a form of this page end at another site: browsers hold each redirection that follows a form against the page's
    /// `form-action`, and a client may go on from its callback to another of its hosts. So the scheme is what is named.
    pub fn form_leads_to(mut self, address: &Url) -> Self {
        self.form_targets.push(format!("{}:", address.scheme()));
        self
    }

    /// The page of a refusal from which this way leads on.
    pub(super) fn leading_on(mut self, step: &NextStep) -> Self {
        self.language = step.language;
        match Url::parse(&step.to.address) {
            Ok(address) if step.to.posted.is_some() => self.form_leads_to(&address),
            _ => self,
        }
    }

    /// As [`Page::form_leads_to`], to the auth service, where sign-ins and sign-outs go on.
    pub fn form_leads_to_account(self) -> Self {
        let account = self.site.account.clone();
        self.form_leads_to(&account)
    }

    /// Answers 200 with the page.
    ///
    /// # Errors
    /// 500 when the template cannot be rendered.
    pub fn show(&self, template: &impl Template) -> Result<HttpResponse, Problem> {
        self.answer(StatusCode::OK, template)
    }

    /// Answers with the page and another status: 422 for a form that is shown again, 429 for one that came too often.
    ///
    /// # Errors
    /// 500 when the template cannot be rendered.
    pub fn answer(&self, status: StatusCode, template: &impl Template) -> Result<HttpResponse, Problem> {
        let body = template.render().map_err(Problem::internal)?;
        Ok(self.head(status).content_type("text/html; charset=utf-8").body(body))
    }

    /// Shows the page with the form again, as the refusal's answer: its status and its headers.
    ///
    /// # Errors
    /// 500 when the template cannot be rendered.
    pub fn refuse(&self, problem: &Problem, template: &impl Template) -> Result<HttpResponse, Problem> {
        let mut answer = self.answer(problem.status(), template)?;
        for (name, value) in problem.headers() {
            answer.headers_mut().append(name.clone(), value.clone());
        }
        Ok(answer)
    }

    /// Sends the browser on after a form, by GET (303, never 307: that would send the form along).
    pub fn see_other(&self, location: &str) -> HttpResponse {
        self.head(StatusCode::SEE_OTHER).insert_header((LOCATION, location)).finish()
    }

    fn head(&self, status: StatusCode) -> HttpResponseBuilder {
        let mut head = HttpResponse::build(status);
        head.insert_header((CONTENT_SECURITY_POLICY, self.content_security_policy()))
            .insert_header((CACHE_CONTROL, "no-store"))
            // `no-referrer` would make a browser send our own forms with `Origin: null`.
            .insert_header((REFERRER_POLICY, "same-origin"))
            .insert_header(("Cross-Origin-Opener-Policy", "same-origin"))
            .insert_header(("Cross-Origin-Resource-Policy", "same-origin"))
            .insert_header((CONTENT_LANGUAGE, self.language.tag()));
        if self.site.public_url.scheme() == "https" {
            head.insert_header((STRICT_TRANSPORT_SECURITY, "max-age=31536000"));
        }
        if self.secret_is_new {
            head.cookie(self.secret.cookie(&self.site));
        }
        if self.language_is_chosen {
            head.cookie(self.language_cookie());
        }
        head
    }

    fn content_security_policy(&self) -> String {
        let targets: String = self.form_targets.iter().map(|target| format!(" {target}")).collect();
        format!(
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
             form-action 'self'{targets}; base-uri 'none'; frame-ancestors 'none'"
        )
    }

    fn language_cookie(&self) -> Cookie<'static> {
        Cookie::build(LANGUAGE_COOKIE, self.language.code())
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.site.secure)
            .max_age(Duration::days(365))
            .finish()
    }
}

/// What templates ask for.
impl Page {
    pub fn texts(&self) -> LayoutTexts {
        LayoutTexts(self.language)
    }

    /// The value of the hidden field `csrf`, which every form with `method="post"` has.
    pub fn csrf_token(&self) -> String {
        self.secret.masked()
    }

    pub fn user(&self) -> Option<&str> {
        if let Visit::SignedIn(name) = &self.visit { Some(name) } else { None }
    }

    /// Whether it is sure that nobody is signed in.
    pub fn is_for_a_guest(&self) -> bool {
        self.visit == Visit::Guest
    }

    /// The name of a file of `/assets` as this release has it.
    pub fn asset(&self, name: &str) -> String {
        asset::address(name)
    }

    /// A page of the shop: `page.shop("/basket")`.
    pub fn shop(&self, path: &str) -> String {
        Site::link(&self.site.shop, path)
    }

    pub fn orders(&self, path: &str) -> String {
        Site::link(&self.site.orders, path)
    }

    pub fn account(&self, path: &str) -> String {
        Site::link(&self.site.account, path)
    }

    pub fn sign_in_path(&self) -> &'static str {
        self.site.sign_in
    }

    pub fn sign_out_path(&self) -> &'static str {
        self.site.sign_out
    }

    /// This page's own path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The navigation: where each link leads, and what it is called.
    pub fn navigation(&self) -> [(String, &'static str); 3] {
        let t = self.texts();
        [(self.shop("/"), t.shop()), (self.shop("/basket"), t.basket()), (self.orders("/"), t.orders())]
    }

    /// Whether a link of the navigation leads to this page.
    pub fn is_here(&self, link: &str) -> bool {
        link == Site::link(&self.site.public_url, &self.path)
    }

    pub fn is_at(&self, path: &str) -> bool {
        self.path == path
    }

    /// The parameters of this page's address, without the language.
    pub fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// The other languages that the page can be read in.
    pub fn other_languages(&self) -> impl Iterator<Item = Language> {
        let own = self.language;
        Language::ALL.into_iter().filter(move |language| *language != own)
    }

    pub fn language_parameter(&self) -> &'static str {
        LANGUAGE_PARAMETER
    }

    /// A moment for people, in UTC: "27 Nov 2026, 15:53 UTC".
    pub fn moment(&self, moment: &Timestamp) -> String {
        let Ok(moment) = OffsetDateTime::from_unix_timestamp(moment.seconds()) else { return String::new() };
        let text = match self.language {
            Language::En => {
                moment.format(format_description!("[day padding:none] [month repr:short] [year], [hour]:[minute] UTC"))
            }
            Language::Zh => moment
                .format(format_description!("[year]年[month padding:none]月[day padding:none]日 [hour]:[minute] UTC")),
        };
        text.unwrap_or_default()
    }
}
