//! A person's browser, as far as forms go: it keeps cookies, follows redirections, and sends the forms of the sign-in pages
//! as they stand there. Runs no script, and knows nothing of OpenID.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use e2e::{Credentials, Platform, Service, secrets};
use reqwest::header::{ACCEPT, COOKIE, HeaderMap, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, RequestBuilder, Response, Url, redirect};

const PATIENCE: Duration = Duration::from_secs(60);
/// More redirections and forms than any sign-in has.
const MAX_STEPS: usize = 12;

pub(crate) struct Browser {
    client: Client,
    cookies: BTreeMap<String, String>,
    /// The auth service, whose pages this person knows.
    home: Url,
    person: Credentials,
    /// The pages whose forms were sent, by path.
    pub(crate) filled: Vec<String>,
}

impl Browser {
    pub(crate) fn new(platform: &Platform, person: &Credentials) -> Self {
        let client = Client::builder().timeout(PATIENCE).redirect(redirect::Policy::none());
        // Not every system finds names under localhost; the port is the address's own.
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let client = Service::ALL.into_iter().fold(client, |client, service| client.resolve(service.host(), here));
        Self {
            client: client.build().expect("an HTTP client"),
            cookies: BTreeMap::new(),
            home: platform.auth().parse().expect("the address of the auth service"),
            person: person.clone(),
            filled: Vec::new(),
        }
    }

    /// Goes to an address and through all pages there: signs in, agrees to everything. Says where that leads.
    ///
    /// # Panics
    /// A page shows an error, or it leads nowhere.
    pub(crate) async fn go(&mut self, address: &str) -> Url {
        let mut url: Url = address.parse().expect("an address");
        for _ in 0..MAX_STEPS {
            if url.origin() != self.home.origin() || url.path() == "/signed-out" {
                return url;
            }
            let answer = self.send(self.client.get(url.clone())).await;
            url = match self.leads_to(&url, &answer) {
                Some(next) => next,
                None => {
                    let page = page_of(&url, answer).await;
                    match way_to_the_client(&page) {
                        Some(client) => client,
                        // An answer that is posted to the client.
                        None if Form::read(&page).leads_elsewhere(&url) => return url,
                        None => {
                            let answer = self.fill(&url, &page).await;
                            self.leads_to(&url, &answer)
                                .unwrap_or_else(|| panic!("{url} keeps its form: {}", answer.status()))
                        }
                    }
                }
            };
        }
        panic!("no end after {MAX_STEPS} steps: {url}");
    }

    /// Goes to an address and through all pages of the auth service on the way, to the page at the end.
    ///
    /// # Panics
    /// As [`Browser::go`].
    pub(crate) async fn opens(&mut self, address: &str) -> Page {
        let mut url: Url = address.parse().expect("an address");
        for _ in 0..MAX_STEPS {
            url = self.go(url.as_str()).await;
            let answer = self.send(self.client.get(url.clone())).await;
            match self.leads_to(&url, &answer) {
                Some(next) => url = next,
                None => return Page { text: page_of(&url, answer).await, at: url },
            }
        }
        panic!("no end after {MAX_STEPS} steps: {url}");
    }

    /// The text of the page that [`Browser::opens`].
    ///
    /// # Panics
    /// As [`Browser::go`].
    pub(crate) async fn reads(&mut self, address: &str) -> String {
        self.opens(address).await.text
    }

    /// Presses what a client's page calls by this word: a form, or else a link. None where there is neither.
    ///
    /// # Panics
    /// As [`Browser::go`].
    pub(crate) async fn press(&mut self, page: &Page, word: &str) -> Option<Page> {
        let Some(form) = Form::called(&page.text, word) else {
            let to = page.at.join(&link_called(&page.text, word)?).expect("the link's address");
            return Some(self.opens(to.as_str()).await);
        };
        let to = page.at.join(&form.action).expect("the form's address");
        let request = self.client.post(to.clone()).form(&form.hidden);
        let answer = self.send(request.header(ORIGIN, page.at.origin().ascii_serialization())).await;
        Some(match self.leads_to(&to, &answer) {
            Some(next) => self.opens(next.as_str()).await,
            None => Page { text: page_of(&to, answer).await, at: to },
        })
    }

    /// Lets a device in, at the address that it shows.
    ///
    /// # Panics
    /// A page shows an error, or something else than asked for.
    pub(crate) async fn let_in(&mut self, address: &str) {
        let start: Url = address.parse().expect("an address");
        let mut answer = self.send(self.client.get(start.clone())).await;
        if let Some(next) = self.leads_to(&start, &answer) {
            assert_eq!(next.path(), "/sign-in", "a person is signed in before they let anybody in");
            let page = page_of(&next, self.send(self.client.get(next.clone())).await).await;
            let filled = self.fill(&next, &page).await;
            let back = self.leads_to(&next, &filled).expect("signing in leads back");
            answer = self.send(self.client.get(back)).await;
        }
        // First the code, then the decision.
        for _ in 0..2 {
            let page = page_of(&start, answer).await;
            answer = self.fill(&start, &page).await;
        }
        let end =
            self.leads_to(&start, &answer).unwrap_or_else(|| panic!("the device is not let in: {}", answer.status()));
        assert_eq!((end.path(), end.query()), ("/device", Some("done=allow")));
    }

    async fn fill(&mut self, url: &Url, page: &str) -> Response {
        let form = Form::read(page);
        let mut fields = form.hidden;
        for name in form.asked {
            let value = match name.as_str() {
                "email" => self.person.email.clone(),
                "password" => self.person.password.clone(),
                "decision" => "allow".to_owned(),
                other => panic!("{url} asks for {other}"),
            };
            fields.push((name, value));
        }
        self.filled.push(url.path().to_owned());
        let to = url.join(&form.action).expect("the form's address");
        let request = self.client.post(to).form(&fields);
        self.send(request.header(ORIGIN, self.home.origin().ascii_serialization())).await
    }

    async fn send(&mut self, request: RequestBuilder) -> Response {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header(ACCEPT, "text/html,*/*;q=0.8").header(COOKIE, cookies.join("; "));
        let answer = request.send().await.expect("an answer");
        self.keep(answer.headers());
        answer
    }

    fn keep(&mut self, headers: &HeaderMap) {
        for set in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let (pair, attributes) = set.split_once(';').unwrap_or((set, ""));
            let (name, value) = pair.split_once('=').expect("a cookie has a name");
            let attributes = attributes.to_ascii_lowercase();
            if value.is_empty() || attributes.contains("max-age=0") || attributes.contains("jan 1970") {
                self.cookies.remove(name);
            } else {
                // Some clients keep addresses in cookies, which are no secrets.
                if !value.starts_with("http") {
                    secrets::remember(value);
                }
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    fn leads_to(&self, from: &Url, answer: &Response) -> Option<Url> {
        let location = answer.headers().get(LOCATION)?.to_str().expect("a redirection is text");
        if from.origin() == self.home.origin() {
            assert_eq!(answer.status(), 303, "of {from}: no browser repeats a form elsewhere");
        }
        Some(from.join(location).expect("an address"))
    }
}

/// A page that is shown.
pub(crate) struct Page {
    pub(crate) at: Url,
    pub(crate) text: String,
}

async fn page_of(url: &Url, answer: Response) -> String {
    let status = answer.status();
    let page = answer.text().await.expect("a page");
    assert_eq!(status, 200, "{url}: {page}");
    page
}

/// Where the page leads that asks before a person is sent to a client which no administrator has approved.
fn way_to_the_client(page: &str) -> Option<Url> {
    let (before, _) = page.split_once("\" rel=\"noreferrer noopener\"")?;
    let (_, address) = before.rsplit_once("href=\"")?;
    Some(address.replace("&#38;", "&").replace("&amp;", "&").parse().expect("the client's address"))
}

/// What a page's form in its main part asks for.
struct Form {
    /// Empty for the page's own address.
    action: String,
    /// What is sent as it stands.
    hidden: Vec<(String, String)>,
    asked: Vec<String>,
}

impl Form {
    /// # Panics
    /// There is no form.
    fn read(page: &str) -> Self {
        let main = page.split_once("<main").map_or("", |(_, main)| main);
        Self::all(main).next().map(Self::of).unwrap_or_else(|| panic!("no form: {page}"))
    }

    /// The first form in which a word stands.
    fn called(page: &str, word: &str) -> Option<Self> {
        Self::all(page).find(|form| form.contains(word)).map(Self::of)
    }

    fn all(page: &str) -> impl Iterator<Item = &str> {
        page.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap_or(rest))
    }

    fn leads_elsewhere(&self, page: &Url) -> bool {
        page.join(&self.action).is_ok_and(|to| to.origin() != page.origin())
    }

    fn of(form: &str) -> Self {
        let mut read = Self { action: attribute(form, "action").unwrap_or_default(), hidden: vec![], asked: vec![] };
        let tags = form.split('<').filter(|tag| tag.starts_with("input") || tag.starts_with("button"));
        for tag in tags {
            let Some(name) = attribute(tag, "name") else { continue };
            match attribute(tag, "value").filter(|value| !value.is_empty()) {
                Some(value) if tag.starts_with("input") && name != "email" => read.hidden.push((name, value)),
                _ if read.asked.contains(&name) => {}
                _ => read.asked.push(name),
            }
        }
        read
    }
}

/// Where the first link leads in whose text a word stands.
fn link_called(page: &str, word: &str) -> Option<String> {
    let links = page.split("<a ").skip(1).map(|rest| rest.split("</a>").next().unwrap_or(rest));
    let named = |link: &&str| link.split_once('>').is_some_and(|(_, text)| text.contains(word));
    links.filter(named).find_map(|link| attribute(&format!(" {link}"), "href"))
}

/// An attribute of the tag that `text` begins with.
fn attribute(text: &str, name: &str) -> Option<String> {
    let tag = text.split('>').next()?;
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let value = rest.split('"').next()?;
    assert!(!value.contains('&'), "an escaped value: {value}");
    Some(value.to_owned())
}
