//! Settings from the environment, or from a file: `NAME_FILE` names the file that holds `NAME`, as secrets are mounted.
//! Owns how one is read, described and refused; every mistake is named at once, and a secret never prints.

mod placeholder;
mod setting;
mod shown;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

pub use self::setting::{ConnectionUrl, PrivateUrl, Setting, quoted};

struct Described {
    name: &'static str,
    value: String,
    source: &'static str,
    meaning: &'static str,
}

/// Reads settings by name and remembers what it was asked for: the list that `SERVICE config` prints.
pub struct Settings {
    values: HashMap<String, String>,
    /// Decided by the process that embeds a service.
    given: HashMap<&'static str, String>,
    described: Vec<Described>,
    mistakes: Vec<String>,
}

impl Settings {
    pub fn from_env() -> Self {
        Self::from_pairs(std::env::vars())
    }

    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let values = pairs.into_iter().collect();
        Self { values, given: HashMap::new(), described: Vec::new(), mistakes: Vec::new() }
    }

    /// Gives a value in place of the environment's, and leaves it out of the description: for a process that embeds a
    /// service and decides this itself.
    pub fn give(&mut self, name: &'static str, value: impl Into<String>) {
        self.given.insert(name, value.into());
    }

    /// A setting with a default, which must itself be readable as `T`.
    pub fn or<T: Setting>(&mut self, name: &'static str, default: &str, meaning: &'static str) -> T {
        match self.optional(name, meaning) {
            Some(value) => value,
            None => {
                if let Some(row) = self.described.iter_mut().find(|row| row.name == name && row.source == "unset") {
                    (row.value, row.source) = (shown::<T>(name, default), "default");
                }
                T::parse(default).unwrap_or_else(|mistake| panic!("the default of {name} is not readable: {mistake}"))
            }
        }
    }

    /// A duration that is longer than nothing.
    pub fn positive(&mut self, name: &'static str, default: &str, meaning: &'static str) -> Duration {
        let duration: Duration = self.or(name, default, meaning);
        if duration.is_zero() {
            self.mistake(format!("{name}: expected a duration longer than nothing"));
        }
        duration
    }

    /// A number that is at least 1: nought would be none at all, and not "without a limit".
    pub fn at_least_one<T: Setting + From<u8> + PartialOrd>(
        &mut self,
        name: &'static str,
        default: &str,
        meaning: &'static str,
    ) -> T {
        let number: T = self.or(name, default, meaning);
        if number < T::from(1) {
            self.mistake(format!("{name}: expected at least 1"));
        }
        number
    }

    /// A setting that must be given. `example` is shown when it is not, and [`Setting::stand_in`] makes what stands in.
    pub fn required<T: Setting>(&mut self, name: &'static str, example: &str, meaning: &'static str) -> T {
        match self.read(name, meaning) {
            Ok(Some(value)) => return value,
            Ok(None) => self.mistake(format!("{name} is not set: {meaning}. For example {name}={example}")),
            Err(mistake) => self.mistake(mistake),
        }
        T::stand_in(example).unwrap_or_else(|mistake| panic!("the example of {name} is not readable: {mistake}"))
    }

    /// A setting that may be left out. An empty text counts as left out.
    pub fn optional<T: Setting>(&mut self, name: &'static str, meaning: &'static str) -> Option<T> {
        self.read(name, meaning).unwrap_or_else(|mistake| {
            self.mistake(mistake);
            None
        })
    }

    fn read<T: Setting>(&mut self, name: &'static str, meaning: &'static str) -> Result<Option<T>, String> {
        let is_given = self.given.contains_key(name);
        let found = self.text(name);
        // Several services in one process ask for the same setting: it is described once.
        if !is_given && !self.described.iter().any(|row| row.name == name) {
            let (value, source) = match &found {
                Ok(Some((text, source))) => (shown::<T>(name, text), *source),
                Ok(None) => (String::new(), "unset"),
                Err(_) => (String::new(), "file"),
            };
            self.described.push(Described { name, value, source, meaning });
        }
        let Some((text, _)) = found? else { return Ok(None) };
        if is_secret::<T>(name, &text)
            && let Some(mistake) = placeholder::mistake(&text)
        {
            return Err(format!("{name}: {mistake}"));
        }
        T::parse(&text).map(Some).map_err(|mistake| {
            let shown = shown::<T>(name, &text);
            let mistake = if shown == text { mistake } else { mistake.replace(&*text, &shown) };
            format!("{name}: {mistake}")
        })
    }

    /// A setting's text and where it stands: in the environment, or in the file that `NAME_FILE` names there.
    fn text(&self, name: &str) -> Result<Option<(String, &'static str)>, String> {
        let trimmed = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let text = self.given.get(name).or_else(|| self.values.get(name)).and_then(trimmed);
        let in_environment = text.map(|text| (text, "environment"));
        let file_name = format!("{name}_FILE");
        let Some(path) = self.values.get(&file_name).and_then(trimmed).filter(|_| !self.given.contains_key(name))
        else {
            return Ok(in_environment);
        };
        if in_environment.is_some() {
            return Err(format!("{name} and {file_name} are both set: expected one of them"));
        }
        // Not the path: it is the secret, where somebody has taken the one setting for the other.
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{file_name}: expected the path of a file that can be read: {error}"))?;
        trimmed(&text).map(|text| Some((text, "file"))).ok_or_else(|| format!("{file_name}: the file is empty"))
    }

    /// Adds a mistake that only shows when two settings are seen together. The same one twice is one.
    pub fn mistake(&mut self, mistake: impl Into<String>) {
        let mistake = mistake.into();
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    /// Every setting that was asked for: name, value, where it came from, meaning. Secrets show as `[secret]`.
    pub fn describe(&self) -> String {
        let width = |of: fn(&Described) -> usize| self.described.iter().map(of).max().unwrap_or(0);
        let (names, values) = (width(|row| row.name.len()), width(|row| row.value.len()).min(48));
        self.described.iter().fold(String::new(), |mut text, Described { name, value, source, meaning }| {
            let _ = writeln!(text, "{name:names$}  {value:values$}  {source:11}  {meaning}");
            text
        })
    }

    /// # Errors
    /// All mistakes, a line each.
    pub fn finish(&self) -> Result<(), anyhow::Error> {
        anyhow::ensure!(
            self.mistakes.is_empty(),
            "the settings have {} mistake(s); `config` as the only argument lists all settings:\n  - {}",
            self.mistakes.len(),
            self.mistakes.join("\n  - ")
        );
        Ok(())
    }
}

/// What is printed of a setting.
fn shown<T: Setting>(name: &str, text: &str) -> String {
    if is_secret::<T>(name, text) { shown::HIDDEN.to_owned() } else { T::shown(text) }
}

/// A text whose name says that it is a secret is one, whatever it is read as.
fn is_secret<T: Setting>(name: &str, text: &str) -> bool {
    const SECRETS: [&str; 6] = ["CREDENTIAL", "CREDENTIALS", "HEADERS", "PASSWORD", "SECRET", "TOKEN"];
    let last = name.rsplit('_').next().unwrap_or_default();
    T::SECRET || SECRETS.contains(&last) || (last == "KEY" && text.len() >= 16)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use secrecy::{ExposeSecret as _, SecretString};
    use url::Url;

    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::from_pairs(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let mut settings = settings(&[("ACCESS_TOKEN_TTL", "5 minutes"), ("CART_ADDR", "localhost")]);
        let _: Duration = settings.or("ACCESS_TOKEN_TTL", "5m", "life of an access token");
        let _: SocketAddr = settings.or("CART_ADDR", "127.0.0.1:8082", "where to listen");
        let _: String = settings.required("DATABASE_URL", "postgres://localhost/cart", "the service's own database");
        let text = settings.finish().expect_err("three mistakes").to_string();
        for name in ["ACCESS_TOKEN_TTL", "CART_ADDR", "DATABASE_URL is not set"] {
            assert!(text.contains(name), "{name} is missing from: {text}");
        }
    }

    #[test]
    fn a_secret_is_never_described() {
        let mut settings = settings(&[("MASTER_KEY", "hunter2"), ("REDIS_URL", "redis://:hunter2@localhost/0")]);
        let _: Option<SecretString> = settings.optional("MASTER_KEY", "sealing");
        let _: Option<String> = settings.optional("REDIS_URL", "sessions");
        assert!(!settings.describe().contains("hunter2"), "{}", settings.describe());
    }

    #[test]
    fn no_form_of_a_setting_shows_what_may_be_a_secret_in_it() {
        let (url, key) = ("postgres://one,two/cart?password=hunter2", "hunter2-hunter2-hunter2");
        let mut settings = settings(&[
            ("DATABASE_URL", url),
            ("OTHER_DATABASE_URL", url),
            ("COLLECTOR_URL", "https://collector/hunter2"),
            ("JWKS_URL", "https://ada:hunter2@keys.example"),
            ("CART_URL", "cart:hunter2@localhost"),
            ("CART_ADDR", "http://:hunter2@localhost"),
            ("APP_SECRET", "hunter2"),
            ("APP_API_KEY", key),
            ("APP_KEY_NAME", "shown"),
        ]);
        let _: Option<ConnectionUrl> = settings.optional("DATABASE_URL", "the service's own database");
        let _: Option<PrivateUrl> = settings.optional("COLLECTOR_URL", "traces");
        let _: Option<Url> = settings.optional("JWKS_URL", "keys");
        let _: Option<Url> = settings.optional("CART_URL", "the cart");
        let _: Option<SocketAddr> = settings.optional("CART_ADDR", "where to listen");
        for name in ["OTHER_DATABASE_URL", "APP_SECRET", "APP_API_KEY", "APP_KEY_NAME"] {
            let _: Option<String> = settings.optional(name, "of a service of another team");
        }
        let refused = settings.finish().expect_err("three mistakes").to_string();
        let shown = settings.describe();
        assert!(shown.contains("postgres://one,two/cart?[secret]") && shown.contains("  shown"), "{shown}");
        for text in [&shown, &refused] {
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(refused.contains("3 mistake") && refused.contains("without a login"), "{refused}");
    }

    #[test]
    fn an_example_is_no_secret_and_none_is_printed_that_could_be_one() {
        let mut settings = settings(&[
            ("MASTER_KEY", "$(openssl rand -base64 32)"),
            ("APP_SECRET", "0123456789abcdef0123456789abcdef"),
            ("DATABASE_URL", "postgres://cart:PASSWORD@localhost/cart"),
        ]);
        let _: SecretString = settings.required("MASTER_KEY", "$(openssl rand -base64 32)", "sealing");
        let _: Option<String> = settings.optional("APP_SECRET", "of a service of another team");
        let _: ConnectionUrl = settings.required("DATABASE_URL", "postgres://cart:PASSWORD@localhost/cart", "its own");
        let text = settings.finish().expect_err("three mistakes").to_string();
        for mistake in
            ["3 mistake", "MASTER_KEY: expected the output", "APP_SECRET: expected a secret", "place of PASSWORD"]
        {
            assert!(text.contains(mistake), "{mistake} is missing from: {text}");
        }
    }

    #[test]
    fn a_setting_may_stand_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let (key, url) = (file("key", "hunter2\n"), file("url", "redis://:hunter2@localhost/0\n"));
        let mut settings = settings(&[("MASTER_KEY_FILE", &key), ("REDIS_URL_FILE", &url), ("REDIS_URL", " ")]);
        let key: Option<SecretString> = settings.optional("MASTER_KEY", "sealing");
        assert_eq!(key.expect("the key").expose_secret(), "hunter2");
        let url: String = settings.required("REDIS_URL", "redis://localhost", "sessions");
        assert_eq!(url, "redis://:hunter2@localhost/0");
        settings.finish().expect("no mistake");
        assert!(!settings.describe().contains("hunter2"), "{}", settings.describe());
        assert!(settings.describe().lines().all(|line| line.contains(" file ")), "{}", settings.describe());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_every_other_mistake() {
        let folder = tempfile::tempdir().expect("a folder");
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "\n").expect("a file");
        let (empty, folder) = (empty.display().to_string(), folder.path().display().to_string());
        let mut settings = settings(&[
            ("MASTER_KEY_FILE", "/nowhere/key"),
            ("DATABASE_URL_FILE", &folder),
            ("ADMIN_PASSWORD_FILE", &empty),
            ("REDIS_URL_FILE", &empty),
            ("REDIS_URL", "redis://localhost"),
            // Nobody asks for this one, so nobody reads it.
            ("SSL_CERT_FILE", "/nowhere/certificates"),
        ]);
        let _: SecretString = settings.required("MASTER_KEY", "a key", "sealing");
        let _: String = settings.required("DATABASE_URL", "postgres://localhost/cart", "the service's own database");
        let _: Option<SecretString> = settings.optional("ADMIN_PASSWORD", "the first administrator's password");
        let _: String = settings.or("REDIS_URL", "redis://localhost", "sessions");
        let text = settings.finish().expect_err("four mistakes").to_string();
        for mistake in ["4 mistake", "MASTER_KEY_FILE: ", "DATABASE_URL_FILE: ", "is empty", "both set"] {
            assert!(text.contains(mistake), "{mistake} is missing from: {text}");
        }
        assert!(!text.contains("/nowhere/key"), "a path may be the secret itself: {text}");
    }

    #[test]
    fn a_required_setting_that_is_empty_is_not_set() {
        let mut settings = settings(&[("CHECKOUT_SECRET", "")]);
        let _: SecretString =
            settings.required("CHECKOUT_SECRET", "an example that nobody should run with", "a secret");
        assert!(settings.finish().is_err_and(|error| error.to_string().contains("CHECKOUT_SECRET is not set")));
    }

    #[test]
    fn what_several_services_ask_for_is_described_and_refused_once() {
        let mut settings = settings(&[("ACCESS_TOKEN_TTL", "soon"), ("DATABASE_URL", "postgres://of-another-program")]);
        for url in ["sqlite:auth.db", "sqlite:cart.db"] {
            settings.give("DATABASE_URL", url);
            assert_eq!(settings.required::<String>("DATABASE_URL", "sqlite:x", "the service's own database"), url);
            let _: Duration = settings.or("ACCESS_TOKEN_TTL", "5m", "life of an access token");
        }
        let mistakes = settings.finish().expect_err("one mistake").to_string();
        assert!(mistakes.contains("1 mistake"), "{mistakes}");
        let described = settings.describe();
        assert_eq!(described.lines().count(), 1, "what is given is nobody's setting: {described}");
    }
}
