//! What may be shown of a setting that can hold a secret. Rules only: a part that is not understood is hidden.

/// Stands in the place of each part that is hidden.
pub(super) const HIDDEN: &str = "[secret]";

const CONNECTIONS: [&str; 8] = [
    "postgres",
    "postgresql",
    "redis",
    "rediss",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
];
/// Parameters of a connection whose value is no secret.
const PARAMETERS: [&str; 9] =
    ["cache", "dbname", "host", "immutable", "master", "mode", "port", "sslmode", "target_session_attrs"];

/// What is shown of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    Shown,
    /// It may be what opens the place.
    Hidden,
}

/// A database's or a Redis' URL: its hosts, its database and harmless parameters, without login.
pub(super) fn connection_url(text: &str) -> String {
    let shown = match text.split_once(':') {
        Some(("sqlite", path)) => file(path),
        Some((scheme, rest)) if CONNECTIONS.contains(&scheme) => place(scheme, rest, Path::Shown),
        _ => None,
    };
    shown.unwrap_or_else(|| HIDDEN.to_owned())
}

/// An http(s) URL, without login and without parameters.
pub(super) fn web_url(text: &str) -> String {
    web(text, Path::Shown)
}

/// The same of a place that is opened by its address: without its path.
pub(super) fn host_of_web_url(text: &str) -> String {
    web(text, Path::Hidden)
}

/// A text of any kind. What looks like URLs, with commas between, is shown as such.
pub(super) fn text(text: &str) -> String {
    if !text.contains("://") {
        // A login without a scheme, or a connection in words of another program.
        let has_login = text.rsplit_once('@').is_some_and(|(login, _)| login.contains(':'));
        let is_hidden = has_login || text.to_ascii_lowercase().contains("password=");
        return if is_hidden { HIDDEN.to_owned() } else { text.to_owned() };
    }
    let one = |text: &str| match text.split_once("://") {
        Some(("http" | "https", _)) => web_url(text),
        Some(_) => connection_url(text),
        None => HIDDEN.to_owned(),
    };
    // A connection may have commas of its own, between its hosts.
    if !text.starts_with("http") {
        one(text)
    } else {
        text.split(',').map(str::trim).map(one).collect::<Vec<_>>().join(",")
    }
}

fn web(text: &str, path: Path) -> String {
    let shown = match text.split_once(':') {
        Some((scheme @ ("http" | "https"), rest)) => place(scheme, rest, path),
        _ => None,
    };
    shown.unwrap_or_else(|| HIDDEN.to_owned())
}

/// `//[LOGIN@]HOST[:PORT],…[/PATH][?PARAMETERS]`. None where a password may stand in the wrong part.
fn place(scheme: &str, rest: &str, shown: Path) -> Option<String> {
    let rest = rest.strip_prefix("//")?;
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((_, hosts)) => ("[secret]@", hosts),
        None => ("", authority),
    };
    let are_hosts = hosts.is_empty() || hosts.split(',').all(is_host);
    // An `@` or a `#` here is of a password whose `/` or `?` was not escaped.
    if !are_hosts || rest.contains(['@', '#']) {
        return None;
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = match path {
        "" | "/" => path,
        path if shown == Path::Shown && is_plain(path) => path,
        _ => "/[secret]",
    };
    Some(format!("{scheme}://{login}{hosts}{path}{}", parameters(query)))
}

/// A file of SQLite.
fn file(rest: &str) -> Option<String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_path = !path.contains(['@', '#']) && !path.chars().any(char::is_control);
    is_path.then(|| format!("sqlite:{path}{}", parameters(query)))
}

fn parameters(query: &str) -> String {
    let shown = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if PARAMETERS.contains(&name) && is_plain(value) => parameter.to_owned(),
        _ => HIDDEN.to_owned(),
    };
    match query {
        "" => String::new(),
        query => format!("?{}", query.split('&').map(shown).collect::<Vec<_>>().join("&")),
    }
}

/// `HOST[:PORT]`, a host by name or address.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("address", port),
        Some(_) => return false,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    is_name && (port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()))
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/:,%[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_shown_by_its_hosts_and_its_database() {
        for (url, shown) in [
            ("postgres://cart:hunter2@db:5433/cart", "postgres://[secret]@db:5433/cart"),
            (
                "postgres://cart:hunter2@one:5433,two,[::1]:5/cart?target_session_attrs=primary",
                "postgres://[secret]@one:5433,two,[::1]:5/cart?target_session_attrs=primary",
            ),
            (
                "postgresql://db/cart?user=cart&password=hunter2&sslmode=require",
                "postgresql://db/cart?[secret]&[secret]&sslmode=require",
            ),
            ("postgres:///cart?host=/run/postgresql", "postgres:///cart?host=/run/postgresql"),
            ("redis://:hunter2@cache/0", "redis://[secret]@cache/0"),
            (
                "rediss+sentinel://a:hunter2@one,two:26379/0?master=main&sentinel_password=hunter2",
                "rediss+sentinel://[secret]@one,two:26379/0?master=main&[secret]",
            ),
            ("redis+cluster://:hun@ter2@one:7000,two", "redis+cluster://[secret]@one:7000,two"),
            ("sqlite:data/auth.db?mode=rwc", "sqlite:data/auth.db?mode=rwc"),
            ("sqlite:///srv/a b.db", "sqlite:///srv/a b.db"),
        ] {
            assert_eq!(connection_url(url), shown, "{url}");
        }
    }

    #[test]
    fn a_connection_that_is_written_wrongly_shows_no_part_of_a_password() {
        for url in [
            "",
            "hunter2",
            "cart:hunter2@db/cart",
            "host=db user=cart password=hunter2",
            "postgres:cart:hunter2@db/cart",
            "postgres:/cart:hunter2@db/cart",
            "POSTGRES://cart:hunter2@db/cart",
            "mysql://cart:hunter2@db/cart",
            "postgres://cart:hunter2/cart",
            "postgres://cart:hunter2",
            "postgres://cart:12/hunter2@db/cart",
            "postgres://cart:12?hunter2@db/cart",
            "postgres://cart:12#hunter2@db/cart",
            "postgres://cart:12#hunter2",
            "postgres://db/hunter2 ",
            "postgres://db/cart?hunter2",
            "postgres://db/cart?sslmode=require&pass%77ord=hunter2",
            "postgres://db/cart?password=hunter2;sslmode=require",
            "postgres://db/cart?options=-c%20x=hunter2",
            "redis://[hunter2]/0",
            "redis://cache:hunter2/0",
            "redis+sentinel://one,hunter2:x/0?master=a",
            "sqlite:cart:hunter2@db/cart",
            "sqlite:a.db?key=hunter2",
            "sqlite://cart:hunter2@db/cart",
        ] {
            for shown in [connection_url(url), text(&format!("x://{url}")), web_url(url)] {
                assert!(!shown.contains("hunter2"), "{url}: {shown}");
            }
        }
    }

    #[test]
    fn an_address_is_shown_without_login_and_parameters() {
        for (url, shown) in [
            ("https://auth.example/", "https://auth.example/"),
            ("https://auth.example:8443/keys", "https://auth.example:8443/keys"),
            ("https://ada:hunter2@auth.example/keys?key=hunter2", "https://[secret]@auth.example/keys?[secret]"),
            ("https://hunter2@auth.example", "https://[secret]@auth.example"),
            ("https://auth.example/#hunter2", "[secret]"),
            ("https:hunter2", "[secret]"),
            ("auth:hunter2", "[secret]"),
        ] {
            assert_eq!(web_url(url), shown, "{url}");
        }
        assert_eq!(host_of_web_url("http://collector:4318/v1/hunter2"), "http://collector:4318/[secret]");
        assert_eq!(host_of_web_url("http://collector:4318"), "http://collector:4318");
    }

    #[test]
    fn a_text_is_shown_as_it_is_unless_it_has_addresses_in_it() {
        assert_eq!(text("admin@shop.localhost"), "admin@shop.localhost");
        assert_eq!(text("warn,auth_service=debug"), "warn,auth_service=debug");
        assert_eq!(text("https://a.example, http://b.example:1"), "https://a.example,http://b.example:1");
        assert_eq!(text("https://a.example,https://u:hun,ter2@b.example"), "https://a.example,[secret],[secret]");
        assert_eq!(text("redis+cluster://:hunter2@one:1,two:2"), "redis+cluster://[secret]@one:1,two:2");
        assert_eq!(text("see https://u:hunter2@b.example"), "[secret]");
        assert_eq!(text("ada:hunter2@localhost"), "[secret]");
        assert_eq!(text("host=one password=hunter2"), "[secret]");
    }
}
